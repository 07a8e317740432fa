"""Transposed convolution that doubles the rate of every packed sequence: kernel 4, stride 2, padding 1, cropped.

A sequence of T rows becomes 2·T, of which the output keeps the first, as many as `out_cu_seqlens` says: 2·T or 2·T − 1
of a sequence that was once halved to T.

Source: shivammehta25/Matcha-TTS, matcha/models/components/decoder.py, `Upsample1D`; the crop to the skip connection in
zai-org/GLM-4-Voice, cosyvoice/flow/decoder.py.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.packed_upsample import reference
from antiphon.kernels.registry import Op

OP = Op("packed_upsample", reference.packed_upsample, "antiphon.kernels.packed_upsample.kernel")


def packed_upsample(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_in, C_out, 4]
    bias: torch.Tensor,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    out_cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    max_seqlen: int,  # rows of the longest sequence of x
    out_rows: int,  # ΣT of the output
) -> torch.Tensor:
    """Return f[out_rows, C_out]."""
    check_shape("x", x, (None, None))
    check_shape("weight", weight, (x.shape[1], None, 4))
    check_shape("bias", bias, (weight.shape[1],))
    check_dtype("weight", weight, x.dtype)
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check_dtype("out_cu_seqlens", out_cu_seqlens, torch.int32)
    check_shape("out_cu_seqlens", out_cu_seqlens, (len(cu_seqlens),))
    check_same_device(x=x, weight=weight, cu_seqlens=cu_seqlens, out_cu_seqlens=out_cu_seqlens)
    sequences = len(cu_seqlens) - 1
    check(
        2 * len(x) - sequences <= out_rows <= 2 * len(x),
        f"{out_rows=} must be twice the {len(x)} rows of x, less at most one for each of its {sequences=}.",
    )
    run = OP.implementation(x.device)
    return run(x, weight, bias, cu_seqlens, out_cu_seqlens, max_seqlen=max_seqlen, out_rows=out_rows)
