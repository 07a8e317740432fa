"""`varlen_attention` in Triton: a program takes a tile of one sequence's queries over all keys they see.

Tiles are counted from each sequence's first query, so a sequence comes out the same bits in any company. Whole tiles of
keys that every query sees go without masks. Every mask is of one form: a query sees the keys before its end.
"""

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check, check_dtype
from antiphon.kernels.jit_attention import HIDDEN, LOG2_E, attend, mean_of, sequence_of_tile
from antiphon.kernels.targets import target_of
from antiphon.kernels.varlen_attention.tuned import tile_for


@triton.jit(do_not_specialize=["sequences", "span"])
def _attention(
    q,  # f[ΣQ, heads, D]
    k,  # f[ΣK, kv_heads, D]
    v,  # f[ΣK, kv_heads, D]
    cu_seqlens_q,  # i32[S + 1]
    cu_seqlens_k,  # i32[S + 1]
    query_starts,  # i32[S], or any pointer
    out,  # f[ΣQ, heads, D]
    scale,
    sequences,
    span,  # positions of one block; 1: causal
    heads,
    q_stride_row,
    q_stride_head,
    k_stride_row,
    k_stride_head,
    v_stride_row,
    v_stride_head,
    HAS_STARTS: tl.constexpr,
    FULL: tl.constexpr,  # every query sees every key
    GROUP: tl.constexpr,  # query heads of a KV head
    HEAD_DIM: tl.constexpr,
    QUERIES: tl.constexpr,  # of one tile
    BLOCK_H: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    sequence, tile = sequence_of_tile(cu_seqlens_q, tl.program_id(0), sequences, QUERIES)
    kv_head = tl.program_id(1)
    start = tl.load(cu_seqlens_q + sequence)
    length = tl.load(cu_seqlens_q + sequence + 1) - start
    if tile * QUERIES >= length:
        return
    first_key = tl.load(cu_seqlens_k + sequence)
    seen = tl.load(cu_seqlens_k + sequence + 1) - first_key
    packed = tl.arange(0, QUERIES * BLOCK_H)
    query_index = tile * QUERIES + packed // BLOCK_H
    member = packed % BLOCK_H
    head = kv_head * GROUP + member
    depth = tl.arange(0, BLOCK_D)
    own = ((query_index < length) & (member < GROUP))[:, None] & (depth < HEAD_DIM)[None, :]
    row = (start + query_index).to(tl.int64)
    query = tl.load(q + row[:, None] * q_stride_row + head[:, None] * q_stride_head + depth[None, :], mask=own, other=0)
    if FULL:
        ends = query_index * 0 + seen
        whole, last = seen // BLOCK_N * BLOCK_N, seen
    else:
        if HAS_STARTS:
            begin = tl.load(query_starts + sequence)
        else:
            begin = seen - length
        # Positions before the first key see nothing, also where division rounds toward zero.
        ends = tl.minimum(tl.maximum(begin + query_index + span, 0) // span * span, seen)
        least_end = tl.minimum(tl.maximum(begin + tile * QUERIES + span, 0) // span * span, seen)
        last_index = tl.minimum(length, (tile + 1) * QUERIES) - 1
        last = tl.minimum(tl.maximum(begin + last_index + span, 0) // span * span, seen)
        whole = least_end // BLOCK_N * BLOCK_N
    acc = tl.zeros((QUERIES * BLOCK_H, BLOCK_D), dtype=tl.float32)
    total = tl.zeros((QUERIES * BLOCK_H,), dtype=tl.float32)
    top = tl.full((QUERIES * BLOCK_H,), HIDDEN, tl.float32)
    keys = k + first_key.to(tl.int64) * k_stride_row + kv_head * k_stride_head
    values = v + first_key.to(tl.int64) * v_stride_row + kv_head * v_stride_head
    acc, total, top = attend(
        acc, total, top, query, keys, values, cu_seqlens_k, 0, whole, ends, k_stride_row, v_stride_row, scale * LOG2_E,
        False, 0, HEAD_DIM, BLOCK_D, BLOCK_N,
    )  # fmt: skip
    acc, total, top = attend(
        acc, total, top, query, keys, values, cu_seqlens_k, whole, last, ends, k_stride_row, v_stride_row,
        scale * LOG2_E, True, 0, HEAD_DIM, BLOCK_D, BLOCK_N,
    )  # fmt: skip
    at = (row * heads + head)[:, None] * HEAD_DIM + depth[None, :]
    tl.store(out + at, mean_of(acc, total).to(out.dtype.element_ty), mask=own)


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
    """As the reference, for float32, bfloat16 and float16; nothing is read from the device."""
    check_dtype("q", q, *KERNEL_FLOATS)
    (rows, heads, head_dim), kv_heads = q.shape, k.shape[1]
    check(head_dim <= 128, f"heads have {head_dim} values; the Triton kernel's tiles hold at most 128.")
    sequences, group = len(cu_seqlens_q) - 1, heads // kv_heads
    out = torch.empty(rows, heads, head_dim, dtype=q.dtype, device=q.device)
    if out.numel() == 0 or sequences == 0:
        return out
    tile = tile_for(target_of(q.device), q.element_size(), head_dim)
    block_h = triton.next_power_of_2(group)
    queries = max(1, tile.rows // block_h)
    _attention[(rows // queries + sequences, kv_heads)](
        q,
        k,
        v,
        cu_seqlens_q,
        cu_seqlens_k,
        cu_seqlens_q if query_starts is None else query_starts,
        out,
        scale,
        sequences,
        1 if block is None else block,
        heads,
        q.stride(0),
        q.stride(1),
        k.stride(0),
        k.stride(1),
        v.stride(0),
        v.stride(1),
        HAS_STARTS=query_starts is not None,
        FULL=mask == "full",
        GROUP=group,
        HEAD_DIM=head_dim,
        QUERIES=queries,
        BLOCK_H=block_h,
        BLOCK_D=max(16, triton.next_power_of_2(head_dim)),
        BLOCK_N=tile.keys,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out
