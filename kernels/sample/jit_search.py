"""Searches over a whole row of logits for `sample`'s kernel: several pivots are tried in each pass.

Imported by `kernel.py` alone. Weights are exp((x − top) / T) in float64. Sums are taken in one order whatever the
pivots, so that a sum over more elements is never the smaller one, and a search by halves ends at the right place.
"""

import triton
import triton.language as tl


@triton.jit
def key_of(x):
    """i32 in the order of float32; −0 and +0 are one."""
    bits = tl.where(x == 0.0, 0.0, x).to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def value_of(key):
    """The float32 of a key."""
    bits = key.to(tl.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


@triton.jit
def _block(logits, vocab, start, top, scale, BLOCK: tl.constexpr):
    """(ids, keys, weights) of one block; beyond the row they are `vocab`, the lowest key and 0."""
    column = start + tl.arange(0, BLOCK)
    x = tl.load(logits + column, mask=column < vocab, other=float("-inf"))
    weights = tl.exp((x.to(tl.float64) - top) * scale)
    key = tl.where(column < vocab, key_of(x), -2147483648)
    return column, key, weights


@triton.jit
def masses_from(logits, vocab, lowest, BY_COUNT: tl.constexpr, top, scale, PIVOTS: tl.constexpr, BLOCK: tl.constexpr):
    """f64[PIVOTS]: the weight, or the number, of the logits whose key is at least each of `lowest`, i64[PIVOTS]."""
    mass = tl.zeros((PIVOTS, BLOCK), dtype=tl.float64)
    for start in range(0, vocab, BLOCK):
        _, key, weights = _block(logits, vocab, start, top, scale, BLOCK)
        if BY_COUNT:
            weights = weights * 0.0 + 1.0
        mass += tl.where(key.to(tl.int64)[None, :] >= lowest[:, None], weights[None, :], 0.0)
    return tl.sum(mass, axis=1)


@triton.jit
def masses_to(
    logits, vocab, least, bound, last, BY_COUNT: tl.constexpr, top, scale, PIVOTS: tl.constexpr, BLOCK: tl.constexpr
):
    """f64[PIVOTS] over ids up to each of `last`, i32[PIVOTS]: the weight of the kept, or how many have the key `least`.

    Kept are keys above `least`, and those equal to it with ids up to `bound`.
    """
    mass = tl.zeros((PIVOTS, BLOCK), dtype=tl.float64)
    for start in range(0, vocab, BLOCK):
        column, key, weights = _block(logits, vocab, start, top, scale, BLOCK)
        is_equal = (key == least) & (column < vocab)
        if BY_COUNT:
            kept = tl.where(is_equal, 1.0, 0.0).to(tl.float64)
        else:
            kept = tl.where((key > least) | (is_equal & (column <= bound)), weights, 0.0)
        mass += tl.where(column[None, :] <= last[:, None], kept[None, :], 0.0)
    return tl.sum(mass, axis=1)


@triton.jit
def highest_key(
    logits,
    vocab,
    low,  # i64: a key that holds
    high,  # i64
    wanted,  # f64
    BY_COUNT: tl.constexpr,
    top,
    scale,
    PIVOTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The highest key, i64, such that the logits from it on are `wanted` in number, or weigh as much."""
    part = tl.arange(0, PIVOTS) + 1
    while low < high:
        pivots = low + (high - low) * part // PIVOTS
        mass = masses_from(logits, vocab, pivots, BY_COUNT, top, scale, PIVOTS, BLOCK)
        holding = tl.sum((mass >= wanted).to(tl.int32), axis=0)
        next_low = low + (high - low) * holding // PIVOTS
        next_high = tl.where(holding < PIVOTS, low + (high - low) * (holding + 1) // PIVOTS - 1, high)
        low, high = next_low, tl.maximum(next_low, next_high)
    return low


@triton.jit
def lowest_id(
    logits,
    vocab,
    least,  # i64
    bound,
    wanted,  # f64
    BY_COUNT: tl.constexpr,
    top,
    scale,
    PIVOTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The lowest id up to which there are `wanted` logits of the key `least`, or the kept weigh more than `wanted`."""
    part = tl.arange(0, PIVOTS)
    low, high = 0, vocab - 1
    while low < high:
        # 64 bits: ids times pivots could pass 2³¹ in a vocabulary of 10⁸.
        span = (high - low).to(tl.int64)
        pivots = low + (span * part // PIVOTS).to(tl.int32)
        mass = masses_to(logits, vocab, least, bound, pivots, BY_COUNT, top, scale, PIVOTS, BLOCK)
        if BY_COUNT:
            reached = mass >= wanted
        else:
            reached = mass > wanted
        short = PIVOTS - tl.sum(reached.to(tl.int32), axis=0)  # pivots that do not reach it
        next_low = tl.where(short > 0, low + (span * (short - 1) // PIVOTS).to(tl.int32) + 1, low)
        next_high = tl.where(short < PIVOTS, low + (span * short // PIVOTS).to(tl.int32), high)
        low, high = next_low, next_high
    return low
