"""Sizes of `harmonic_source`'s kernel, as data."""

from typing import Final

FRAMES: Final = 64  # summed at a time on the way to a program's own frame
WARPS: Final = 4
