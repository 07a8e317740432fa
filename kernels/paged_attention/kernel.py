"""`paged_attention` in Triton: decodes split over their keys and merged, prefill chunks in tiles of queries and heads.

All query heads of a KV head share its keys, so a program packs them into the rows of one product: 16 of one query in a
decode, several queries' in a prefill. Which of the two a sequence takes hangs on its own number of queries, and where
it is cut on its own length: its result is the same bits in any company. Grids are bounded by shapes alone, programs
without work leave at once, and nothing is read from the device.
"""

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check, check_dtype
from antiphon.kernels.jit_attention import HIDDEN, LOG2_E, attend, mean_of, sequence_of_tile
from antiphon.kernels.paged_attention.tuned import DECODE, PREFILL, SPLITS_AT_ONCE
from antiphon.kernels.targets import target_of


@triton.jit(do_not_specialize=["all_queries", "table_width", "splits"])
def _decode(
    q,  # f[N, heads, D]
    k_pages,  # f[pages, PAGE_SIZE, kv_heads, D]
    v_pages,  # f[pages, PAGE_SIZE, kv_heads, D]
    cu_seqlens_q,  # i32[S + 1]
    context_lens,  # i32[S]
    block_tables,  # i32[S, table_width]
    out,  # f[N, heads, D]
    partial,  # f32[S, splits, heads, D]: each split's mean of the values
    partial_top,  # f32[S, splits, heads]: log₂ of the sum of its weights
    scale,
    all_queries,  # 1: there are no more queries than sequences; 0: sequences of several are `_prefill`'s
    table_width,
    splits,
    heads,
    q_stride_row,
    q_stride_head,
    key_stride,
    GROUP: tl.constexpr,  # query heads of a KV head
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    SPLIT: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    sequence, kv_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    start = tl.load(cu_seqlens_q + sequence)
    stop = tl.load(cu_seqlens_q + sequence + 1)
    context = tl.load(context_lens + sequence)
    # Lengths are not read back, so a table too short for its context cannot be refused: its sequence becomes NaN.
    fits = context <= table_width * PAGE_SIZE
    context = tl.where(fits, context, 0)
    if (split * SPLIT >= context) & (split > 0):
        return
    if (all_queries == 0) & (stop - start != 1):
        return
    member = tl.arange(0, BLOCK_H)
    head = kv_head * GROUP + member
    depth = tl.arange(0, BLOCK_D)
    own = (member < GROUP)[:, None] & (depth < HEAD_DIM)[None, :]
    pages = block_tables + sequence.to(tl.int64) * table_width
    keys = k_pages + kv_head * HEAD_DIM
    values = v_pages + kv_head * HEAD_DIM
    for index in range(0, stop - start):  # one, unless queries are spread unevenly over as many sequences
        row = start + index
        end = context - (stop - 1 - row)
        if (split * SPLIT < end) | (split == 0):
            q_at = q + row.to(tl.int64) * q_stride_row + head[:, None] * q_stride_head + depth[None, :]
            query = tl.load(q_at, mask=own, other=0.0)
            acc = tl.zeros((BLOCK_H, BLOCK_D), dtype=tl.float32)
            total = tl.zeros((BLOCK_H,), dtype=tl.float32)
            top = tl.full((BLOCK_H,), HIDDEN, tl.float32)
            first, last = split * SPLIT, tl.minimum(end, split * SPLIT + SPLIT)
            ends = tl.zeros((BLOCK_H,), dtype=tl.int32) + end
            # Memory is what a decode waits for: it can afford masks throughout.
            acc, total, top = attend(
                acc, total, top, query, keys, values, pages, first, last, ends, key_stride, key_stride, scale * LOG2_E,
                True, PAGE_SIZE, HEAD_DIM, BLOCK_D, BLOCK_N,
            )  # fmt: skip
            mean = tl.where(fits, mean_of(acc, total), float("nan"))
            if end <= SPLIT:
                at = (row.to(tl.int64) * heads + head)[:, None] * HEAD_DIM + depth[None, :]
                tl.store(out + at, mean.to(out.dtype.element_ty), mask=own)
            else:
                # Rows of uneven sequences have a place of their own: there are no more queries than sequences.
                place = tl.where(all_queries == 1, row, sequence).to(tl.int64)
                piece = (place * splits + split) * heads + head
                tl.store(partial + piece[:, None] * HEAD_DIM + depth[None, :], mean, mask=own)
                tl.store(partial_top + piece, top + tl.log2(total), mask=member < GROUP)


@triton.jit(do_not_specialize=["all_queries", "table_width", "splits"])
def _merge(
    partial,  # f32[S, splits, heads, D]
    partial_top,  # f32[S, splits, heads]
    cu_seqlens_q,  # i32[S + 1]
    context_lens,  # i32[S]
    out,  # f[N, heads, D]
    all_queries,
    table_width,
    splits,
    heads,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    SPLIT: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    sequence, head = tl.program_id(0), tl.program_id(1)
    start = tl.load(cu_seqlens_q + sequence)
    stop = tl.load(cu_seqlens_q + sequence + 1)
    context = tl.load(context_lens + sequence)
    if (all_queries == 0) & (stop - start != 1):
        return
    if (context <= SPLIT) | (context > table_width * PAGE_SIZE):
        return
    depth = tl.arange(0, BLOCK_D)
    for index in range(0, stop - start):
        row = start + index
        end = context - (stop - 1 - row)
        if end > SPLIT:
            pieces = (end + SPLIT - 1) // SPLIT
            place = tl.where(all_queries == 1, row, sequence).to(tl.int64)
            acc = tl.zeros((BLOCK_D,), dtype=tl.float32)
            total = tl.sum(acc, axis=0)
            top = total + HIDDEN
            for base in range(0, pieces, BLOCK_S):
                piece = base + tl.arange(0, BLOCK_S)
                at = (place * splits + piece) * heads + head
                scores = tl.load(partial_top + at, mask=piece < pieces, other=HIDDEN)
                mask = (piece < pieces)[:, None] & (depth < HEAD_DIM)[None, :]
                means = tl.load(partial + at[:, None] * HEAD_DIM + depth[None, :], mask=mask, other=0.0)
                higher = tl.maximum(top, tl.max(scores, axis=0))
                weights = tl.exp2(scores - higher)
                decay = tl.exp2(top - higher)
                total = total * decay + tl.sum(weights, axis=0)
                acc = acc * decay + tl.sum(means * weights[:, None], axis=0)
                top = higher
            to = (row.to(tl.int64) * heads + head) * HEAD_DIM + depth
            tl.store(out + to, (acc / total).to(out.dtype.element_ty), mask=depth < HEAD_DIM)


@triton.jit(do_not_specialize=["sequences", "table_width"])
def _prefill(
    q,  # f[N, heads, D]
    k_pages,  # f[pages, PAGE_SIZE, kv_heads, D]
    v_pages,  # f[pages, PAGE_SIZE, kv_heads, D]
    cu_seqlens_q,  # i32[S + 1]
    context_lens,  # i32[S]
    block_tables,  # i32[S, table_width]
    out,  # f[N, heads, D]
    scale,
    sequences,
    table_width,
    heads,
    q_stride_row,
    q_stride_head,
    key_stride,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    QUERIES: tl.constexpr,  # of one tile
    BLOCK_H: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    sequence, tile = sequence_of_tile(cu_seqlens_q, tl.program_id(0), sequences, QUERIES)
    kv_head = tl.program_id(1)
    start = tl.load(cu_seqlens_q + sequence)
    length = tl.load(cu_seqlens_q + sequence + 1) - start
    if (length == 1) | (tile * QUERIES >= length):
        return
    context = tl.load(context_lens + sequence)
    fits = context <= table_width * PAGE_SIZE
    context = tl.where(fits, context, 0)
    packed = tl.arange(0, QUERIES * BLOCK_H)
    query_index = tile * QUERIES + packed // BLOCK_H
    member = packed % BLOCK_H
    head = kv_head * GROUP + member
    depth = tl.arange(0, BLOCK_D)
    own = ((query_index < length) & (member < GROUP))[:, None] & (depth < HEAD_DIM)[None, :]
    row = (start + query_index).to(tl.int64)
    query = tl.load(q + row[:, None] * q_stride_row + head[:, None] * q_stride_head + depth[None, :], mask=own, other=0)
    acc = tl.zeros((QUERIES * BLOCK_H, BLOCK_D), dtype=tl.float32)
    total = tl.zeros((QUERIES * BLOCK_H,), dtype=tl.float32)
    top = tl.full((QUERIES * BLOCK_H,), HIDDEN, tl.float32)
    ends = context - length + query_index + 1
    least_end = tl.maximum(context - length + tile * QUERIES + 1, 0)  # the tile's first query's
    last = context - tl.maximum(length - (tile + 1) * QUERIES, 0)
    whole = least_end // BLOCK_N * BLOCK_N
    pages = block_tables + sequence.to(tl.int64) * table_width
    keys = k_pages + kv_head * HEAD_DIM
    values = v_pages + kv_head * HEAD_DIM
    acc, total, top = attend(
        acc, total, top, query, keys, values, pages, 0, whole, ends, key_stride, key_stride, scale * LOG2_E,
        False, PAGE_SIZE, HEAD_DIM, BLOCK_D, BLOCK_N,
    )  # fmt: skip
    acc, total, top = attend(
        acc, total, top, query, keys, values, pages, whole, last, ends, key_stride, key_stride, scale * LOG2_E,
        True, PAGE_SIZE, HEAD_DIM, BLOCK_D, BLOCK_N,
    )  # fmt: skip
    at = (row * heads + head)[:, None] * HEAD_DIM + depth[None, :]
    mean = tl.where(fits, mean_of(acc, total), float("nan"))
    tl.store(out + at, mean.to(out.dtype.element_ty), mask=own)


def paged_attention(
    q: torch.Tensor,  # f[N, heads, D]
    k_pages: torch.Tensor,  # f[pages, page_size, kv_heads, D]
    v_pages: torch.Tensor,  # f[pages, page_size, kv_heads, D]
    cu_seqlens_q: torch.Tensor,  # i32[S + 1]
    context_lens: torch.Tensor,  # i32[S]
    block_tables: torch.Tensor,  # i32[S, max_pages]
    scale: float,
) -> torch.Tensor:
    """As the reference, for float32, bfloat16 and float16. Of no more queries than sequences, all count as decodes."""
    check_dtype("q", q, *KERNEL_FLOATS)
    rows, heads, head_dim = q.shape
    check(head_dim <= 128, f"heads have {head_dim} values; the Triton kernel's tiles hold at most 128.")
    sequences, table_width = block_tables.shape
    page_size, kv_heads = k_pages.shape[1], k_pages.shape[2]
    out = torch.empty(rows, heads, head_dim, dtype=q.dtype, device=q.device)
    if out.numel() == 0:
        return out
    target, group = (target_of(q.device), q.element_size()), heads // kv_heads
    all_queries = rows <= sequences
    decode, prefill = DECODE[target], PREFILL[target]
    block_h, block_d = max(16, triton.next_power_of_2(group)), max(16, triton.next_power_of_2(head_dim))
    splits = max(1, triton.cdiv(table_width * page_size, decode.split))
    partial = torch.empty(sequences, splits, heads, head_dim, dtype=torch.float32, device=q.device)
    partial_top = torch.empty(sequences, splits, heads, dtype=torch.float32, device=q.device)
    _decode[(sequences, kv_heads, splits)](
        q,
        k_pages,
        v_pages,
        cu_seqlens_q,
        context_lens,
        block_tables,
        out,
        partial,
        partial_top,
        scale,
        int(all_queries),
        table_width,
        splits,
        heads,
        q.stride(0),
        q.stride(1),
        kv_heads * head_dim,
        GROUP=group,
        HEAD_DIM=head_dim,
        PAGE_SIZE=page_size,
        SPLIT=decode.split,
        BLOCK_H=block_h,
        BLOCK_D=block_d,
        BLOCK_N=decode.keys,
        num_warps=decode.warps,
        num_stages=decode.stages,
    )
    if splits > 1:
        _merge[(sequences, heads)](
            partial,
            partial_top,
            cu_seqlens_q,
            context_lens,
            out,
            int(all_queries),
            table_width,
            splits,
            heads,
            HEAD_DIM=head_dim,
            PAGE_SIZE=page_size,
            SPLIT=decode.split,
            BLOCK_D=block_d,
            BLOCK_S=SPLITS_AT_ONCE,
            num_warps=4,
        )
    if not all_queries:
        queries = max(1, prefill.rows // block_h)
        _prefill[(rows // queries + sequences, kv_heads)](
            q,
            k_pages,
            v_pages,
            cu_seqlens_q,
            context_lens,
            block_tables,
            out,
            scale,
            sequences,
            table_width,
            heads,
            q.stride(0),
            q.stride(1),
            kv_heads * head_dim,
            GROUP=group,
            HEAD_DIM=head_dim,
            PAGE_SIZE=page_size,
            QUERIES=queries,
            BLOCK_H=block_h,
            BLOCK_D=block_d,
            BLOCK_N=prefill.keys,
            num_warps=prefill.warps,
            num_stages=prefill.stages,
        )
    return out
