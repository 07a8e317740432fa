"""`varlen_attention` in plain torch: each sequence alone and in float32, so a batch equals its members exactly."""

import torch
import torch.nn.functional as F

from antiphon.kernels.packing import sequences_of


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
    queries = sequences_of(q, cu_seqlens_q)
    keys, values = sequences_of(k, cu_seqlens_k), sequences_of(v, cu_seqlens_k)
    if query_starts is None:
        starts = [len(k_s) - len(q_s) for q_s, k_s in zip(queries, keys, strict=True)]
    else:
        starts = query_starts.tolist()
    span = {"causal": 1, "block_causal": block}.get(mask)
    outputs = [
        _attend(q_s, k_s, v_s, scale, None if span is None else _visible(start, len(q_s), len(k_s), span, q.device))
        for q_s, k_s, v_s, start in zip(queries, keys, values, starts, strict=True)
    ]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _visible(start: int, queries: int, keys: int, block: int, device: torch.device) -> torch.Tensor:
    """bool[queries, keys]: a query sees the keys up to the end of its block; causal is a block of one."""
    positions = torch.arange(start, start + queries, device=device)
    ends = (positions // block + 1) * block
    return torch.arange(keys, device=device) < ends[:, None]


def _attend(
    q: torch.Tensor,  # f[L, heads, D]
    k: torch.Tensor,  # f[C, kv_heads, D]
    v: torch.Tensor,  # f[C, kv_heads, D]
    scale: float,
    visible: torch.Tensor | None,  # bool[L, C]
) -> torch.Tensor:
    """f[L, heads, D] of one sequence."""
    query, key, value = (x.float().transpose(0, 1).unsqueeze(0) for x in (q, k, v))
    attended = F.scaled_dot_product_attention(
        query, key, value, attn_mask=visible, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )
    return attended.squeeze(0).transpose(0, 1).to(q.dtype)
