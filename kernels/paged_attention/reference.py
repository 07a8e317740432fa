"""`paged_attention` in plain torch: each sequence alone and in float32, so a batch equals its members exactly."""

import torch
import torch.nn.functional as F


def paged_attention(
    q: torch.Tensor,  # f[N, heads, D]
    k_pages: torch.Tensor,  # f[pages, page_size, kv_heads, D]
    v_pages: torch.Tensor,  # f[pages, page_size, kv_heads, D]
    cu_seqlens_q: torch.Tensor,  # i32[S + 1]
    context_lens: torch.Tensor,  # i32[S]
    block_tables: torch.Tensor,  # i32[S, max_pages]
    scale: float,
) -> torch.Tensor:
    """The definition of correct."""
    page_size = k_pages.shape[1]
    starts, contexts = cu_seqlens_q.tolist(), context_lens.tolist()
    out = torch.empty_like(q)
    for s, context in enumerate(contexts):
        pages = block_tables[s, : -(-context // page_size)].long()
        # Only what is in context: a key of a reused page may be NaN, and 0 · NaN is NaN.
        keys = k_pages[pages].flatten(0, 1)[:context]
        values = v_pages[pages].flatten(0, 1)[:context]
        rows = slice(starts[s], starts[s + 1])
        out[rows] = _attend(q[rows], keys, values, scale)
    return out


def _attend(
    q: torch.Tensor,  # f[L, heads, D]
    k: torch.Tensor,  # f[C, kv_heads, D]
    v: torch.Tensor,  # f[C, kv_heads, D]
    scale: float,
) -> torch.Tensor:
    """f[L, heads, D] of one sequence."""
    queries, context = q.shape[0], k.shape[0]
    mask = None
    if queries > 1:
        mask = torch.ones(queries, context, dtype=torch.bool, device=q.device).tril(context - queries)
    wide = torch.promote_types(q.dtype, torch.float32)
    q_heads, k_heads, v_heads = (x.to(wide).transpose(0, 1).unsqueeze(0) for x in (q, k, v))
    attended = F.scaled_dot_product_attention(
        q_heads, k_heads, v_heads, attn_mask=mask, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )
    return attended.squeeze(0).transpose(0, 1).to(q.dtype)
