"""Attention of packed sequences, full, causal or block-causal, over the keys and values of each sequence alone.

Sequence s holds queries `cu_seqlens_q[s]:cu_seqlens_q[s + 1]` and keys `cu_seqlens_k[s]:cu_seqlens_k[s + 1]`. Key j
stands at position j of its sequence. Query i of L stands at position `query_starts[s] + i`; without `query_starts`
the queries are the last of the keys' positions. A query at position p sees key j when

    full          always
    causal        j <= p
    block_causal  j <= p, or j lies in p's block: j // block == p // block

Queries may stand beyond the last key (positions that ask but are not asked). Heads are grouped: query head h reads
KV head `h // (heads // kv_heads)`.

Source: Vaswani et al. 2017 (arXiv 1706.03762); the block mask of zai-org/GLM-4-Voice,
speech_tokenizer/modeling_whisper.py.
"""

from typing import Literal

import torch

from antiphon.kernels.checks import (
    check,
    check_contiguous,
    check_dtype,
    check_same_device,
    check_shape,
    check_unit_stride,
)
from antiphon.kernels.registry import Op
from antiphon.kernels.varlen_attention import reference

OP = Op("varlen_attention", reference.varlen_attention, "antiphon.kernels.varlen_attention.kernel")

Mask = Literal["full", "causal", "block_causal"]


def varlen_attention(
    q: torch.Tensor,  # f[ΣQ, heads, D]
    k: torch.Tensor,  # f[ΣK, kv_heads, D], of q's dtype
    v: torch.Tensor,  # f[ΣK, kv_heads, D], of q's dtype
    cu_seqlens_q: torch.Tensor,  # i32[S + 1]
    cu_seqlens_k: torch.Tensor,  # i32[S + 1]
    *,
    scale: float,  # of the scores, before the softmax
    mask: Mask = "full",
    block: int | None = None,  # positions of one block, for block_causal
    query_starts: torch.Tensor | None = None,  # i32[S], at least 0: position of each sequence's first query
) -> torch.Tensor:
    """f[ΣQ, heads, D] of q's dtype. Softmax in float32. Each sequence needs a key, and each query a key it sees."""
    check_shape("q", q, (None, None, None))
    check_shape("k", k, (None, None, q.shape[2]))
    check_shape("v", v, tuple(k.shape))
    check_shape("cu_seqlens_q", cu_seqlens_q, (None,))
    check_shape("cu_seqlens_k", cu_seqlens_k, tuple(cu_seqlens_q.shape))
    check(q.is_floating_point(), f"q is {q.dtype}; expected a floating-point dtype.")
    check_dtype("k", k, q.dtype)
    check_dtype("v", v, q.dtype)
    check_dtype("cu_seqlens_q", cu_seqlens_q, torch.int32)
    check_dtype("cu_seqlens_k", cu_seqlens_k, torch.int32)
    check_same_device(q=q, k=k, v=v, cu_seqlens_q=cu_seqlens_q, cu_seqlens_k=cu_seqlens_k)
    if query_starts is not None:
        check_shape("query_starts", query_starts, (cu_seqlens_q.shape[0] - 1,))
        check_dtype("query_starts", query_starts, torch.int32)
        check_same_device(q=q, query_starts=query_starts)
        check_contiguous(query_starts=query_starts)
    check_unit_stride(q=q, k=k, v=v)
    check_contiguous(cu_seqlens_q=cu_seqlens_q, cu_seqlens_k=cu_seqlens_k)
    heads, kv_heads = q.shape[1], k.shape[1]
    check(kv_heads > 0, "k has no KV heads; expected at least one.")
    check(heads % kv_heads == 0, f"{heads} query heads cannot share {kv_heads} KV heads evenly.")
    check(mask in ("full", "causal", "block_causal"), f"{mask=} is none of full, causal, block_causal.")
    check(
        (mask == "block_causal") == (block is not None) and (block is None or block >= 1),
        f"{block=} with {mask=}; expected a block of at least 1 for block_causal and None otherwise.",
    )
    return OP.implementation(q.device)(
        q, k, v, cu_seqlens_q, cu_seqlens_k, scale=scale, mask=mask, block=block, query_starts=query_starts
    )
