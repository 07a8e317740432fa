"""`packed_conv1d` in plain torch: neighbours of one length are convolved as one batch."""

import torch
import torch.nn.functional as F

from antiphon.kernels.packed_conv1d.activations import Activation, activate
from antiphon.kernels.packing import runs_of
from antiphon.kernels.rows_convolution import convolve


def packed_conv1d(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_out, C_in, K]
    bias: torch.Tensor | None,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    dilation: int = 1,
    out_rows: int | None = None,
    activation: Activation | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Differentiable; the definition of correct."""
    left, right = padding
    shrinkage = left + right - dilation * (weight.shape[2] - 1) - 1
    outputs = [_one(rows, weight, bias, stride, left, right, dilation, shrinkage) for rows in runs_of(x, cu_seqlens)]
    y = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    if out_rows is not None and out_rows > len(y):
        y = F.pad(y, (0, 0, 0, out_rows - len(y)))
    return activate(y, activation), offsets_out(cu_seqlens, stride, shrinkage)


def offsets_out(
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    stride: int,
    shrinkage: int,  # what a sequence of T rows adds to T before the division by `stride`
) -> torch.Tensor:
    """i32[S + 1] of the output; the argument itself where no length changes."""
    if stride == 1 and shrinkage == -1:
        return cu_seqlens
    lengths = (torch.div(cu_seqlens.diff() + shrinkage, stride, rounding_mode="floor") + 1).clamp(min=0)
    return torch.cat([cu_seqlens[:1], lengths.cumsum(0)]).to(torch.int32)


def _one(
    rows: torch.Tensor,  # f[B, T, C_in]
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: int,
    left: int,
    right: int,
    dilation: int,
    shrinkage: int,
) -> torch.Tensor:
    """f[B · T_out, C_out] of sequences of one length."""
    if rows.shape[1] + shrinkage < 0:
        return rows.new_zeros(0, weight.shape[0])
    return convolve(rows, weight, bias, stride=stride, padding=(left, right), dilation=dilation).flatten(0, 1)
