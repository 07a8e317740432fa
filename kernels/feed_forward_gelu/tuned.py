"""Tile sizes of `feed_forward_gelu`'s kernels, as data: never by the number of rows, so that a row's bits do not
depend on its company."""

from typing import Final

from antiphon.kernels.targets import Target
from antiphon.kernels.tiles import ProductTile

UP: Final[dict[tuple[Target, int], ProductTile]] = {  # by bytes of a value
    ("sm_80", 4): ProductTile(rows=64, columns=64, depth=32, warps=8, stages=3),
    ("sm_80", 2): ProductTile(rows=64, columns=128, depth=64, warps=8, stages=3),
    ("sm_90", 4): ProductTile(rows=64, columns=64, depth=32, warps=4, stages=3),
    ("sm_90", 2): ProductTile(rows=64, columns=128, depth=64, warps=4, stages=3),
    ("interpreter", 4): ProductTile(rows=16, columns=32, depth=16, warps=4, stages=1),
    ("interpreter", 2): ProductTile(rows=16, columns=32, depth=16, warps=4, stages=1),
}
DOWN: Final[dict[tuple[Target, int], ProductTile]] = {
    ("sm_80", 4): ProductTile(rows=64, columns=64, depth=32, warps=8, stages=3),
    ("sm_80", 2): ProductTile(rows=64, columns=64, depth=64, warps=4, stages=3),
    ("sm_90", 4): ProductTile(rows=64, columns=64, depth=32, warps=4, stages=3),
    ("sm_90", 2): ProductTile(rows=64, columns=64, depth=64, warps=4, stages=4),
    ("interpreter", 4): ProductTile(rows=16, columns=32, depth=16, warps=4, stages=1),
    ("interpreter", 2): ProductTile(rows=16, columns=32, depth=16, warps=4, stages=1),
}
