"""Sizes of `snake`'s kernel, as data."""

from typing import Final

BLOCK: Final = 1024  # values of one program
WARPS: Final = 4
