"""`relative_attention` in plain torch."""

import math

import torch
import torch.nn.functional as F

from antiphon.kernels.packing import batches_of


def relative_attention(
    q: torch.Tensor,  # f[ΣT, H, D]
    k: torch.Tensor,  # f[ΣT, H, D]
    v: torch.Tensor,  # f[ΣT, H, D]
    positions: torch.Tensor,  # f[2·max_seqlen − 1, H, D]
    bias_u: torch.Tensor,  # f[H, D]
    bias_v: torch.Tensor,  # f[H, D]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    max_seqlen: int,
    block: int,
    dropout: float,
) -> torch.Tensor:
    """Differentiable; the definition of correct. f[ΣT, H, D]."""
    outputs = []
    for qs, ks, vs in zip(*(batches_of(x, cu_seqlens, max_seqlen) for x in (q, k, v)), strict=True):
        length = qs.shape[1]
        nearest = positions[max_seqlen - length : max_seqlen + length - 1]
        outputs.append(_dense(qs, ks, vs, nearest, bias_u, bias_v, block, dropout).reshape(-1, *q.shape[1:]))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _dense(
    q: torch.Tensor,  # f[B, T, H, D]
    k: torch.Tensor,  # f[B, T, H, D]
    v: torch.Tensor,  # f[B, T, H, D]
    positions: torch.Tensor,  # f[2·T − 1, H, D]
    bias_u: torch.Tensor,  # f[H, D]
    bias_v: torch.Tensor,  # f[H, D]
    block: int,
    dropout: float,
) -> torch.Tensor:
    """f[B, T, H, D] of B sequences of one length."""
    batch, length, heads, head_dim = q.shape
    content = (q + bias_u).transpose(1, 2) @ k.permute(0, 2, 3, 1)
    by_offset = ((q + bias_v).transpose(1, 2) @ positions.permute(1, 2, 0)).contiguous()  # f[B, H, T, 2·T − 1]
    # Row i needs the offsets from column T − 1 − i on: every row starts one column earlier than the row above.
    width = 2 * length - 1
    by_key = by_offset.as_strided(
        (batch, heads, length, length),
        (heads * length * width, length * width, width - 1, 1),
        by_offset.storage_offset() + length - 1,
    )
    block_of = torch.arange(length, device=q.device) // block
    later = block_of[None, :] > block_of[:, None]
    scores = ((content + by_key) / math.sqrt(head_dim)).masked_fill(later, -math.inf)
    at_least_float32 = torch.promote_types(q.dtype, torch.float32)
    weights = F.dropout(scores.softmax(-1, dtype=at_least_float32), dropout).to(v.dtype)
    return (weights @ v.transpose(1, 2)).transpose(1, 2)
