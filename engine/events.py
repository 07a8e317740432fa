"""What a session tells its caller, one dataclass per event.

Order within one answer: `ResponseStarted`, then `TurnsForgotten` where the dialogue had outgrown the model, then
`TextDelta` and `AudioOutput` as they come, then `AudioCompleted` where the session awaits playback, then `Interrupted`
where the answer was cut, then `ResponseCompleted`, always. Of an answer that fails or is dropped before it began,
`ResponseCompleted` is the only event.
"""

from dataclasses import dataclass
from enum import Enum

from antiphon.engine.history import HistoryItem
from antiphon.engine.types import Float32Array

__all__ = [
    "AudioCompleted",
    "AudioOutput",
    "Event",
    "Failure",
    "FinishReason",
    "Interrupted",
    "InterruptionReason",
    "ResponseCompleted",
    "ResponseStarted",
    "SessionStarted",
    "StageSeconds",
    "TextDelta",
    "Timing",
    "TurnsForgotten",
    "Usage",
]


class FinishReason(Enum):
    """Why an answer ended."""

    STOP = "stop"  # the model ended its answer
    LENGTH = "length"  # the limit on new tokens, or the model's context, was reached
    INTERRUPTED = "interrupted"  # cancelled by the caller
    ERROR = "error"  # see ResponseCompleted.failure


class InterruptionReason(Enum):
    """Who cut an answer short."""

    BARGE_IN = "barge_in"  # the caller spoke into it
    CLIENT_CANCELLED = "client_cancelled"


@dataclass(frozen=True)
class SessionStarted:
    """The session is open."""

    session_id: str


@dataclass(frozen=True)
class ResponseStarted:
    """A turn was committed and its answer begins."""

    response_id: str
    turn_index: int  # counts from 0 within the session


@dataclass(frozen=True)
class TurnsForgotten:
    """The dialogue has outgrown the model's context: its oldest turns are no part of the prompt any more."""

    response_id: str  # of the answer that needed the room
    turns: int  # forgotten now, each a caller's and its answer, the oldest ones; those of the session's history count
    turns_left: int  # of the past


@dataclass(frozen=True)
class TextDelta:
    """More of the answer's text, in whole characters."""

    response_id: str
    text: str
    sample_offset: int  # wave samples of the answer sent so far


@dataclass(frozen=True)
class AudioOutput:
    """More of the answer's audio."""

    response_id: str
    samples: Float32Array  # [n], 22.05 kHz, in [-1, 1]
    sequence: int  # counts from 0 within the answer
    sample_offset: int  # of the first sample, within the answer


@dataclass(frozen=True)
class AudioCompleted:
    """All of the answer's audio was handed out, and it waits to be heard. With `SessionConfig.await_playback` alone."""

    response_id: str
    sample_count: int  # wave samples of the whole answer


@dataclass(frozen=True)
class Interrupted:
    """The answer was cut; no audio of it follows."""

    response_id: str
    reason: InterruptionReason
    heard_samples: int  # wave samples of the answer the caller is taken to have heard
    kept_tokens: int  # ids of the answer that stay in the history: a prefix of those emitted
    estimated: bool  # True where the clock told what was heard, False where the caller did


@dataclass(frozen=True)
class Usage:
    """What the turn was made of."""

    input_tokens: int = 0  # prompt positions the LM computed for this turn
    input_audio_tokens: int = 0  # speech tokens among the turn's input
    cached_input_tokens: int = 0  # past positions whose KV was still there
    output_text_tokens: int = 0
    output_audio_tokens: int = 0
    input_audio_seconds: float = 0.0
    output_audio_seconds: float = 0.0


@dataclass(frozen=True)
class StageSeconds:
    """Seconds by stage. A batch counts in full for every turn in it."""

    hear: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    speak: float = 0.0


@dataclass(frozen=True)
class Timing:
    """Seconds from the commit of the turn."""

    first_token: float | None  # None: there was none
    first_audio: float | None  # None: there was none
    total: float
    stages: StageSeconds
    stages_to_first_audio: StageSeconds | None  # of it, up to the first audio


@dataclass(frozen=True)
class Failure:
    """Why a turn failed."""

    kind: str  # the name of the error's class, most often one of antiphon.engine.errors
    message: str  # what was given, what was expected, what to do


@dataclass(frozen=True)
class ResponseCompleted:
    """The answer is over."""

    response_id: str
    finish_reason: FinishReason
    usage: Usage
    timing: Timing
    history: tuple[HistoryItem, ...]  # what this turn added to the dialogue
    failure: Failure | None = None  # with finish_reason ERROR


Event = (
    SessionStarted
    | ResponseStarted
    | TurnsForgotten
    | TextDelta
    | AudioOutput
    | AudioCompleted
    | Interrupted
    | ResponseCompleted
)
