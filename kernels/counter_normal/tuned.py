"""Sizes of `counter_normal`'s kernel, as data."""

from typing import Final

BLOCK: Final = 512  # normals of one program
WARPS: Final = 4
