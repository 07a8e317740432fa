"""How dialogues and clips begin, whether the engine is in this process or in others."""

import itertools
from abc import ABC, abstractmethod

from antiphon.engine.clips import Clip
from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.errors import TokenError
from antiphon.engine.hear.audio import check_audio, check_rate
from antiphon.engine.history import HistoryItem
from antiphon.engine.messages import Command, EncodeClip, OpenDialogue, SpeakClip
from antiphon.engine.session import Session
from antiphon.engine.speak.inputs import TokensLike, checked_tokens
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.types import ArrayLike


class Entrance(ABC):
    """Makes sessions and clips, checked, with names of their own. What they need of the engine, a subclass has."""

    def __init__(self, lm: LanguageModel, config: EngineConfig) -> None:
        self.lm = lm  # of it, what needs no weights
        self.config = config
        self._serials = itertools.count(1)

    def session(self, config: SessionConfig | None = None, checked: bool = False) -> Session:
        """A new dialogue, to be entered with `async with`. `checked`: `lm.chat_prompt` has taken its history already.

        Raises InputError, TokenError or TextError when the config's history cannot be used, and, on entering,
        EngineFullError when as many dialogues are open as the engine takes, SessionClosedError after `close()`, or
        where no engine is there.
        """
        config = config or SessionConfig()
        if config.history and not checked:
            self.lm.chat_prompt([*config.history, HistoryItem("user", text="?")])
        return Session(f"dialogue-{next(self._serials)}", config, self.config, self)

    def encode(self, pcm: ArrayLike, rate: int) -> Clip:
        """A clip to be entered with `async with`: its `ids()` are those of a turn with this audio, f32[n] at `rate` Hz.

        It shares the engine's thread with the dialogues. Raises AudioError and, on entering, as `session` does.
        """
        samples, rate = check_audio(pcm), check_rate(rate)
        name = f"clip-{next(self._serials)}"
        return Clip(name, EncodeClip(name, samples, rate), self)

    def speak(self, codes: TokensLike) -> Clip:
        """A clip to be entered with `async with`: its `waves()` are those of an answer with these speech tokens.

        It shares the engine's thread with the dialogues. Raises TokenError for none, or one outside the codebook, and,
        on entering, as `session` does.
        """
        ids = checked_tokens(codes, self.lm.vocabulary.n_codes)
        if not ids:
            raise TokenError("there are no speech tokens to speak; expected at least one.")
        name = f"clip-{next(self._serials)}"
        return Clip(name, SpeakClip(name, tuple(ids)), self)

    # For the sessions and clips

    @abstractmethod
    async def open(self, session: Session, command: OpenDialogue) -> None: ...
    @abstractmethod
    def open_clip(self, clip: Clip) -> None: ...
    @abstractmethod
    def submit(self, command: Command) -> None: ...
    @abstractmethod
    def forget(self, session_id: str) -> None: ...
    @abstractmethod
    def forget_clip(self, name: str) -> None: ...
