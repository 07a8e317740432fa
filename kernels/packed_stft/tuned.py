"""Sizes of `packed_stft`'s kernel, as data."""

from typing import Final

ROWS: Final = 64  # of one program
WARPS: Final = 4
LARGEST_TRANSFORM: Final = 64  # samples: beyond, a product with the whole basis loses to an FFT and fills registers
