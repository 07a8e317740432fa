"""Tile sizes of `conv_norm_mish`'s kernels, as data. They hang on the layer alone: never on the number of rows,
which would let a sequence's statistics depend on its company."""

from dataclasses import dataclass, replace
from typing import Final

import torch

from antiphon.kernels.targets import Target


@dataclass(frozen=True)
class Tile:
    """What one program of the convolution makes, and how."""

    rows: int
    channels: int  # of the output
    depth: int  # input channels of one step
    warps: int
    stages: int


_TILES: Final[dict[tuple[Target, int], Tile]] = {  # by bytes of a value
    ("sm_80", 4): Tile(rows=64, channels=64, depth=32, warps=8, stages=3),
    ("sm_80", 2): Tile(rows=64, channels=64, depth=64, warps=4, stages=3),
    ("sm_90", 4): Tile(rows=64, channels=64, depth=32, warps=4, stages=3),
    ("sm_90", 2): Tile(rows=64, channels=64, depth=64, warps=4, stages=3),
    ("interpreter", 4): Tile(rows=16, channels=32, depth=16, warps=4, stages=1),
    ("interpreter", 2): Tile(rows=16, channels=32, depth=16, warps=4, stages=1),
}
_LEAST_DEPTH: Final = 16  # of a matrix product
NORM_ROWS: Final = 32  # of one program that normalises, over one group's channels
NORM_WARPS: Final = 4
PARTS: Final = 16  # tiles' statistics merged at a time


def tile_for(target: Target, dtype: torch.dtype, channels_in: int) -> Tile:
    """The convolution's tile; few input channels are taken in one shallow step."""
    tile = _TILES[target, dtype.itemsize]
    return replace(tile, depth=min(tile.depth, max(_LEAST_DEPTH, 1 << (channels_in - 1).bit_length())))
