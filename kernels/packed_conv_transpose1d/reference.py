"""`packed_conv_transpose1d` in plain torch: each sequence is convolved alone."""

import torch

from antiphon.kernels.packing import sequences_of
from antiphon.kernels.rows_convolution import convolve_transposed


def packed_conv_transpose1d(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_in, C_out, K]
    bias: torch.Tensor | None,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    stride: int,
    padding: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Differentiable; the definition of correct."""
    outputs = [
        convolve_transposed(rows.unsqueeze(0), weight, bias, stride=stride, padding=padding).squeeze(0)
        if len(rows)
        else rows.new_zeros(0, weight.shape[1])
        for rows in sequences_of(x, cu_seqlens)
    ]
    y = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return y, offsets_out(cu_seqlens, weight.shape[2], stride, padding)


def offsets_out(
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    kernel: int,
    stride: int,
    padding: int,
) -> torch.Tensor:
    """i32[S + 1] of the output."""
    if kernel - 2 * padding == stride:
        return cu_seqlens * stride
    lengths = cu_seqlens.diff()
    ends = torch.where(lengths > 0, (lengths - 1) * stride - 2 * padding + kernel, 0).cumsum(0)
    return torch.cat([cu_seqlens[:1], ends]).to(torch.int32)
