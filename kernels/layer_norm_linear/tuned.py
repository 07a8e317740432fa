"""Tile sizes of `layer_norm_linear`'s kernel, as data: never by the number of rows, so bits do not hang on company."""

from typing import Final

from antiphon.kernels.targets import Target
from antiphon.kernels.tiles import ProductTile

TILES: Final[dict[tuple[Target, int], ProductTile]] = {  # by bytes of a value
    ("sm_80", 4): ProductTile(rows=64, columns=64, depth=32, warps=8, stages=3),
    ("sm_80", 2): ProductTile(rows=64, columns=128, depth=64, warps=8, stages=3),
    ("sm_90", 4): ProductTile(rows=64, columns=64, depth=32, warps=4, stages=3),
    ("sm_90", 2): ProductTile(rows=64, columns=128, depth=64, warps=4, stages=3),
    ("interpreter", 4): ProductTile(rows=16, columns=32, depth=16, warps=4, stages=1),
    ("interpreter", 2): ProductTile(rows=16, columns=32, depth=16, warps=4, stages=1),
}
