"""Causal attention of packed queries, prefill chunks and decodes mixed, over keys and values in pages.

Sequence s holds queries `cu_seqlens_q[s]:cu_seqlens_q[s + 1]`, the last positions of its `context_lens[s]` keys: query
i of L stands at position `context_lens[s] − L + i` and sees the keys up to its own. Key j lies in page
`block_tables[s, j // page_size]`, row `j % page_size`. Heads are grouped: query head h reads KV head
`h // (heads // kv_heads)`. What lies in pages beyond a sequence's context, and table entries beyond its pages, is never
looked at, not even multiplied by zero: it may be garbage or NaN. A query before position 0 sees nothing and gets
zeros.

Source: Kwon et al. 2023 (arXiv 2309.06180); Ainslie et al. 2023 (arXiv 2305.13245).
"""

import torch

from antiphon.kernels.checks import (
    check,
    check_contiguous,
    check_dtype,
    check_same_device,
    check_shape,
    check_unit_stride,
)
from antiphon.kernels.paged_attention import reference
from antiphon.kernels.registry import Op

OP = Op("paged_attention", reference.paged_attention, "antiphon.kernels.paged_attention.kernel")


def paged_attention(
    q: torch.Tensor,  # f[N, heads, D]
    k_pages: torch.Tensor,  # f[pages, page_size, kv_heads, D], of q's dtype
    v_pages: torch.Tensor,  # f[pages, page_size, kv_heads, D], of q's dtype
    cu_seqlens_q: torch.Tensor,  # i32[S + 1]
    context_lens: torch.Tensor,  # i32[S]
    block_tables: torch.Tensor,  # i32[S, max_pages]
    scale: float,  # of the scores, before the softmax
) -> torch.Tensor:
    """f[N, heads, D] of q's dtype. Softmax in float32. Sequences do not depend on each other.

    Page sizes are powers of two. A table too short for its context is refused where lengths lie in the host's memory;
    on a GPU, where they are not read back, its sequence becomes NaN.
    """
    check_shape("q", q, (None, None, None))
    check_shape("k_pages", k_pages, (None, None, None, q.shape[2]))
    check_shape("v_pages", v_pages, tuple(k_pages.shape))
    sequences = context_lens.shape[0]
    check_shape("context_lens", context_lens, (sequences,))
    check_shape("cu_seqlens_q", cu_seqlens_q, (sequences + 1,))
    check_shape("block_tables", block_tables, (sequences, None))
    check(q.is_floating_point(), f"q is {q.dtype}; expected a floating-point dtype.")
    check_dtype("k_pages", k_pages, q.dtype)
    check_dtype("v_pages", v_pages, q.dtype)
    for name, indices in (
        ("cu_seqlens_q", cu_seqlens_q),
        ("context_lens", context_lens),
        ("block_tables", block_tables),
    ):
        check_dtype(name, indices, torch.int32)
    heads, (_, page_size, kv_heads, _) = q.shape[1], k_pages.shape
    check(page_size.bit_count() == 1, f"pages hold {page_size} positions; expected a power of two, 64 or 16.")
    check(kv_heads > 0, "k_pages has no KV heads; expected at least one.")
    check(heads % kv_heads == 0, f"{heads} query heads cannot share {kv_heads} KV heads evenly.")
    check_same_device(
        q=q,
        k_pages=k_pages,
        v_pages=v_pages,
        cu_seqlens_q=cu_seqlens_q,
        context_lens=context_lens,
        block_tables=block_tables,
    )
    check_unit_stride(q=q)
    check_contiguous(
        k_pages=k_pages,
        v_pages=v_pages,
        cu_seqlens_q=cu_seqlens_q,
        context_lens=context_lens,
        block_tables=block_tables,
    )
    if sequences > 0 and context_lens.device.type == "cpu":
        room, longest = block_tables.shape[1] * page_size, int(context_lens.max())
        check(
            longest <= room,
            f"a context of {longest} positions needs {-(-longest // page_size)} pages of {page_size}; block_tables has "
            f"{block_tables.shape[1]} columns.",
        )
    return OP.implementation(q.device)(q, k_pages, v_pages, cu_seqlens_q, context_lens, block_tables, scale)
