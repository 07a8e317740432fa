"""Tile sizes of `varlen_attention`'s kernel, as data: never by the number of rows, so bits do not hang on company."""

from dataclasses import dataclass
from typing import Final

from antiphon.kernels.targets import Target


@dataclass(frozen=True)
class Tile:
    """One program takes some queries' heads of one KV head over all keys they see."""

    rows: int  # queries times the heads that share a KV head
    keys: int  # at a step
    warps: int
    stages: int


_TILES: Final[dict[tuple[Target, int], tuple[tuple[int, Tile], ...]]] = {  # by bytes of a value, then by head size
    ("sm_80", 4): (
        (64, Tile(rows=64, keys=16, warps=8, stages=2)),
        (128, Tile(rows=32, keys=32, warps=8, stages=2)),
    ),
    ("sm_80", 2): (
        (64, Tile(rows=64, keys=64, warps=4, stages=3)),
        (128, Tile(rows=128, keys=32, warps=8, stages=3)),
    ),
    ("sm_90", 4): (
        (64, Tile(rows=64, keys=32, warps=8, stages=2)),
        (128, Tile(rows=32, keys=16, warps=8, stages=2)),  # with 32 keys Triton 3.9 spills
    ),
    ("sm_90", 2): (
        (64, Tile(rows=64, keys=64, warps=4, stages=3)),
        (128, Tile(rows=128, keys=64, warps=8, stages=3)),
    ),
    ("interpreter", 4): ((128, Tile(rows=16, keys=16, warps=4, stages=1)),),
    ("interpreter", 2): ((128, Tile(rows=16, keys=16, warps=4, stages=1)),),
}


def tile_for(target: Target, itemsize: int, head_dim: int) -> Tile:
    """The tile for heads of this size."""
    return next(tile for most, tile in _TILES[target, itemsize] if head_dim <= most)
