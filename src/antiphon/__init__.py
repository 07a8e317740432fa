"""Antiphon serves GLM-4-Voice: spoken dialogues, caller audio in, spoken answer out.

SpeechTokenizer   caller audio → speech ids
LanguageModel     ids → ids
SpeechDecoder     speech ids → mel → wave, whole or streamed
Engine, Session   many dialogues at once, each turn hear → think → speak
Client            calls to a server of them; `antiphon.client` has what goes with it
events, errors    what a session tells, and what is raised on purpose
"""

from typing import TYPE_CHECKING, Any

from antiphon import errors, events
from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.engine import Engine
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.history import HistoryItem
from antiphon.engine.session import Session
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.sampling import SamplingParams

if TYPE_CHECKING:
    from antiphon.engine.service.client import Client

__all__ = [
    "Client",
    "Engine",
    "EngineConfig",
    "HistoryItem",
    "LanguageModel",
    "SamplingParams",
    "Session",
    "SessionConfig",
    "SpeechDecoder",
    "SpeechTokenizer",
    "errors",
    "events",
]


def __getattr__(name: str) -> Any:
    """The client is imported when it is asked for: who serves no calls needs no gRPC."""
    if name == "Client":
        from antiphon.engine.service.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
