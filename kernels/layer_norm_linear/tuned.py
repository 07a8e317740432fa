"""Tile sizes of `layer_norm_linear`'s kernel, as data: never by the number of rows, so bits do not hang on company."""

from dataclasses import dataclass
from typing import Final

from antiphon.kernels.targets import Target


@dataclass(frozen=True)
class Tile:
    """What one program makes, and how."""

    rows: int
    columns: int
    depth: int  # values of a row taken in one step
    warps: int
    stages: int


TILES: Final[dict[tuple[Target, int], Tile]] = {  # by bytes of a value
    ("sm_80", 4): Tile(rows=64, columns=64, depth=32, warps=8, stages=3),
    ("sm_80", 2): Tile(rows=64, columns=128, depth=64, warps=8, stages=3),
    ("sm_90", 4): Tile(rows=64, columns=64, depth=32, warps=4, stages=3),
    ("sm_90", 2): Tile(rows=64, columns=128, depth=64, warps=4, stages=3),
    ("interpreter", 4): Tile(rows=16, columns=32, depth=16, warps=4, stages=1),
    ("interpreter", 2): Tile(rows=16, columns=32, depth=16, warps=4, stages=1),
}
