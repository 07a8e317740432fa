"""1-D convolution over packed rows: each sequence sees zeros beyond its own ends, and nothing of its neighbours.

Rows of S sequences lie one after another, channels last: `x[cu_seqlens[s]:cu_seqlens[s + 1]]` is sequence s. Its
output has `(T + left + right − dilation · (K − 1) − 1) // stride + 1` rows (none where that is below one), packed in
the same order.

Source: the semantics of torch.nn.Conv1d (cross-correlation, weight [C_out, C_in, K]) on each sequence alone.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.packed_conv1d import reference
from antiphon.kernels.packed_conv1d.activations import ACTIVATIONS, Activation
from antiphon.kernels.registry import Op

OP = Op(
    "packed_conv1d",
    reference.packed_conv1d,
    "antiphon.kernels.packed_conv1d.kernel",
    exceptions="float64",
)


def packed_conv1d(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_out, C_in, K], of x's dtype
    bias: torch.Tensor | None,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),  # zero rows before and after each sequence
    dilation: int = 1,
    out_rows: int | None = None,  # ΣT_out or more: given, the kernel need not read it back where lengths change
    activation: Activation | None = None,  # "elu" or "gelu", of what comes out
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (y f[ΣT_out, C_out], its cu_seqlens i32[S + 1]); the latter is the argument where no length changes.

    Of more `out_rows` than ΣT_out the last hold nothing of use.
    """
    check_shape("x", x, (None, None))
    check_shape("weight", weight, (None, x.shape[1], None))
    check_shape("cu_seqlens", cu_seqlens, (None,))
    check(x.is_floating_point(), f"x is {x.dtype}; expected a floating-point dtype.")
    check_dtype("weight", weight, x.dtype)
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check_same_device(x=x, weight=weight, cu_seqlens=cu_seqlens)
    if bias is not None:
        check_shape("bias", bias, (weight.shape[0],))
        check_dtype("bias", bias, x.dtype)
        check_same_device(x=x, bias=bias)
    check(
        len(cu_seqlens) >= 2, f"cu_seqlens has {len(cu_seqlens)} entries; expected one more than there are sequences."
    )
    check(
        stride >= 1 and dilation >= 1 and min(padding) >= 0,
        f"{stride=} and {dilation=} must be at least 1, {padding=} at least 0.",
    )
    check(
        activation is None or activation in ACTIVATIONS,
        f"{activation=}; expected None or one of {', '.join(map(repr, ACTIVATIONS))}.",
    )
    # Few products, and in float64: the pitch that seamless streaming adds up to a phase. The library has them.
    run = OP.reference if x.dtype == torch.float64 else OP.implementation(x.device)
    return run(
        x,
        weight,
        bias,
        cu_seqlens,
        stride=stride,
        padding=padding,
        dilation=dilation,
        out_rows=out_rows,
        activation=activation,
    )
