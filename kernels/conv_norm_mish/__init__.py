"""Convolution of three taps, GroupNorm over each sequence's own frames, Mish and, where given, a shift per sequence.

    y = mish(group_norm(conv(x) + added)) + shift[sequence of the row]

`added` is what the convolution makes of further input channels, where that is known already.
Each sequence sees zeros beyond its ends, and the statistics are those of its own frames and the group's channels alone:
a pack of N sequences equals N packs of one.

Source: shivammehta25/Matcha-TTS, matcha/models/components/decoder.py, `Block1D` and the time shift in `ResnetBlock1D`;
zai-org/GLM-4-Voice, cosyvoice/flow/length_regulator.py, with one group and no shift.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape, check_unit_stride
from antiphon.kernels.conv_norm_mish import reference
from antiphon.kernels.registry import Op

OP = Op("conv_norm_mish", reference.conv_norm_mish, "antiphon.kernels.conv_norm_mish.kernel")


def conv_norm_mish(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_out, C_in, 3]
    bias: torch.Tensor,  # f[C_out]
    norm_weight: torch.Tensor,  # f[C_out]
    norm_bias: torch.Tensor,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    max_seqlen: int,  # rows of the longest sequence
    groups: int,
    eps: float = 1e-5,
    added: torch.Tensor | None = None,  # f[ΣT, C_out]
    shift: torch.Tensor | None = None,  # f[S, C_out]
) -> torch.Tensor:
    """Return f[ΣT, C_out]; all floats of one dtype, statistics in float32."""
    channels = weight.shape[0]
    check_shape("x", x, (None, None))
    check_shape("weight", weight, (None, x.shape[1], 3))
    check_dtype("weight", weight, x.dtype)
    for name, vector in (("bias", bias), ("norm_weight", norm_weight), ("norm_bias", norm_bias)):
        check_shape(name, vector, (channels,))
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check_same_device(x=x, weight=weight, cu_seqlens=cu_seqlens)
    check(channels % groups == 0, f"{channels=} must be a multiple of {groups=}.")
    if added is not None:
        check_shape("added", added, (len(x), channels))
        check_dtype("added", added, x.dtype)
        check_unit_stride(added=added)
        check_same_device(x=x, added=added)
    if shift is not None:
        check_shape("shift", shift, (len(cu_seqlens) - 1, channels))
        check_unit_stride(shift=shift)
    run = OP.implementation(x.device)
    return run(
        x,
        weight,
        bias,
        norm_weight,
        norm_bias,
        cu_seqlens,
        max_seqlen=max_seqlen,
        groups=groups,
        eps=eps,
        added=added,
        shift=shift,
    )
