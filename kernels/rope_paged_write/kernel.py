"""`rope_paged_write` in Triton: a program takes some heads of one row; those of the keys also go to the pages.

The bias of the projection before it is not added here: the library's product adds it on its way out, unrounded.
"""

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check_dtype
from antiphon.kernels.rope_paged_write.tuned import HEADS, WARPS


@triton.jit
def _turned(
    x,  # f[BLOCK_H, 2 · BLOCK_P], interleaved pairs
    cos_sin,  # pointer to the row's f32[PAIRS, 2]
    PAIRS: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """The same, its first PAIRS pairs turned and rounded once; the rest passes as it is."""
    even, odd = tl.split(tl.reshape(x, (BLOCK_H, BLOCK_P, 2)))
    pair = tl.arange(0, BLOCK_P)
    is_turned = pair < PAIRS
    cos = tl.load(cos_sin + 2 * pair, mask=is_turned, other=1.0)[None, :]
    sin = tl.load(cos_sin + 2 * pair + 1, mask=is_turned, other=0.0)[None, :]
    a, b = even.to(tl.float32), odd.to(tl.float32)
    # Chosen, not multiplied by one and zero: an infinity that passes stays one.
    first = tl.where(is_turned[None, :], (a * cos - b * sin).to(x.dtype), even)
    second = tl.where(is_turned[None, :], (b * cos + a * sin).to(x.dtype), odd)
    return tl.reshape(tl.join(first, second), (BLOCK_H, 2 * BLOCK_P))


@triton.jit(do_not_specialize=["slots"])
def _rope_paged_write(
    q,  # f[N, heads, D]
    k,  # f[N, kv_heads, D]
    v,  # f[N, kv_heads, D]
    cos_sin,  # f32[N, PAIRS, 2]
    slot_mapping,  # i64[N], or any pointer
    q_out,  # f[N, heads, D]
    k_out,  # f[N, kv_heads, D]
    k_pages,  # f[slots, kv_heads, D], or any pointer
    v_pages,  # f[slots, kv_heads, D], or any pointer
    slots,
    heads,
    kv_heads,
    q_stride_row,
    q_stride_head,
    k_stride_row,
    k_stride_head,
    v_stride_row,
    v_stride_head,
    HAS_PAGES: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAIRS: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    depth = tl.arange(0, 2 * BLOCK_P)
    angles = cos_sin + row * (2 * PAIRS)
    query_parts = tl.cdiv(heads, BLOCK_H)
    if part < query_parts:
        head = part * BLOCK_H + tl.arange(0, BLOCK_H)
        mask = (head < heads)[:, None] & (depth < HEAD_DIM)[None, :]
        at = head[:, None] * q_stride_head + depth[None, :]
        x = tl.load(q + row * q_stride_row + at, mask=mask, other=0.0)
        to = (row * heads + head[:, None]) * HEAD_DIM + depth[None, :]
        tl.store(q_out + to, _turned(x, angles, PAIRS, BLOCK_H, BLOCK_P), mask=mask)
    else:
        head = (part - query_parts) * BLOCK_H + tl.arange(0, BLOCK_H)
        mask = (head < kv_heads)[:, None] & (depth < HEAD_DIM)[None, :]
        at = head[:, None] * k_stride_head + depth[None, :]
        x = tl.load(k + row * k_stride_row + at, mask=mask, other=0.0)
        turned = _turned(x, angles, PAIRS, BLOCK_H, BLOCK_P)
        to = (row * kv_heads + head[:, None]) * HEAD_DIM + depth[None, :]
        tl.store(k_out + to, turned, mask=mask)
        if HAS_PAGES:
            slot = tl.load(slot_mapping + row)
            mask = mask & (slot >= 0) & (slot < slots)  # a slot that is not there must not be others' memory
            to = (slot * kv_heads + head[:, None]) * HEAD_DIM + depth[None, :]
            tl.store(k_pages + to, turned, mask=mask)
            at = head[:, None] * v_stride_head + depth[None, :]
            tl.store(v_pages + to, tl.load(v + row * v_stride_row + at, mask=mask, other=0.0), mask=mask)


def rope_paged_write(
    q: torch.Tensor,  # f[N, heads, D]
    k: torch.Tensor,  # f[N, kv_heads, D]
    v: torch.Tensor,  # f[N, kv_heads, D]
    cos_sin: torch.Tensor,  # f32[N, R, 2]
    k_pages: torch.Tensor | None = None,  # f[pages, page_size, kv_heads, D]
    v_pages: torch.Tensor | None = None,  # f[pages, page_size, kv_heads, D]
    slot_mapping: torch.Tensor | None = None,  # i64[N]
) -> tuple[torch.Tensor, torch.Tensor]:
    """As the reference, for float32, bfloat16 and float16. A row whose slot the pages lack is not written there."""
    check_dtype("q", q, *KERNEL_FLOATS)
    (rows, heads, head_dim), kv_heads, pairs = q.shape, k.shape[1], cos_sin.shape[1]
    q_out = torch.empty(rows, heads, head_dim, dtype=q.dtype, device=q.device)
    k_out = torch.empty(rows, kv_heads, head_dim, dtype=q.dtype, device=q.device)
    if rows == 0:
        return q_out, k_out
    has_pages = k_pages is not None and v_pages is not None and slot_mapping is not None
    _rope_paged_write[(rows, triton.cdiv(heads, HEADS) + triton.cdiv(kv_heads, HEADS))](
        q,
        k,
        v,
        cos_sin.contiguous(),
        slot_mapping if has_pages else q,
        q_out,
        k_out,
        k_pages if has_pages else k_out,
        v_pages if has_pages else k_out,
        k_pages.shape[0] * k_pages.shape[1] if k_pages is not None else 0,
        heads,
        kv_heads,
        q.stride(0),
        q.stride(1),
        k.stride(0),
        k.stride(1),
        v.stride(0),
        v.stride(1),
        HAS_PAGES=has_pages,
        HEAD_DIM=head_dim,
        PAIRS=pairs,
        BLOCK_H=HEADS,
        BLOCK_P=triton.next_power_of_2(triton.cdiv(head_dim, 2)),
        num_warps=WARPS,
    )
    return q_out, k_out
