"""Transposed 1-D convolution over packed rows: each sequence is upsampled as if it were alone.

Sequence s lies at `x[cu_seqlens[s]:cu_seqlens[s + 1]]`; its output has `(T − 1) · stride − 2 · padding + K` rows (none
for an empty sequence), packed in the same order.

Source: the semantics of torch.nn.ConvTranspose1d (weight [C_in, C_out, K]) on each sequence alone.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.packed_conv_transpose1d import reference
from antiphon.kernels.registry import Op

OP = Op("packed_conv_transpose1d", reference.packed_conv_transpose1d, "antiphon.kernels.packed_conv_transpose1d.kernel")


def packed_conv_transpose1d(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_in, C_out, K], of x's dtype
    bias: torch.Tensor | None,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    stride: int,
    padding: int = 0,  # rows cut from each end of each sequence's full output
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (y f[ΣT_out, C_out], its cu_seqlens i32[S + 1])."""
    check_shape("x", x, (None, None))
    check_shape("weight", weight, (x.shape[1], None, None))
    check_shape("cu_seqlens", cu_seqlens, (None,))
    check(x.is_floating_point(), f"x is {x.dtype}; expected a floating-point dtype.")
    check_dtype("weight", weight, x.dtype)
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check_same_device(x=x, weight=weight, cu_seqlens=cu_seqlens)
    if bias is not None:
        check_shape("bias", bias, (weight.shape[1],))
        check_dtype("bias", bias, x.dtype)
        check_same_device(x=x, bias=bias)
    check(
        len(cu_seqlens) >= 2, f"cu_seqlens has {len(cu_seqlens)} entries; expected one more than there are sequences."
    )
    check(
        stride >= 1 and 0 <= 2 * padding < weight.shape[2],
        f"{stride=} must be at least 1 and {padding=} less than half of the kernel's {weight.shape[2]} taps.",
    )
    return OP.implementation(x.device)(x, weight, bias, cu_seqlens, stride=stride, padding=padding)
