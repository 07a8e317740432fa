"""`packed_conv_transpose1d` in plain torch: each sequence goes through conv_transpose1d alone."""

import torch
import torch.nn.functional as F

from antiphon.kernels.packing import sequences_of


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
        F.conv_transpose1d(rows.t().unsqueeze(0), weight, bias, stride=stride, padding=padding).squeeze(0).t()
        if len(rows)
        else rows.new_zeros(0, weight.shape[1])
        for rows in sequences_of(x, cu_seqlens)
    ]
    y = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    lengths = cu_seqlens.diff()
    longer = (lengths - 1) * stride - 2 * padding + weight.shape[2]
    ends = torch.where(lengths > 0, longer, 0).cumsum(0)
    return y, torch.cat([cu_seqlens[:1], ends]).to(torch.int32)
