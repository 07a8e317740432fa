"""What the supervisor and the engine process, and the engine process and its frontends, say to each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from antiphon.engine import messages
from antiphon.engine.config import EngineConfig
from antiphon.engine.process.codec import Codec
from antiphon.engine.process.pulse import Pulse

# The supervisor's orders


@dataclass(frozen=True)
class StartEngine:
    """Load a model and serve it. The first thing an engine process is told."""

    name: str
    model: Path
    device: str
    dtype: str
    devices: tuple[str, ...]  # of all engines of the server, this one's too
    config: EngineConfig
    address: Path  # of the Unix socket that frontends connect to
    utilisation_interval: float  # s after which the log tells again how busy the engine was; 0: never


@dataclass(frozen=True)
class Stop:
    """Come to an end in good order; a second time, at once."""


# What a child tells its supervisor


@dataclass(frozen=True)
class ModelNames:
    """What tokens of this model are called."""

    codec_id: str
    vocabulary_id: str


@dataclass(frozen=True)
class Loaded:
    """The engine has its model, and warms up."""

    names: ModelNames


@dataclass(frozen=True)
class Ready:
    """The engine takes connections; the frontend listens."""


@dataclass(frozen=True)
class Failed:
    """The child cannot do what it was told, and ends."""

    message: str  # for people: what was given, what was expected, what to do


# Between a frontend and the engine, beside the engine's own messages


@dataclass(frozen=True)
class Hello:
    """A frontend connects."""

    frontend: str


@dataclass(frozen=True)
class DialogueOpened:
    """An OpenDialogue was taken."""

    dialogue: str


@dataclass(frozen=True)
class DialogueRefused:
    """An OpenDialogue was not taken."""

    dialogue: str
    kind: str  # the name of an error of antiphon.engine.errors
    message: str


ENGINE_CONTROL: Final = Codec(StartEngine | Stop, Loaded | Ready | Failed | Pulse)
ENGINE_LINK: Final = Codec(Hello | messages.Command, Pulse | DialogueOpened | DialogueRefused | messages.Report)
