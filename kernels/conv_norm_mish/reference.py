"""`conv_norm_mish` in plain torch."""

import torch
import torch.nn.functional as F

from antiphon.kernels.packing import batches_of


def conv_norm_mish(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_out, C_in, 3]
    bias: torch.Tensor,  # f[C_out]
    norm_weight: torch.Tensor,  # f[C_out]
    norm_bias: torch.Tensor,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    max_seqlen: int,
    groups: int,
    eps: float,
    added: torch.Tensor | None,  # f[ΣT, C_out]
    shift: torch.Tensor | None,  # f[S, C_out]
) -> torch.Tensor:
    """Differentiable; the definition of correct. f[ΣT, C_out]."""
    outputs = []
    first = 0
    parts = None if added is None else iter(batches_of(added, cu_seqlens, max_seqlen))
    for batch in batches_of(x, cu_seqlens, max_seqlen):
        y = F.conv1d(batch.transpose(1, 2), weight, bias, padding=1)
        if parts is not None:
            y = y + next(parts).transpose(1, 2)
        if y[0].numel() > groups:
            y = F.group_norm(y, groups, norm_weight, norm_bias, eps)
        else:  # a value a group is its own mean; torch refuses to say so
            y = norm_bias[None, :, None].expand_as(y)
        y = F.mish(y).transpose(1, 2)
        if shift is not None:
            y = y + shift[first : first + len(batch), None]
        outputs.append(y.reshape(-1, y.shape[2]))
        first += len(batch)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
