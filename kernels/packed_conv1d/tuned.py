"""Tile sizes of the convolutions' kernels, as data. They hang on the layer alone: never on the number of rows, which
would let a row's rounding depend on its company."""

from dataclasses import replace
from typing import Final

import torch

from antiphon.kernels.targets import Target
from antiphon.kernels.tiles import ProductTile

_WIDE: Final[dict[tuple[Target, int], ProductTile]] = {  # by bytes of a value
    ("sm_80", 4): ProductTile(rows=64, columns=64, depth=32, warps=8, stages=3),
    ("sm_80", 2): ProductTile(rows=64, columns=128, depth=64, warps=8, stages=3),
    ("sm_90", 4): ProductTile(rows=64, columns=64, depth=32, warps=4, stages=3),
    ("sm_90", 2): ProductTile(rows=64, columns=128, depth=64, warps=4, stages=3),
    ("interpreter", 4): ProductTile(rows=32, columns=32, depth=16, warps=4, stages=1),
    ("interpreter", 2): ProductTile(rows=32, columns=32, depth=16, warps=4, stages=1),
}
_NARROW: Final[dict[tuple[Target, int], ProductTile]] = {  # for at most 32 channels of the output
    ("sm_80", 4): ProductTile(rows=64, columns=32, depth=32, warps=4, stages=3),
    ("sm_80", 2): ProductTile(rows=64, columns=32, depth=64, warps=4, stages=3),
    ("sm_90", 4): ProductTile(rows=64, columns=32, depth=32, warps=4, stages=3),
    ("sm_90", 2): ProductTile(rows=64, columns=32, depth=64, warps=4, stages=3),
    ("interpreter", 4): ProductTile(rows=16, columns=16, depth=16, warps=4, stages=1),
    ("interpreter", 2): ProductTile(rows=16, columns=16, depth=16, warps=4, stages=1),
}
_NARROW_CHANNELS: Final = 32
_SHALLOW_CHANNELS: Final = 64
_LEAST_DEPTH: Final = 16  # of a matrix product


def tile_for(target: Target, dtype: torch.dtype, channels_in: int, channels_out: int) -> ProductTile:
    """The tile for a layer of these widths; few input channels are taken in one shallow step.

    Such a step's copies are too narrow to go around the registers, so its tile is narrow too.
    """
    tile = (_NARROW if channels_out <= _NARROW_CHANNELS else _WIDE)[target, dtype.itemsize]
    depth = max(_LEAST_DEPTH, 1 << (channels_in - 1).bit_length())
    if depth >= tile.depth:
        return tile
    return replace(tile, depth=depth, columns=min(tile.columns, _SHALLOW_CHANNELS))
