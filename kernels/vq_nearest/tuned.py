"""Tile sizes of `vq_nearest`'s kernels, as data. The answer does not hang on them: it is decided in float64."""

from dataclasses import dataclass
from typing import Final

from antiphon.kernels.targets import Target

GROUP: Final = 8  # neighbouring codes that share one bound, and are measured together
WIDTH_AT_ONCE: Final = 128  # of a group's vectors, when it is measured
MEASURING_WARPS: Final = 4


@dataclass(frozen=True)
class Tile:
    """What one program of the first pass makes."""

    rows: int
    codes: int
    depth: int  # of the vectors at a step
    warps: int
    stages: int


# By the number of rows up to which a tile serves; the last serves the rest.
_TILES: Final[dict[Target, tuple[tuple[int, Tile], ...]]] = {
    "sm_80": (
        (64, Tile(rows=64, codes=64, depth=32, warps=4, stages=4)),
        (1 << 31, Tile(rows=128, codes=128, depth=32, warps=8, stages=3)),
    ),
    "sm_90": (
        (64, Tile(rows=64, codes=128, depth=32, warps=4, stages=4)),
        (1 << 31, Tile(rows=128, codes=128, depth=32, warps=8, stages=3)),
    ),
    "interpreter": (
        (8, Tile(rows=16, codes=16, depth=16, warps=4, stages=1)),
        (1 << 31, Tile(rows=16, codes=32, depth=16, warps=4, stages=1)),
    ),
}


def tile_for(target: Target, rows: int) -> Tile:
    """The tile for this many rows."""
    return next(tile for most, tile in _TILES[target] if rows <= most)
