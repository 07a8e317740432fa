"""How many speech tokens the next chunk takes: a pure function of what a turn knows at that moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from antiphon.engine.timeline import mel_frames_of
from antiphon.engine.units import (
    MEL_FRAME_RATE,
    SPEECH_TOKEN_RATE,
    SPEECH_TOKENS_PER_BLOCK,
    TEXT_TOKENS_PER_BLOCK,
)

_MARGIN_SECONDS: Final = 0.1  # of lead left when a chunk that was made early is heard
_BRIDGED_SECONDS: Final = 0.1  # that the chunk after the first may come late: every player keeps so much in hand
_HEAD_ROOM: Final = 1.5  # times what a stage took lately is what it may take next
# Of what a chunk plays, the most that making it may take for it to be made early: a small chunk costs more for each
# second of speech, and where many turns share the device, small ones would leave all of them later still.
_MOST_OF_PLAY: Final = 0.5
# An LM that takes longer for an id than this falls behind whatever the chunks; small ones would only cost it more.
_SECONDS_PER_ID: Final = float(
    SPEECH_TOKENS_PER_BLOCK / (SPEECH_TOKENS_PER_BLOCK + TEXT_TOKENS_PER_BLOCK) / SPEECH_TOKEN_RATE
)


@dataclass(frozen=True)
class StageTimes:
    """What the stages took for this turn lately, in seconds."""

    token: float  # from one id of the LM to the next
    chunk: float  # from the moment a chunk was due until its wave was there


def first_chunk(
    at_hand: int,  # speech tokens
    *,
    least: int,  # tokens of a first chunk
    most: int,  # it waits for no more
    following: int,  # tokens of the chunk after it
    prompt_tokens: int,  # of the first chunk, those that are computed again with the one after it
    withheld: int,  # mel frames of the first chunk that are not played before the one after it is there
    frame_seconds: float | None,  # that a mel frame of a chunk takes from when the chunk is due; None: not measured
) -> int:
    """Tokens of the first chunk, 0 where it waits for more of them: the fewest that play until the next one is there.

    `least`, where that is not known, or where speech is made more slowly than it is played: then no wait helps.
    """
    if at_hand < least:
        return 0
    if frame_seconds is None or frame_seconds * MEL_FRAME_RATE >= 1:
        return least
    for tokens in range(least, min(at_hand, most) + 1):
        plays = (mel_frames_of(tokens) - withheld) / MEL_FRAME_RATE
        follows = frame_seconds * mel_frames_of(min(tokens, prompt_tokens) + following)
        if tokens == most or plays + _BRIDGED_SECONDS >= follows:
            return tokens
    return 0


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
    the lead would run out while one more id is waited for, unless the stages are too slow for that to help. A remainder
    shorter than the first chunk joins its neighbour once the turn has ended: then the chunk that is due takes all.
    """
    size = sizes[min(chunks, len(sizes) - 1)]
    if ended:
        return at_hand if at_hand < size + sizes[0] else size
    if at_hand >= size:
        return size
    if lead is None or at_hand < least:
        return 0
    if times is None:
        return at_hand if lead <= _MARGIN_SECONDS else 0
    keeps_up = times.token <= _SECONDS_PER_ID and times.chunk <= _MOST_OF_PLAY * at_hand / SPEECH_TOKEN_RATE
    return at_hand if keeps_up and lead <= _MARGIN_SECONDS + _HEAD_ROOM * (times.token + times.chunk) else 0
