"""Sizes of `istft_head`'s kernel, as data."""

from typing import Final

SAMPLES: Final = 128  # of one program
WARPS: Final = 4
LARGEST_TRANSFORM: Final = 64  # samples: beyond, summing every bin for every sample loses to an FFT
