"""What every call finds around it: the engine, the limits, and what the calls of one server share."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from logging import Logger, getLogger
from typing import TYPE_CHECKING, Protocol

from antiphon.engine.clips import Clip
from antiphon.engine.clock import Clock
from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.service.drain import Drain
from antiphon.engine.service.settings import ServiceSettings
from antiphon.engine.session import Session
from antiphon.engine.speak.inputs import TokensLike
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.types import ArrayLike
from antiphon.scheduler.admission import Occupancy
from antiphon.v1.dialogue_pb2 import ConverseResponse

if TYPE_CHECKING:  # they ask for a Host themselves
    from antiphon.engine.service.door import Door
    from antiphon.engine.service.keys import ApiKey, ApiKeys
    from antiphon.engine.service.quotas import Lease, Quotas
    from antiphon.engine.service.resume import ResumableDialogues
    from antiphon.engine.service.voice_activity import VoiceActivityService

Send = Callable[[ConverseResponse], Awaitable[None]]
"""Gives one event to the transport and waits until it has taken it.

Raises RefusalError (CLIENT_TOO_SLOW) when the client does not read, ClientGoneError when it is not there any more.
"""


class ClientGoneError(Exception):
    """The client hung up, or its connection broke: nobody is left to be told anything."""


@dataclass(frozen=True)
class Caller:
    """Who is at the other end of a call."""

    key: str | None  # the key's name; None: the server asks for none, and all callers share one quota
    peer: str  # the transport's address, for logs
    api_key: "ApiKey | None" = None  # the one that was presented


class EngineHost(Protocol):
    """The engine as the service knows it: in this process (`antiphon.Engine`), or in others (`EngineGroup`)."""

    config: EngineConfig
    lm: LanguageModel  # of it, what needs no weights: sizes, vocabulary, prompts

    @property
    def comes_back(self) -> bool:
        """Whether another engine takes its place once it is lost."""

    @property
    def codec_id(self) -> str: ...
    @property
    def vocabulary_id(self) -> str: ...

    @property
    def occupancies(self) -> Sequence[Occupancy | None]:
        """How full each engine is, in an order that stays; None: it has not told, or takes nobody now."""

    async def warm_up(self) -> None:
        """Return once there is an engine that can serve. Raises AntiphonError when there will be none."""

    async def wait_until_lost(self) -> None:
        """Return once the engine can serve no more; its sessions and clips have ended with SessionClosedError."""

    def session(self, config: SessionConfig | None = None, checked: bool = False) -> Session: ...
    def encode(self, pcm: ArrayLike, rate: int) -> Clip: ...
    def speak(self, codes: TokensLike) -> Clip: ...


class SharedQuotas(Protocol):
    """What is counted over several servers of one engine."""

    async def dialogue(self, key: str | None) -> "Lease":
        """A key opens a dialogue. Raises QuotaError."""

    async def clip(self) -> "Lease":
        """A clip is heard or spoken. Raises QuotaError."""

    async def take_audio(self, key: str | None, samples: int, rate: int) -> None:
        """A key sends audio. Raises QuotaError."""


@dataclass(eq=False)
class Host:
    """One server's belongings. Used on its asyncio loop alone."""

    engine: EngineHost
    settings: ServiceSettings
    clock: Clock
    drain: Drain
    keys: "ApiKeys | None"  # None: everyone may call
    quotas: "Quotas"
    voice_activity: "VoiceActivityService"
    dialogues: "ResumableDialogues"  # those whose call broke off, or may
    model: str  # its name, for people
    codec_id: str  # of the speech tokenizer's codebook
    vocabulary_id: str  # of the language model's vocabulary
    door: "Door"  # lets dialogues in as far as the engine carries them
    shared_quotas: SharedQuotas  # of all servers of this engine: `quotas` where this is the only one
    ready: bool = False  # warmed up
    log: Logger = field(default_factory=lambda: getLogger("antiphon.service"))

    @property
    def max_context_tokens(self) -> int:
        """Ids that one dialogue may have: the model's context, or less where the KV pool is smaller."""
        return min(self.engine.lm.config.context, self.engine.config.kv_tokens)
