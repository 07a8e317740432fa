"""Sizes of `sample`'s kernels, as data. The choice does not hang on them, but for the last bit of its sums."""

from dataclasses import dataclass
from typing import Final

from antiphon.kernels.targets import Target


@dataclass(frozen=True)
class Sizes:
    """How a row of logits is cut."""

    tile: int  # neighbouring logits that send their highest on
    tiles: int  # of one program
    candidates: int  # that a tile sends
    warps: int  # of a program that summarises tiles
    choosing_warps: int
    pivots: int  # tried in one pass over a row that its candidates do not decide
    block: int  # logits at a step of such a pass
    searching_warps: int


# A nucleus at temperature 0.2 and top-p 0.8 holds tens of ids, and speech ids lie in 64 neighbouring tiles of 256: of
# 100 ids there, one tile holds more than eight in 2 of 100 rows.
_CARDS: Final = Sizes(
    tile=256, tiles=8, candidates=8, warps=4, choosing_warps=8, pivots=8, block=1_024, searching_warps=16
)
_SIZES: Final[dict[Target, Sizes]] = {
    "sm_80": _CARDS,
    "sm_90": _CARDS,
    "interpreter": Sizes(
        tile=16, tiles=2, candidates=4, warps=4, choosing_warps=4, pivots=4, block=128, searching_warps=4
    ),
}


def sizes_for(target: Target) -> Sizes:
    """The sizes for this machine."""
    return _SIZES[target]
