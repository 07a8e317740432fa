"""Sizes of `rope_paged_write`'s kernel, as data. Values are turned pair by pair: no size changes a bit."""

from typing import Final

HEADS: Final = 8  # of one row, in one program
WARPS: Final = 4
