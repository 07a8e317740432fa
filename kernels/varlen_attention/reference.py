"""`varlen_attention` in plain torch and float32: neighbours of the same lengths and position attend as one batch."""

from itertools import groupby

import torch
import torch.nn.functional as F


def varlen_attention(
    q: torch.Tensor,  # f[ΣQ, heads, D]
    k: torch.Tensor,  # f[ΣK, kv_heads, D]
    v: torch.Tensor,  # f[ΣK, kv_heads, D]
    cu_seqlens_q: torch.Tensor,  # i32[S + 1]
    cu_seqlens_k: torch.Tensor,  # i32[S + 1]
    *,
    scale: float,
    mask: str = "full",
    block: int | None = None,
    query_starts: torch.Tensor | None = None,  # i32[S]
) -> torch.Tensor:
    """Differentiable; the definition of correct."""
    q_lengths, k_lengths = _lengths(q, cu_seqlens_q), _lengths(k, cu_seqlens_k)
    if query_starts is None:
        starts = [keys - queries for queries, keys in zip(q_lengths, k_lengths, strict=True)]
    else:
        starts = query_starts.tolist()
    span = {"causal": 1, "block_causal": block}.get(mask)
    runs = [(*alike, len(list(run))) for alike, run in groupby(zip(q_lengths, k_lengths, starts, strict=True))]
    # Split once: a slice's gradient is as large as what it was cut from.
    of_runs = torch.split(q, [batch * queries for queries, _, _, batch in runs])
    keys_of_runs, values_of_runs = (torch.split(x, [batch * keys for _, keys, _, batch in runs]) for x in (k, v))
    outputs: list[torch.Tensor] = []
    for (queries, keys, start, batch), q_run, k_run, v_run in zip(
        runs, of_runs, keys_of_runs, values_of_runs, strict=True
    ):
        attended = _attend(
            q_run.reshape(batch, queries, *q.shape[1:]),
            k_run.reshape(batch, keys, *k.shape[1:]),
            v_run.reshape(batch, keys, *v.shape[1:]),
            scale,
            None if span is None else _visible(start, queries, keys, span, q.device),
        )
        outputs.append(attended.flatten(0, 1))
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


def _visible(start: int, queries: int, keys: int, block: int, device: torch.device) -> torch.Tensor:
    """bool[queries, keys]: a query sees the keys up to the end of its block; causal is a block of one."""
    positions = torch.arange(start, start + queries, device=device)
    ends = (positions // block + 1) * block
    return torch.arange(keys, device=device) < ends[:, None]


def _attend(
    q: torch.Tensor,  # f[B, L, heads, D]
    k: torch.Tensor,  # f[B, C, kv_heads, D]
    v: torch.Tensor,  # f[B, C, kv_heads, D]
    scale: float,
    visible: torch.Tensor | None,  # bool[L, C]
) -> torch.Tensor:
    """f[B, L, heads, D] of sequences of the same lengths."""
    wide = torch.promote_types(q.dtype, torch.float32)
    query, key, value = (x.to(wide).transpose(1, 2) for x in (q, k, v))
    attended = F.scaled_dot_product_attention(
        query, key, value, attn_mask=visible, scale=scale, enable_gqa=q.shape[2] != k.shape[2]
    )
    return attended.transpose(1, 2).to(q.dtype)
