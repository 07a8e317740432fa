"""What the attention kernels share: which tile of queries a program takes, and the pass of a tile over keys.

Imported by `kernel.py` files alone. Scores are kept times log₂ e, so that weights are powers of two; what a row does
not see has the finite score `HIDDEN`, so that no difference of infinities arises.
"""

import triton
import triton.language as tl

HIDDEN = tl.constexpr(-1.0e38)
LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def sequence_of_tile(
    cu_seqlens,  # i32[S + 1]
    tile,
    sequences,  # S
    TILE: tl.constexpr,  # queries of one tile
):
    """(sequence, tile within it): sequence s owns the tiles from cu_seqlens[s] // TILE + s on, enough or one too many.

    So the number of tiles, rows // TILE + S, is known without lengths, and no tile holds queries of two sequences.
    """
    low = tile * 0
    high = low + sequences
    while high - low > 1:
        middle = (low + high) // 2
        begun = tl.load(cu_seqlens + middle) // TILE + middle <= tile
        low = tl.where(begun, middle, low)
        high = tl.where(begun, high, middle)
    return low, tile - (tl.load(cu_seqlens + low) // TILE + low)


@triton.jit
def attend(
    acc,  # f32[M, D]: values so far, weighted
    total,  # f32[M]: the sum of those weights
    top,  # f32[M]: the greatest score so far
    q,  # f[M, D]
    keys,  # pointer to the KV head in the sequence's first key, or in the first page's
    values,  # as keys
    pages,  # i32 pointer to the sequence's pages; any pointer without them
    first,  # key, a multiple of BLOCK_N
    last,  # one past the last key
    ends,  # i32[M]: a row sees the keys before its end
    key_stride,
    value_stride,
    scale,  # times log₂ e
    MASKED: tl.constexpr,  # no: every row sees all of `first` to `last`, in whole tiles
    PAGE_SIZE: tl.constexpr,  # 0: keys lie one after another
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """(acc, total, top) after the keys from `first` to `last`."""
    column = tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_D)
    for start in range(first, last, BLOCK_N):
        key = start + column
        if PAGE_SIZE == 0:
            slot = key.to(tl.int64)
        elif PAGE_SIZE % BLOCK_N == 0:  # a tile lies within one page
            page = tl.load(pages + start // PAGE_SIZE).to(tl.int64)
            slot = page * PAGE_SIZE + start % PAGE_SIZE + column
        else:
            if MASKED:
                page = tl.load(pages + key // PAGE_SIZE, mask=key < last, other=0).to(tl.int64)
            else:
                page = tl.load(pages + key // PAGE_SIZE).to(tl.int64)
            slot = page * PAGE_SIZE + key % PAGE_SIZE
        k_at = keys + slot[None, :] * key_stride + depth[:, None]
        v_at = values + slot[:, None] * value_stride + depth[None, :]
        if MASKED:
            k = tl.load(k_at, mask=(key < last)[None, :] & (depth < HEAD_DIM)[:, None], other=0.0)
        elif HEAD_DIM == BLOCK_D:
            k = tl.load(k_at)
        else:
            k = tl.load(k_at, mask=(depth < HEAD_DIM)[:, None], other=0.0)
        scores = tl.dot(q, k, input_precision="tf32x3") * scale
        if MASKED:
            sees = key[None, :] < ends[:, None]
            scores = tl.where(sees, scores, HIDDEN)
        higher = tl.maximum(top, tl.max(scores, axis=1))
        weights = tl.exp2(scores - higher[:, None])
        if MASKED:  # a row that has seen nothing yet weighs what it does not see as its greatest
            weights = tl.where(sees, weights, 0.0)
        decay = tl.exp2(top - higher)
        total = total * decay + tl.sum(weights, axis=1)
        top = higher
        if MASKED:
            v = tl.load(v_at, mask=(key < last)[:, None] & (depth < HEAD_DIM)[None, :], other=0.0)
        elif HEAD_DIM == BLOCK_D:
            v = tl.load(v_at)
        else:
            v = tl.load(v_at, mask=(depth < HEAD_DIM)[None, :], other=0.0)
        acc = tl.dot(weights.to(v.dtype), v, acc * decay[:, None], input_precision="tf32x3")
    return acc, total, top


@triton.jit
def mean_of(acc, total):
    """The weighted values over their weights; zeros in rows that saw no key."""
    return acc / tl.where(total == 0.0, 1.0, total)[:, None]
