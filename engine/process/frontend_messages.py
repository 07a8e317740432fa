"""What the supervisor and a frontend process say to each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from antiphon.engine.config import EngineConfig
from antiphon.engine.process.codec import Codec
from antiphon.engine.process.engine_messages import Failed, ModelNames, Ready, Stop
from antiphon.engine.process.pulse import Pulse
from antiphon.engine.service.refusals import Reason
from antiphon.engine.service.settings import ServiceSettings
from antiphon.engine.service.tls import TlsFiles


@dataclass(frozen=True)
class StartFrontend:
    """Serve callers. The first thing a frontend process is told."""

    name: str
    index: int  # among the frontends
    model: Path
    names: ModelNames
    engine: EngineConfig
    addresses: tuple[Path, ...]  # of the engines' sockets
    awaits_all: bool  # it opens its doors once every engine has been there, and not once one is
    settings: ServiceSettings
    key_file: Path | None
    tls: TlsFiles | None


# What belongs to all frontends is counted by the supervisor


@dataclass(frozen=True)
class TakeDialogue:
    """A key opens a dialogue."""

    request: int  # counts up
    key: str | None


@dataclass(frozen=True)
class TakeClip:
    """A clip is to be heard or spoken."""

    request: int


@dataclass(frozen=True)
class TakeAudio:
    """A key sends audio."""

    request: int
    key: str | None
    samples: int
    rate: int  # Hz


@dataclass(frozen=True)
class GiveBack:
    """What TakeDialogue or TakeClip took is free again."""

    request: int


@dataclass(frozen=True)
class Granted:
    """It is taken."""

    request: int
    spare_seconds: float = 0.0  # audio of this key that may come beyond what was asked, without asking again


@dataclass(frozen=True)
class Denied:
    """A limit was met: a QuotaError."""

    request: int
    reason: Reason
    message: str
    subject: str
    limit: int
    retry_after: float | None


Take = TakeDialogue | TakeClip | TakeAudio | GiveBack
FRONTEND_CONTROL: Final = Codec(StartFrontend | Stop | Granted | Denied, Ready | Failed | Pulse | Take)
