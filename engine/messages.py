"""What reaches the engine loop: plain, serialisable messages, so that the loop may live in a process of its own."""

from dataclasses import dataclass

from antiphon.engine.config import SessionConfig
from antiphon.engine.events import Event
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
    """Stop the answers that are running or queued."""

    dialogue: str
    heard_samples: int | None  # of the running answer, where the caller knows it; None: estimated by the clock


@dataclass(frozen=True)
class AudioRead:
    """The caller took this many samples of the answer out of the session."""

    dialogue: str
    samples: int


@dataclass(frozen=True)
class CloseDialogue:
    """End the dialogue and free what it holds."""

    dialogue: str


Command = OpenDialogue | PushAudio | PushText | ClearInput | Commit | Cancel | AudioRead | CloseDialogue


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


Report = Outgoing | InputTaken | DialogueEnded
