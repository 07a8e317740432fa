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
    lengths = zip(_lengths(q, cu_seqlens), _lengths(k, cu_seqlens_k), strict=True)
    runs = [(*alike, len(list(run))) for alike, run in groupby(lengths)]
    # Split once: a slice's gradient is as large as what it was cut from.
    of_runs = torch.split(q, [batch * rows for rows, _, batch in runs])
    keys_of_runs, values_of_runs = (torch.split(x, [batch * keys for _, keys, batch in runs]) for x in (k, v))
    outputs = []
    for (rows, keys, batch), q_run, k_run, v_run in zip(runs, of_runs, keys_of_runs, values_of_runs, strict=True):
        attended = _dense(
            q_run.reshape(batch, rows, *q.shape[1:]),
            k_run.reshape(batch, keys, *k.shape[1:]),
            v_run.reshape(batch, keys, *v.shape[1:]),
            positions[max_seqlen_k - keys : max_seqlen_k + rows - 1],
            bias_u,
            bias_v,
            block,
            dropout,
        )
        outputs.append(attended.reshape(-1, *q.shape[1:]))
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
