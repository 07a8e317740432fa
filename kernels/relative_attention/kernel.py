"""`relative_attention` in Triton: a program takes a tile of one sequence's rows of one head over all keys they see.

Rows m and keys n of a tile are n − m apart from its corner, so their scores by position are those of rows + keys − 1
offsets, one product, each row's shifted one column against the row above. Nothing of the size rows x offsets is stored.
Tiles are counted from each sequence's first row: a sequence comes out the same bits in any company.
"""

import math

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check, check_dtype
from antiphon.kernels.jit_attention import HIDDEN, LOG2_E, mean_of, sequence_of_tile
from antiphon.kernels.relative_attention import reference
from antiphon.kernels.relative_attention.tuned import TILES
from antiphon.kernels.targets import target_of


@triton.jit(do_not_specialize=["sequences", "offsets", "max_seqlen_k", "block"])
def _relative_attention(
    q,  # f[ΣT, H, D]
    k,  # f[ΣK, H, D]
    v,  # f[ΣK, H, D]
    positions,  # f[offsets, H, D]
    bias_u,  # f[H, D]
    bias_v,  # f[H, D]
    cu_seqlens,  # i32[S + 1]
    cu_seqlens_k,  # i32[S + 1]
    out,  # f[ΣT, H, D]
    scale,
    sequences,
    offsets,
    max_seqlen_k,
    block,
    heads,
    q_stride,
    k_stride,
    v_stride,
    p_stride,
    HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    sequence, tile = sequence_of_tile(cu_seqlens, tl.program_id(0), sequences, BLOCK_M)
    head = tl.program_id(1)
    start = tl.load(cu_seqlens + sequence)
    length = tl.load(cu_seqlens + sequence + 1) - start
    if tile * BLOCK_M >= length:
        return
    first_key = tl.load(cu_seqlens_k + sequence)
    seen = tl.load(cu_seqlens_k + sequence + 1) - first_key
    index = tl.arange(0, BLOCK_M)
    column = tl.arange(0, BLOCK_N)
    offset = tl.arange(0, BLOCK_M + BLOCK_N)
    depth = tl.arange(0, BLOCK_D)
    row = tile * BLOCK_M + index
    own = (row < length)[:, None] & (depth < HEAD_DIM)[None, :]
    within = head * HEAD_DIM + depth
    q_at = q + (start + row).to(tl.int64)[:, None] * q_stride + within[None, :]
    query = tl.load(q_at, mask=own, other=0.0).to(tl.float32)
    u = tl.load(bias_u + within, mask=depth < HEAD_DIM, other=0.0).to(tl.float32)
    w = tl.load(bias_v + within, mask=depth < HEAD_DIM, other=0.0).to(tl.float32)
    by_content = (query + u[None, :]).to(q.dtype.element_ty)
    by_position = (query + w[None, :]).to(q.dtype.element_ty)
    corner = seen - length + tile * BLOCK_M  # the first row's place among the keys
    ends = tl.minimum(((corner + index) // block + 1) * block, seen)
    last_row = seen - length + tl.minimum(length, (tile + 1) * BLOCK_M) - 1
    last = tl.minimum((last_row // block + 1) * block, seen)
    shift = column[None, :] - index[:, None] + BLOCK_M - 1
    keys = k + first_key.to(tl.int64) * k_stride + within[:, None]
    values = v + first_key.to(tl.int64) * v_stride + within[None, :]
    acc = tl.zeros((BLOCK_M, BLOCK_D), dtype=tl.float32)
    total = tl.zeros((BLOCK_M,), dtype=tl.float32)
    top = tl.full((BLOCK_M,), HIDDEN, tl.float32)
    for base in range(0, last, BLOCK_N):
        key = base + column
        wide_key = key.to(tl.int64)
        k_mask = (key < last)[None, :] & (depth < HEAD_DIM)[:, None]
        k_tile = tl.load(keys + wide_key[None, :] * k_stride, mask=k_mask, other=0.0)
        at = max_seqlen_k - corner - BLOCK_M + base + offset
        p_mask = ((at >= 0) & (at < offsets))[None, :] & (depth < HEAD_DIM)[:, None]
        p_at = positions + at.to(tl.int64)[None, :] * p_stride + within[:, None]
        p_tile = tl.load(p_at, mask=p_mask, other=0.0)
        by_offset = tl.dot(by_position, p_tile, input_precision="tf32x3")
        content = tl.dot(by_content, k_tile, input_precision="tf32x3")
        scores = (content + tl.gather(by_offset, shift, axis=1)) * (scale * LOG2_E)
        sees = key[None, :] < ends[:, None]
        scores = tl.where(sees, scores, HIDDEN)
        higher = tl.maximum(top, tl.max(scores, axis=1))
        weights = tl.where(sees, tl.exp2(scores - higher[:, None]), 0.0)
        decay = tl.exp2(top - higher)
        total = total * decay + tl.sum(weights, axis=1)
        top = higher
        v_mask = (key < last)[:, None] & (depth < HEAD_DIM)[None, :]
        v_tile = tl.load(values + wide_key[:, None] * v_stride, mask=v_mask, other=0.0)
        acc = tl.dot(weights.to(v_tile.dtype), v_tile, acc * decay[:, None], input_precision="tf32x3")
    to = out + (start + row).to(tl.int64)[:, None] * (heads * HEAD_DIM) + within[None, :]
    tl.store(to, mean_of(acc, total).to(out.dtype.element_ty), mask=own)


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
    """As the reference, for float32, bfloat16 and float16; nothing is read from the device. Dropout is left to it."""
    if dropout:
        return reference.relative_attention(
            q, k, v, positions, bias_u, bias_v, cu_seqlens, cu_seqlens_k,
            max_seqlen=max_seqlen, max_seqlen_k=max_seqlen_k, block=block, dropout=dropout,
        )  # fmt: skip
    check_dtype("q", q, *KERNEL_FLOATS)
    q, k, v, positions = (x.contiguous() for x in (q, k, v, positions))
    rows, heads, head_dim = q.shape
    check(head_dim <= 128, f"heads have {head_dim} values; the Triton kernel's tiles hold at most 128.")
    sequences, tile = len(cu_seqlens) - 1, TILES[target_of(q.device), q.element_size()]
    out = torch.empty_like(q)
    if out.numel() == 0:
        return out
    _relative_attention[(rows // tile.rows + sequences, heads)](
        q,
        k,
        v,
        positions,
        bias_u.contiguous(),
        bias_v.contiguous(),
        cu_seqlens,
        cu_seqlens_k,
        out,
        1 / math.sqrt(head_dim),
        sequences,
        len(positions),
        max_seqlen_k,
        block,
        heads,
        q.stride(0),
        k.stride(0),
        v.stride(0),
        positions.stride(0),
        HEAD_DIM=head_dim,
        BLOCK_M=tile.rows,
        BLOCK_N=tile.keys,
        BLOCK_D=max(16, triton.next_power_of_2(head_dim)),
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out
