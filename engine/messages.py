"""What reaches the engine loop: plain, serialisable messages, so that the loop may live in a process of its own."""

from dataclasses import dataclass

from antiphon.engine.config import SessionConfig
from antiphon.engine.events import Event, InterruptionReason
from antiphon.engine.types import Float32Array


@dataclass(frozen=True)
class OpenDialogue:
    """Begin a dialogue. Its past turns are in the config's history."""

    dialogue: str
    config: SessionConfig


@dataclass(frozen=True)
class PushAudio:
    """More of the caller's turn."""

    dialogue: str
    samples: Float32Array  # [n], one channel, finite
    rate: int  # Hz, the same for the whole turn


@dataclass(frozen=True)
class PushText:
    """The caller's turn, as text."""

    dialogue: str
    text: str


@dataclass(frozen=True)
class CallerPaused:
    """The caller's turn may be over: what is open of it may be prepared for."""

    dialogue: str


@dataclass(frozen=True)
class ClearInput:
    """Forget what was pushed since the last commit."""

    dialogue: str


@dataclass(frozen=True)
class Commit:
    """The caller's turn is over: answer it."""

    dialogue: str
    response_id: str


@dataclass(frozen=True)
class Cancel:
    """Stop the answer under way, and those queued behind it."""

    dialogue: str
    heard_samples: int | None  # of the running answer, where the caller knows it; None: estimated by the clock
    reason: InterruptionReason = InterruptionReason.CLIENT_CANCELLED
    response_id: str | None = None  # only if this is the answer under way; None: whichever is
    queued: bool = True  # False: those behind it stay


@dataclass(frozen=True)
class Played:
    """An answer that awaits playback was heard to its end: it is over."""

    dialogue: str
    response_id: str


@dataclass(frozen=True)
class AudioRead:
    """The caller took this many samples of the answer out of the session."""

    dialogue: str
    samples: int


@dataclass(frozen=True)
class CloseDialogue:
    """End the dialogue and free what it holds."""

    dialogue: str


@dataclass(frozen=True)
class EncodeClip:
    """Audio to speech tokens, apart from any dialogue."""

    clip: str
    samples: Float32Array  # [n], one channel, finite, at least one
    rate: int  # Hz


@dataclass(frozen=True)
class SpeakClip:
    """Speech tokens to audio, apart from any dialogue."""

    clip: str
    codes: tuple[int, ...]  # of the speech tokenizer, at least one


@dataclass(frozen=True)
class DropClip:
    """Nobody waits for the clip any more."""

    clip: str


DialogueCommand = (
    OpenDialogue
    | PushAudio
    | PushText
    | CallerPaused
    | ClearInput
    | Commit
    | Cancel
    | Played
    | AudioRead
    | CloseDialogue
)
ClipCommand = EncodeClip | SpeakClip | DropClip
Command = DialogueCommand | ClipCommand


@dataclass(frozen=True)
class Outgoing:
    """One event, and whose it is."""

    dialogue: str
    event: Event


@dataclass(frozen=True)
class InputTaken:
    """The loop has taken in this many inputs of a dialogue: as many more may be sent."""

    dialogue: str
    count: int


@dataclass(frozen=True)
class DialogueEnded:
    """The engine holds nothing of the dialogue any more."""

    dialogue: str
    fault: str | None  # why the engine gave it up; None: it was closed


@dataclass(frozen=True)
class ClipEncoded:
    """The speech tokens of an EncodeClip, which is over."""

    clip: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class ClipSpoken:
    """More audio of a SpeakClip."""

    clip: str
    samples: Float32Array  # [n], 22.05 kHz, in [-1, 1]
    is_last: bool


@dataclass(frozen=True)
class ClipFailed:
    """The clip is over, without a result."""

    clip: str
    kind: str  # the name of the error's class


DialogueReport = Outgoing | InputTaken | DialogueEnded
ClipReport = ClipEncoded | ClipSpoken | ClipFailed
Report = DialogueReport | ClipReport
