"""The engine of another process, as a frontend has it: sessions and clips as `antiphon.Engine` gives them."""

import asyncio
import itertools
import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from antiphon.engine import errors
from antiphon.engine.clips import Clip
from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.errors import AntiphonError, SessionClosedError, TokenError
from antiphon.engine.hear.audio import check_audio, check_rate
from antiphon.engine.history import HistoryItem
from antiphon.engine.messages import (
    ClipEncoded,
    ClipFailed,
    ClipSpoken,
    CloseDialogue,
    Command,
    EncodeClip,
    OpenDialogue,
    Report,
    SpeakClip,
)
from antiphon.engine.process.engine_messages import (
    ENGINE_LINK,
    DialogueOpened,
    DialogueRefused,
    Hello,
    ModelNames,
)
from antiphon.engine.process.link import Link
from antiphon.engine.process.pulse import PULSE_SECONDS, Pulse, Vigil
from antiphon.engine.service.logs import log_event
from antiphon.engine.session import Session
from antiphon.engine.speak.inputs import TokensLike, checked_tokens
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.model import GLM
from antiphon.engine.think.vocab import Vocabulary
from antiphon.engine.types import ArrayLike
from antiphon.engine.weights.fill import unfilled
from antiphon.engine.weights.folders import LANGUAGE_MODEL_FOLDER
from antiphon.engine.weights.read_configs import read_language_model_config
from antiphon.scheduler.admission import Occupancy

_LOST: Final = "the engine was lost, and what it held with it; another is started. Try again soon."
_RETRY_SECONDS: Final = 0.1  # between two attempts to reach the engine

_log = logging.getLogger(__name__)


class RemoteEngine:
    """One connection at a time to whichever engine process listens. Used on one asyncio loop; `run` is its life."""

    comes_back: Final = True  # the supervisor starts another

    def __init__(
        self, frontend: str, address: Path, model: Path, names: ModelNames, config: EngineConfig, patience: float
    ) -> None:
        """`address`: of the engine's Unix socket; `patience`: seconds that it may be silent.

        Raises CheckpointError and TextFilesMissingError for a model folder whose text files cannot be used.
        """
        self.config = config
        self.lm = _words_of(model)
        self._names = names
        self._frontend = frontend
        self._address = address
        self._patience = patience
        self._serials = itertools.count(1)
        self._link: Link | None = None
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._down.set()
        self._sessions: dict[str, Session] = {}
        self._clips: dict[str, Clip] = {}
        self._told: Occupancy | None = None  # by the latest pulse
        self._sessions_then = 0  # that were open here at it
        self._opening: dict[str, asyncio.Future[None]] = {}  # dialogues the engine has not said yes or no to

    @property
    def codec_id(self) -> str:
        """What the speech tokenizer's codes are called."""
        return self._names.codec_id

    @property
    def vocabulary_id(self) -> str:
        """What the language model's ids are called."""
        return self._names.vocabulary_id

    @property
    def occupancy(self) -> Occupancy | None:
        """How full the engine is: as it told last, with the dialogues that came and went here since."""
        if self._told is None:
            return None
        here = len(self._sessions)
        return replace(self._told, dialogues=max(here, self._told.dialogues + here - self._sessions_then))

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        while True:
            try:
                await self._connect()
            except OSError:  # it is not there yet
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await self._down.wait()

    async def warm_up(self) -> None:
        """Return once an engine is connected: it has warmed up before it listened."""
        await self._up.wait()

    async def wait_until_lost(self) -> None:
        """Return once the connection is."""
        await self._down.wait()

    def session(self, config: SessionConfig | None = None, checked: bool = False) -> Session:
        """As `Engine.session`."""
        config = config or SessionConfig()
        if config.history and not checked:
            self.lm.chat_prompt([*config.history, HistoryItem("user", text="?")])
        return Session(f"dialogue-{next(self._serials)}", config, self.config, self)

    def encode(self, pcm: ArrayLike, rate: int) -> Clip:
        """As `Engine.encode`."""
        samples, rate = check_audio(pcm), check_rate(rate)
        name = f"clip-{next(self._serials)}"
        return Clip(name, EncodeClip(name, samples, rate), self)

    def speak(self, codes: TokensLike) -> Clip:
        """As `Engine.speak`."""
        ids = checked_tokens(codes, self.lm.vocabulary.n_codes)
        if not ids:
            raise TokenError("there are no speech tokens to speak; expected at least one.")
        name = f"clip-{next(self._serials)}"
        return Clip(name, SpeakClip(name, tuple(ids)), self)

    def disconnect(self) -> None:
        """End the connection, and with it all sessions and clips."""
        if self._link is not None:
            self._link.abort()

    # For the sessions and clips

    async def open(self, session: Session, command: OpenDialogue) -> None:
        """A session is being entered. Raises EngineFullError as the engine does, SessionClosedError without one."""
        link = self._connected()
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sessions[command.dialogue] = session
        self._opening[command.dialogue] = answer
        link.send(command)
        try:
            await answer
        except BaseException as error:
            self._sessions.pop(command.dialogue, None)
            if isinstance(error, asyncio.CancelledError):  # the engine may have opened it
                self.submit(CloseDialogue(command.dialogue))
            raise
        finally:
            self._opening.pop(command.dialogue, None)

    def open_clip(self, clip: Clip) -> None:
        """A clip is being entered. Raises SessionClosedError without an engine."""
        self._connected()
        self._clips[clip.name] = clip

    def submit(self, command: Command) -> None:
        """Send a command; without an engine it is dropped, and whoever it is about has been told."""
        if self._link is not None:
            self._link.send(command)

    def forget(self, session_id: str) -> None:
        """A session was closed: it receives nothing more."""
        self._sessions.pop(session_id, None)

    def forget_clip(self, name: str) -> None:
        """A clip was left: it receives nothing more."""
        self._clips.pop(name, None)

    # The connection

    async def _connect(self) -> None:
        """Raises OSError where nobody listens. The engine is there once it is heard: one that stands still accepts."""
        loop = asyncio.get_running_loop()
        vigil = Vigil(self._patience)
        self._down.clear()
        try:
            _, link = await loop.create_unix_connection(
                lambda: Link(ENGINE_LINK, lambda message: self._take(link, vigil, message), self._lost),
                str(self._address),
            )
        except OSError:
            self._down.set()
            raise
        self._link = link
        link.send(Hello(self._frontend))
        self._watch = loop.create_task(self._keep_vigil(link, vigil), name="engine-vigil")

    async def _keep_vigil(self, link: Link, vigil: Vigil) -> None:
        while link.is_open:
            await asyncio.sleep(PULSE_SECONDS)
            if vigil.tick() and self._up.is_set():
                log_event(_log, logging.ERROR, "engine_silent")
                link.abort()

    def _take(self, link: Link, vigil: Vigil, message: Pulse | DialogueOpened | DialogueRefused | Report) -> None:
        vigil.heard()
        match message:
            case Pulse():
                self._told, self._sessions_then = message.occupancy, len(self._sessions)
                self._up.set()
            case DialogueOpened() | DialogueRefused():
                self._admitted(message)
            case ClipEncoded() | ClipSpoken() | ClipFailed():
                if (clip := self._clips.get(message.clip)) is not None:
                    clip.deliver(message)
            case _:
                if (session := self._sessions.get(message.dialogue)) is not None:
                    session.deliver(message)

    def _admitted(self, answer: DialogueOpened | DialogueRefused) -> None:
        opening = self._opening.get(answer.dialogue)
        if opening is None or opening.done():  # whoever opened it has gone
            return
        if isinstance(answer, DialogueOpened):
            opening.set_result(None)
            return
        kind = getattr(errors, answer.kind) if answer.kind in errors.__all__ else AntiphonError
        opening.set_exception(kind(answer.message))

    def _connected(self) -> Link:
        if self._link is None or not self._up.is_set():
            raise SessionClosedError(_LOST)
        return self._link

    def _lost(self) -> None:
        """The connection is over: whoever waits for the engine is told."""
        self._link = self._told = None
        self._up.clear()
        self._down.set()
        for opening in self._opening.values():
            if not opening.done():
                opening.set_exception(SessionClosedError(_LOST))
        sessions, clips = list(self._sessions.values()), list(self._clips.values())
        self._sessions.clear()
        self._clips.clear()
        for session in sessions:
            session.fail(_LOST)
        for clip in clips:
            clip.fail(_LOST)


def _words_of(model: Path) -> LanguageModel:
    """The language model's sizes, vocabulary and prompts: all of it but the weights."""
    folder = model / LANGUAGE_MODEL_FOLDER
    with unfilled():
        network = GLM(read_language_model_config(folder))
    return LanguageModel(network, Vocabulary.read(folder))
