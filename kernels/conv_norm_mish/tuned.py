"""Tile sizes of `conv_norm_mish`'s kernels, as data. They hang on the layer alone: never on the number of rows,
which would let a sequence's statistics depend on its company."""

from dataclasses import replace
from typing import Final

import torch

from antiphon.kernels.targets import Target
from antiphon.kernels.tiles import ProductTile

_TILES: Final[dict[tuple[Target, int], ProductTile]] = {  # by bytes of a value
    ("sm_80", 4): ProductTile(rows=64, columns=64, depth=32, warps=8, stages=3),
    ("sm_80", 2): ProductTile(rows=64, columns=64, depth=64, warps=4, stages=3),
    ("sm_90", 4): ProductTile(rows=64, columns=64, depth=32, warps=4, stages=3),
    ("sm_90", 2): ProductTile(rows=64, columns=64, depth=64, warps=4, stages=3),
    ("interpreter", 4): ProductTile(rows=16, columns=32, depth=16, warps=4, stages=1),
    ("interpreter", 2): ProductTile(rows=16, columns=32, depth=16, warps=4, stages=1),
}
_LEAST_DEPTH: Final = 16  # of a matrix product
NORM_ROWS: Final = 32  # of one program that normalises, over one group's channels
NORM_WARPS: Final = 4
PARTS: Final = 16  # tiles' statistics merged at a time


def tile_for(target: Target, dtype: torch.dtype, channels_in: int) -> ProductTile:
    """The convolution's tile; few input channels are taken in one shallow step."""
    tile = _TILES[target, dtype.itemsize]
    return replace(tile, depth=min(tile.depth, max(_LEAST_DEPTH, 1 << (channels_in - 1).bit_length())))
