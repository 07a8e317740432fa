"""How many speech tokens the next chunk takes: a pure function of what a turn knows at that moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MARGIN_SECONDS: Final = 0.1  # of lead left when a chunk that was made early is heard
_HELD_UP: Final = 1.5  # what a stage may take beyond what it took last time


@dataclass(frozen=True)
class StageTimes:
    """What the stages took for this turn lately, in seconds."""

    token: float  # from one id of the LM to the next
    chunk: float  # from the moment a chunk was due until its wave was there


def next_chunk(
    at_hand: int,  # speech tokens not spoken yet
    chunks: int,  # so far
    *,
    ended: bool,  # no more tokens will come
    sizes: Sequence[int],  # of the chunks in order, in tokens; the last one repeats
    least: int,  # tokens of a chunk that is made early
    lead: float | None = None,  # seconds of audio sent and not yet heard; None: no clock is known, or nothing was sent
    times: StageTimes | None = None,  # None: not measured
) -> int:
    """Tokens of the chunk that is due now, 0 where none is.

    A chunk is due when its size of the schedule is at hand, and never larger; but sooner, with what is at hand, when
    the lead would run out while one more id is waited for. A remainder shorter than the first chunk joins its
    neighbour once the turn has ended: then the chunk that is due takes all.
    """
    size = sizes[min(chunks, len(sizes) - 1)]
    if ended:
        return at_hand if at_hand < size + sizes[0] else size
    if at_hand >= size:
        return size
    if lead is None or at_hand < least:
        return 0
    needed = _MARGIN_SECONDS + (0.0 if times is None else _HELD_UP * (times.token + times.chunk))
    return at_hand if lead <= needed else 0
