"""Tile sizes of `relative_attention`'s kernel, as data: never by the number of rows, so bits do not hang on company."""

from dataclasses import dataclass
from typing import Final

from antiphon.kernels.targets import Target


@dataclass(frozen=True)
class Tile:
    """One program takes some rows of one head over all keys they see. Powers of two."""

    rows: int
    keys: int  # at a step; with the rows' number of offsets
    warps: int
    stages: int


TILES: Final[dict[tuple[Target, int], Tile]] = {  # by bytes of a value
    ("sm_80", 4): Tile(rows=16, keys=16, warps=4, stages=2),
    ("sm_80", 2): Tile(rows=32, keys=32, warps=4, stages=2),
    ("sm_90", 4): Tile(rows=16, keys=16, warps=4, stages=2),
    ("sm_90", 2): Tile(rows=32, keys=32, warps=4, stages=2),
    ("interpreter", 4): Tile(rows=16, keys=16, warps=4, stages=1),
    ("interpreter", 2): Tile(rows=16, keys=16, warps=4, stages=1),
}
