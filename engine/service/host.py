"""What every call finds around it: the engine, the limits, and what the calls of one server share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from logging import Logger, getLogger
from typing import TYPE_CHECKING

from antiphon.engine.clock import Clock
from antiphon.engine.engine import Engine
from antiphon.engine.service.drain import Drain
from antiphon.engine.service.settings import ServiceSettings
from antiphon.v1.dialogue_pb2 import ConverseResponse

if TYPE_CHECKING:  # they ask for a Host themselves
    from antiphon.engine.service.keys import ApiKeys
    from antiphon.engine.service.quotas import Quotas
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


@dataclass(eq=False)
class Host:
    """One server's belongings. Used on its asyncio loop alone."""

    engine: Engine
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
    ready: bool = False  # warmed up
    log: Logger = field(default_factory=lambda: getLogger("antiphon.service"))

    @property
    def max_context_tokens(self) -> int:
        """Ids that one dialogue may have: the model's context, or less where the KV pool is smaller."""
        return min(self.engine.lm.config.context, self.engine.config.kv_tokens)
