"""`sample` in Triton: three launches, no sort, nothing read back.

1. Each tile of neighbouring logits sends on its few highest and its sum of weights, exp((x − highest) / T), float64.
2. One program a row finds the lowest kept logit by bisection over those candidates, and draws among them by bisection
   over ids. It certifies itself: every tile's last candidate must lie below the lowest kept one, so that no kept id is
   missing. Rows without a limit (no top-k, top-p 1) are drawn from the tiles' sums, and need no candidates.
3. One program a row leaves at once where that was certified, and otherwise searches the whole row in the same way,
   several pivots a pass.

NaN counts as +inf, as in torch's argmax; where probabilities are not numbers the id is 0, as in the reference.
"""

import torch
import triton
import triton.language as tl

from antiphon.kernels.sample.jit_search import highest_key, key_of, lowest_id, masses_from, masses_to, value_of
from antiphon.kernels.sample.tuned import sizes_for
from antiphon.kernels.targets import target_of


@triton.jit(do_not_specialize=["vocab", "tiles"])
def _summarise_tiles(
    logits,  # f32[R, vocab]
    temperature,  # f32[R]
    values,  # f32[R, tiles, SLOTS]: each tile's highest, in falling order
    ids,  # i32[R, tiles, SLOTS]
    sums,  # f64[R, tiles]
    vocab,
    tiles,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    row = tl.program_id(1).to(tl.int64)
    tile = tl.program_id(0) * TILES + tl.arange(0, TILES)
    column = tile[:, None] * TILE + tl.arange(0, TILE)[None, :]
    x = tl.load(logits + row * vocab + column, mask=column < vocab, other=float("-inf"))
    x = tl.where(x != x, float("inf"), x)
    highest = tl.max(x, axis=1)
    first = tl.min(tl.where(x == highest[:, None], column, vocab), axis=1)
    is_tile = tile < tiles
    slot = (row * tiles + tile) * SLOTS
    tl.store(values + slot, highest, mask=is_tile)
    tl.store(ids + slot, first, mask=is_tile)
    degrees = tl.load(temperature + row)
    if degrees > 0:
        scale = 1.0 / degrees.to(tl.float64)
        weights = tl.exp((x.to(tl.float64) - highest.to(tl.float64)[:, None]) * scale)
        # A tile of −inf alone weighs nothing; its own highest would make NaN of it.
        tl.store(sums + row * tiles + tile, tl.sum(tl.where(x == float("-inf"), 0.0, weights), axis=1), mask=is_tile)
        for next_slot in tl.static_range(1, SLOTS):
            x = tl.where(column == first[:, None], float("-inf"), x)
            highest = tl.max(x, axis=1)
            first = tl.min(tl.where(x == highest[:, None], column, vocab), axis=1)
            tl.store(values + slot + next_slot, highest, mask=is_tile)
            tl.store(ids + slot + next_slot, first, mask=is_tile)


@triton.jit
def _uniform(seed, step):
    """f64 in [0, 1): Philox-4x32-10's first word, as the reference draws it."""
    low, high = (step & 0xFFFFFFFF).to(tl.uint32), (step >> 32).to(tl.uint32)
    word, _, _, _ = tl.philox(seed, low, high, low * 0, low * 0)
    return word.to(tl.float64) * 2.3283064365386963e-10  # 2⁻³²


@triton.jit
def _of_all(logits, tile_weights, total, draw, highest, scale, vocab, tiles, TILES: tl.constexpr, TILE: tl.constexpr):
    """The id that the draw takes of a whole row: first the tile, by the tiles' weights, then within it."""
    tile = tl.arange(0, TILES)
    low, high = 0, tiles - 1
    while low < high:
        middle = (low + high) // 2
        reached = tl.sum(tl.where(tile <= middle, tile_weights, 0.0), axis=0) > draw * total
        low, high = tl.where(reached, low, middle + 1), tl.where(reached, middle, high)
    before = tl.sum(tl.where(tile < low, tile_weights, 0.0), axis=0)
    column = low * TILE + tl.arange(0, TILE)
    x = tl.load(logits + column, mask=column < vocab, other=float("-inf"))
    weights = tl.exp((x.to(tl.float64) - highest) * scale)
    # Should rounding leave the tile's own sum short of the draw, its last id of any weight is taken.
    low, high = low * TILE, tl.max(tl.where(weights > 0, column, 0), axis=0)
    while low < high:
        middle = (low + high) // 2
        reached = before + tl.sum(tl.where(column <= middle, weights, 0.0), axis=0) > draw * total
        low, high = tl.where(reached, low, middle + 1), tl.where(reached, middle, high)
    return low


@triton.jit(do_not_specialize=["vocab", "tiles"])
def _choose(
    logits,  # f32[R, vocab]
    values,  # f32[R, tiles, SLOTS]
    ids,  # i32[R, tiles, SLOTS]
    sums,  # f64[R, tiles]
    temperature,  # f32[R]
    top_k,  # i32[R]
    top_p,  # f32[R]
    seed,  # i64[R]
    step,  # i64[R]
    chosen,  # i64[R]
    undecided,  # i32[R]: whether the candidates do not decide
    vocab,
    tiles,
    TILE: tl.constexpr,
    TILES: tl.constexpr,  # at least tiles
    SLOTS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    tile = tl.arange(0, TILES)
    head = (row * tiles + tile) * SLOTS
    heads = tl.load(values + head, mask=tile < tiles, other=float("-inf"))
    highest = tl.max(heads, axis=0)
    degrees = tl.load(temperature + row)
    certified = True
    if degrees > 0:
        k, p = tl.load(top_k + row), tl.load(top_p + row).to(tl.float64)
        has_k, has_p = (k > 0) & (k < vocab), p < 1
        draw = _uniform(tl.load(seed + row), tl.load(step + row))
        scale = 1.0 / degrees.to(tl.float64)
        top = highest.to(tl.float64)
        tile_sums = tl.load(sums + row * tiles + tile, mask=tile < tiles, other=0.0)
        tile_weights = tile_sums * tl.exp((heads.to(tl.float64) - top) * scale)
        total = tl.sum(tile_weights, axis=0)
        if has_k | has_p:
            slot = tl.arange(0, TILES * SLOTS)
            is_slot = slot < tiles * SLOTS
            x = tl.load(values + row * tiles * SLOTS + slot, mask=is_slot, other=float("-inf"))
            column = tl.load(ids + row * tiles * SLOTS + slot, mask=is_slot, other=0)
            key = key_of(x)
            weights = tl.exp((x.to(tl.float64) - top) * scale)
            # What a tile did not send lies at or below its last candidate.
            least = tl.max(tl.where(slot % SLOTS == SLOTS - 1, key, -2147483648), axis=0).to(tl.int64) + 1
            if has_k:
                certified = tl.sum((key >= least).to(tl.int32), axis=0) >= k
                high = key_of(highest).to(tl.int64)
                while certified & (least < high):
                    middle = least + (high - least + 1) // 2
                    enough = tl.sum((key >= middle).to(tl.int32), axis=0) >= k
                    least, high = tl.where(enough, middle, least), tl.where(enough, high, middle - 1)
                total = tl.sum(tl.where(key >= least, weights, 0.0), axis=0)
            bound = vocab - 1  # of the ids that are kept among those equal to the lowest kept
            if has_p:
                target = p * total
                certified = certified & (tl.sum(tl.where(key >= least, weights, 0.0), axis=0) >= target)
                high = key_of(highest).to(tl.int64)
                while certified & (least < high):
                    middle = least + (high - least + 1) // 2
                    enough = tl.sum(tl.where(key >= middle, weights, 0.0), axis=0) >= target
                    least, high = tl.where(enough, middle, least), tl.where(enough, high, middle - 1)
                above = tl.sum(tl.where(key > least, weights, 0.0), axis=0)
                is_equal = key == least
                wanted = tl.ceil((target - above) / tl.max(tl.where(is_equal, weights, 0.0), axis=0))
                low = 0
                # The lowest ids of the equals, as many as it takes and at least one.
                while certified & (low < bound):
                    middle = (low + bound) // 2
                    count = tl.sum((is_equal & (column <= middle)).to(tl.int32), axis=0)
                    enough = (count >= wanted) & (count >= 1)
                    low, bound = tl.where(enough, low, middle + 1), tl.where(enough, middle, bound)
            kept = tl.where((key > least) | ((key == least) & (column <= bound)), weights, 0.0)
            mass = tl.sum(kept, axis=0)
            low, high = 0, vocab - 1
            while certified & (low < high):
                middle = (low + high) // 2
                reached = tl.sum(tl.where(column <= middle, kept, 0.0), axis=0) > draw * mass
                low, high = tl.where(reached, low, middle + 1), tl.where(reached, middle, high)
        else:
            at = logits + row * vocab
            low = _of_all(at, tile_weights, total, draw, top, scale, vocab, tiles, TILES, TILE)
        # The highest logit's own weight is 1, unless it is infinite.
        tl.store(chosen + row, tl.where(total >= 0.5, low, 0).to(tl.int64))
        certified = certified | (total != total)
    else:
        head_ids = tl.load(ids + head, mask=tile < tiles, other=0)
        tl.store(
            chosen + row, tl.min(tl.where((heads == highest) & (tile < tiles), head_ids, vocab), axis=0).to(tl.int64)
        )
    tl.store(undecided + row, tl.where(certified, 0, 1))


@triton.jit(do_not_specialize=["vocab", "tiles"])
def _choose_from_all(
    logits,  # f32[R, vocab]
    values,  # f32[R, tiles, SLOTS]
    sums,  # f64[R, tiles]
    temperature,  # f32[R]
    top_k,  # i32[R]
    top_p,  # f32[R]
    seed,  # i64[R]
    step,  # i64[R]
    chosen,  # i64[R]
    undecided,  # i32[R]
    vocab,
    tiles,
    TILES: tl.constexpr,
    SLOTS: tl.constexpr,
    PIVOTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    if tl.load(undecided + row) != 0:
        at = logits + row * vocab
        tile = tl.arange(0, TILES)
        heads = tl.load(values + (row * tiles + tile) * SLOTS, mask=tile < tiles, other=float("-inf"))
        highest = tl.max(heads, axis=0)
        top, scale = highest.to(tl.float64), 1.0 / tl.load(temperature + row).to(tl.float64)
        tile_sums = tl.load(sums + row * tiles + tile, mask=tile < tiles, other=0.0)
        total = tl.sum(tile_sums * tl.exp((heads.to(tl.float64) - top) * scale), axis=0)
        k, p = tl.load(top_k + row), tl.load(top_p + row).to(tl.float64)
        least, high = key_of(highest * 0 + float("-inf")).to(tl.int64), key_of(highest).to(tl.int64)
        pivot = tl.arange(0, PIVOTS)
        if (k > 0) & (k < vocab):
            least = highest_key(at, vocab, least, high, k.to(tl.float64), True, top, scale, PIVOTS, BLOCK)
            mass = masses_from(at, vocab, least + pivot, False, top, scale, PIVOTS, BLOCK)
            total = tl.max(mass, axis=0)
        bound = vocab - 1
        if p < 1:
            target = p * total
            least = highest_key(at, vocab, least, high, target, False, top, scale, PIVOTS, BLOCK)
            mass = masses_from(at, vocab, least + 1 + pivot, False, top, scale, PIVOTS, BLOCK)
            weight = tl.exp((value_of(least).to(tl.float64) - top) * scale)
            wanted = tl.maximum(tl.ceil((target - tl.max(mass, axis=0)) / weight), 1.0)
            bound = lowest_id(at, vocab, least, bound, wanted, True, top, scale, PIVOTS, BLOCK)
        mass = masses_to(at, vocab, least, bound, vocab - 1 - pivot, False, top, scale, PIVOTS, BLOCK)
        draw = _uniform(tl.load(seed + row), tl.load(step + row))
        found = lowest_id(at, vocab, least, bound, draw * tl.max(mass, axis=0), False, top, scale, PIVOTS, BLOCK)
        tl.store(chosen + row, found.to(tl.int64))


def choose(
    logits: torch.Tensor,  # f32[R, V]
    temperature: torch.Tensor,  # f32[R]
    top_k: torch.Tensor,  # i32[R]
    top_p: torch.Tensor,  # f32[R]
    seed: torch.Tensor,  # i64[R]
    step: torch.Tensor,  # i64[R]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(i64[R], i32[R]): the ids, and 1 for each row whose candidates did not decide."""
    logits = logits.detach().contiguous()
    settings = [column.contiguous() for column in (temperature, top_k, top_p, seed, step)]
    rows, vocab = logits.shape
    sizes = sizes_for(target_of(logits.device))
    tiles = triton.cdiv(vocab, sizes.tile)
    chosen = torch.empty(rows, dtype=torch.int64, device=logits.device)
    undecided = torch.empty(rows, dtype=torch.int32, device=logits.device)
    if rows == 0:
        return chosen, undecided
    values = logits.new_empty(rows, tiles, sizes.candidates)
    ids = torch.empty(rows, tiles, sizes.candidates, dtype=torch.int32, device=logits.device)
    sums = torch.empty(rows, tiles, dtype=torch.float64, device=logits.device)
    most_tiles = triton.next_power_of_2(tiles)
    _summarise_tiles[(triton.cdiv(tiles, sizes.tiles), rows)](
        logits,
        settings[0],
        values,
        ids,
        sums,
        vocab,
        tiles,
        TILE=sizes.tile,
        TILES=sizes.tiles,
        SLOTS=sizes.candidates,
        num_warps=sizes.warps,
    )
    _choose[(rows,)](
        logits,
        values,
        ids,
        sums,
        *settings,
        chosen,
        undecided,
        vocab,
        tiles,
        TILE=sizes.tile,
        TILES=most_tiles,
        SLOTS=sizes.candidates,
        num_warps=sizes.choosing_warps,
    )
    _choose_from_all[(rows,)](
        logits,
        values,
        sums,
        *settings,
        chosen,
        undecided,
        vocab,
        tiles,
        TILES=most_tiles,
        SLOTS=sizes.candidates,
        PIVOTS=sizes.pivots,
        BLOCK=sizes.block,
        num_warps=sizes.searching_warps,
    )
    return chosen, undecided


def sample(
    logits: torch.Tensor,  # f32[R, V]
    temperature: torch.Tensor,  # f32[R]
    top_k: torch.Tensor,  # i32[R]
    top_p: torch.Tensor,  # f32[R]
    seed: torch.Tensor,  # i64[R]
    step: torch.Tensor,  # i64[R]
) -> torch.Tensor:
    """As the reference."""
    return choose(logits, temperature, top_k, top_p, seed, step)[0]
