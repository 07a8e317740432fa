"""Sizes of `swiglu`'s kernel, as data. Values are independent: no size changes a bit."""

from typing import Final

COLUMNS: Final = 1_024  # of one row, in one program
WARPS: Final = 4
