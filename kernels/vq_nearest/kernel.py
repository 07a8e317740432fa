"""`vq_nearest` in Triton: tensor cores bound every distance, float64 decides among the codes that the bounds leave.

The first pass computes each code's score ‖c‖² − 2 x·c (the distance less ‖x‖²) in TF32 with a bound on its error, and
keeps of it the lowest a score can be in each group of eight codes and the highest the best can be in each tile. The
second measures every group that may hold the nearest. So there is nothing to fall back to: a row whose codes lie close
together has more groups measured. N x K scores are never stored.
"""

import torch
import triton
import triton.language as tl

from antiphon.kernels.targets import target_of
from antiphon.kernels.vq_nearest.tuned import GROUP, MEASURING_WARPS, WIDTH_AT_ONCE, tile_for


@triton.jit(do_not_specialize=["rows"])
def _bound_scores(
    x,  # f32[rows, width]
    codebook,  # f32[codes, width]
    lowest,  # f32[rows, groups]
    highest,  # f32[rows, tiles]
    rows,
    codes,
    width,
    groups,
    tiles,
    WHOLE: tl.constexpr,  # BLOCK_K divides width
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    tile = tl.program_id(1)
    code = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    is_row, is_code = row < rows, code < codes
    x_at = x + row.to(tl.int64)[:, None] * width + depth[None, :]
    c_at = codebook + code.to(tl.int64)[None, :] * width + depth[:, None]
    dots = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    x_squares = tl.zeros((BLOCK_M, BLOCK_K), dtype=tl.float32)
    c_squares = tl.zeros((BLOCK_K, BLOCK_N), dtype=tl.float32)
    for start in range(0, width, BLOCK_K):
        x_mask, c_mask = is_row[:, None], is_code[None, :]
        if not WHOLE:
            x_mask = x_mask & (start + depth < width)[None, :]
            c_mask = c_mask & (start + depth < width)[:, None]
        a = tl.load(x_at + start, mask=x_mask, other=0.0)
        b = tl.load(c_at + start, mask=c_mask, other=0.0)
        dots = tl.dot(a, b, dots, input_precision="tf32")
        x_squares += a * a
        c_squares += b * b
    x_square, c_square = tl.sum(x_squares, axis=1), tl.sum(c_squares, axis=0)
    score = c_square[None, :] - 2.0 * dots
    # TF32 cuts each factor by at most 2⁻¹⁰ of it, and each of `width` float32 additions loses at most 2⁻²² of the sum
    # of magnitudes, which is at most ‖x‖‖c‖; 2 % more for the rounding of this bound, and what underflow may take.
    product_error = 2.04 * (0.001955 + 2.4e-7 * width)
    error = product_error * tl.sqrt(x_square)[:, None] * tl.sqrt(c_square)[None, :]
    error += (2.4e-7 * width + 4e-6) * c_square[None, :] + 1e-36 * width
    at_least = tl.where(is_code[None, :], score - error, float("inf"))
    at_most = tl.where(is_code[None, :], score + error, float("inf"))
    of_groups = tl.min(tl.reshape(at_least, (BLOCK_M, BLOCK_N // GROUP, GROUP)), axis=2)
    group = tile * (BLOCK_N // GROUP) + tl.arange(0, BLOCK_N // GROUP)
    wide_row = row.to(tl.int64)
    tl.store(
        lowest + wide_row[:, None] * groups + group[None, :],
        of_groups,
        mask=is_row[:, None] & (group < groups)[None, :],
    )
    tl.store(highest + wide_row * tiles + tile, tl.min(at_most, axis=1), mask=is_row)


@triton.jit
def _measure_groups(
    x,  # f32[rows, width]
    codebook,  # f32[codes, width]
    lowest,  # f32[rows, groups]
    highest,  # f32[rows, tiles]
    nearest,  # i64[rows]
    measured,  # i32[rows]: how many groups
    codes,
    width,
    groups,
    tiles,
    GROUP: tl.constexpr,
    BLOCK_GROUPS: tl.constexpr,
    BLOCK_TILES: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    tile = tl.arange(0, BLOCK_TILES)
    best_is_at_most = tl.min(tl.load(highest + row * tiles + tile, mask=tile < tiles, other=float("inf")), axis=0)
    group = tl.arange(0, BLOCK_GROUPS)
    is_group = group < groups
    at_least = tl.load(lowest + row * groups + group, mask=is_group, other=float("inf"))
    is_live = is_group & (at_least <= best_is_at_most)  # none in a row with a NaN
    tl.store(measured + row, tl.sum(is_live.to(tl.int32), axis=0))
    depth = tl.arange(0, BLOCK_K)
    best = tl.full((), float("inf"), tl.float64)
    found = codes
    current = tl.min(tl.where(is_live, group, groups), axis=0)
    while current < groups:
        code = current * GROUP + tl.arange(0, GROUP)
        squares = tl.zeros((GROUP, BLOCK_K), dtype=tl.float64)
        for start in range(0, width, BLOCK_K):
            inside = start + depth < width
            a = tl.load(x + row * width + start + depth, mask=inside, other=0.0)
            at = codebook + code.to(tl.int64)[:, None] * width + (start + depth)[None, :]
            b = tl.load(at, mask=(code < codes)[:, None] & inside[None, :], other=0.0)
            difference = a.to(tl.float64)[None, :] - b.to(tl.float64)
            squares += difference * difference
        # Equal codes get equal sums: every code of every group is summed in the same order.
        distance = tl.where(code < codes, tl.sum(squares, axis=1), float("inf"))
        smallest = tl.min(distance, axis=0)
        first = tl.min(tl.where(distance == smallest, code, codes), axis=0)
        found = tl.where(smallest < best, first, found)  # of equals the earlier group's
        best = tl.minimum(best, smallest)
        is_live = is_live & (group > current)
        current = tl.min(tl.where(is_live, group, groups), axis=0)
    tl.store(nearest + row, found.to(tl.int64))


def search(
    x: torch.Tensor,  # f32[N, D]
    codebook: torch.Tensor,  # f32[K, D]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(i64[N], i32[N]): the nearest codes, and of how many groups of eight each row's distances were measured."""
    x, codebook = x.detach().contiguous(), codebook.detach().contiguous()
    (rows, width), codes = x.shape, len(codebook)
    nearest = torch.empty(rows, dtype=torch.int64, device=x.device)
    measured = torch.empty(rows, dtype=torch.int32, device=x.device)
    if rows == 0:
        return nearest, measured
    tile = tile_for(target_of(x.device), rows)
    groups, tiles = triton.cdiv(codes, GROUP), triton.cdiv(codes, tile.codes)
    lowest, highest = x.new_empty(rows, groups), x.new_empty(rows, tiles)
    _bound_scores[(triton.cdiv(rows, tile.rows), tiles)](
        x,
        codebook,
        lowest,
        highest,
        rows,
        codes,
        width,
        groups,
        tiles,
        WHOLE=width % tile.depth == 0,
        BLOCK_M=tile.rows,
        BLOCK_N=tile.codes,
        BLOCK_K=tile.depth,
        GROUP=GROUP,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    _measure_groups[(rows,)](
        x,
        codebook,
        lowest,
        highest,
        nearest,
        measured,
        codes,
        width,
        groups,
        tiles,
        GROUP=GROUP,
        BLOCK_GROUPS=triton.next_power_of_2(groups),
        BLOCK_TILES=triton.next_power_of_2(tiles),
        BLOCK_K=min(WIDTH_AT_ONCE, triton.next_power_of_2(width)),
        num_warps=MEASURING_WARPS,
    )
    return nearest, measured


def vq_nearest(
    x: torch.Tensor,  # f32[N, D]
    codebook: torch.Tensor,  # f32[K, D]
) -> torch.Tensor:
    """As the reference."""
    return search(x, codebook)[0]
