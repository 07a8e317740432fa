"""`relative_attention` in plain torch."""

import math
from itertools import groupby

import torch
import torch.nn.functional as F


def relative_attention(
    q: torch.Tensor,  # f[ΣT, H, D]
    k: torch.Tensor,  # f[ΣK, H, D]
    v: torch.Tensor,  # f[ΣK, H, D]
    positions: torch.Tensor,  # f[max_seqlen_k + max_seqlen − 1, H, D]
    bias_u: torch.Tensor,  # f[H, D]
    bias_v: torch.Tensor,  # f[H, D]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    cu_seqlens_k: torch.Tensor,  # i32[S + 1]
    *,
    max_seqlen: int,
    max_seqlen_k: int,
    block: int,
    dropout: float,
) -> torch.Tensor:
    """Differentiable; the definition of correct. f[ΣT, H, D]. Neighbours of the same lengths attend as one batch."""
    outputs = []
    from_q = from_k = 0
    for (rows, keys), run in groupby(zip(_lengths(q, cu_seqlens), _lengths(k, cu_seqlens_k), strict=True)):
        batch = len(list(run))
        to_q, to_k = from_q + batch * rows, from_k + batch * keys
        attended = _dense(
            q[from_q:to_q].reshape(batch, rows, *q.shape[1:]),
            k[from_k:to_k].reshape(batch, keys, *k.shape[1:]),
            v[from_k:to_k].reshape(batch, keys, *v.shape[1:]),
            positions[max_seqlen_k - keys : max_seqlen_k + rows - 1],
            bias_u,
            bias_v,
            block,
            dropout,
        )
        outputs.append(attended.reshape(-1, *q.shape[1:]))
        from_q, from_k = to_q, to_k
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _lengths(
    x: torch.Tensor,  # [ΣT, ...]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
) -> list[int]:
    """Each sequence's rows. Of one sequence, nothing is read from the device."""
    if len(cu_seqlens) == 2:
        return [len(x)]
    lengths: list[int] = cu_seqlens.diff().tolist()
    return lengths


def _dense(
    q: torch.Tensor,  # f[B, T, H, D]: the last T of K rows
    k: torch.Tensor,  # f[B, K, H, D]
    v: torch.Tensor,  # f[B, K, H, D]
    positions: torch.Tensor,  # f[K + T − 1, H, D]
    bias_u: torch.Tensor,  # f[H, D]
    bias_v: torch.Tensor,  # f[H, D]
    block: int,
    dropout: float,
) -> torch.Tensor:
    """f[B, T, H, D] of B sequences of the same lengths."""
    batch, rows, heads, head_dim = q.shape
    keys = k.shape[1]
    content = (q + bias_u).transpose(1, 2) @ k.permute(0, 2, 3, 1)
    by_offset = ((q + bias_v).transpose(1, 2) @ positions.permute(1, 2, 0)).contiguous()  # f[B, H, T, K + T − 1]
    # Row i needs the offsets from column T − 1 − i on: every row starts one column earlier than the row above.
    width = keys + rows - 1
    by_key = by_offset.as_strided(
        (batch, heads, rows, keys),
        (heads * rows * width, rows * width, width - 1, 1),
        by_offset.storage_offset() + rows - 1,
    )
    block_of = torch.arange(keys, device=q.device) // block
    later = block_of[None, :] > block_of[keys - rows :, None]
    scores = ((content + by_key) / math.sqrt(head_dim)).masked_fill(later, -math.inf)
    at_least_float32 = torch.promote_types(q.dtype, torch.float32)
    weights = F.dropout(scores.softmax(-1, dtype=at_least_float32), dropout).to(v.dtype)
    return (weights @ v.transpose(1, 2)).transpose(1, 2)
