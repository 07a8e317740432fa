"""Antiphon serves GLM-4-Voice: spoken dialogues, caller audio in, spoken answer out.

SpeechTokenizer   caller audio → speech ids
LanguageModel     ids → ids
SpeechDecoder     speech ids → mel → wave, whole or streamed
Engine, Session   many dialogues at once, each turn hear → think → speak
events, errors    what a session tells, and what is raised on purpose
"""

from antiphon import errors, events
from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.engine import Engine
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.history import HistoryItem
from antiphon.engine.session import Session
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.sampling import SamplingParams

__all__ = [
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
