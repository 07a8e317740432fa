"""Sizes of `rms_norm`'s kernel, as data: by the row's width alone, so that bits do not hang on company."""

from typing import Final

_WARPS: Final = ((1_024, 2), (4_096, 4), (1 << 16, 8))  # widths up to which they serve


def warps_for(width: int) -> int:
    """Warps of the program that takes a row of this width whole."""
    return next(warps for most, warps in _WARPS if width <= most)
