"""The engine of another process, as a frontend reaches it: one connection, and who waits on it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from antiphon.engine import errors
from antiphon.engine.clips import Clip
from antiphon.engine.errors import AntiphonError, SessionClosedError
from antiphon.engine.messages import (
    ClipEncoded,
    ClipFailed,
    ClipSpoken,
    CloseDialogue,
    Command,
    OpenDialogue,
    Report,
)
from antiphon.engine.process.engine_messages import ENGINE_LINK, DialogueOpened, DialogueRefused, Hello
from antiphon.engine.process.link import Link
from antiphon.engine.process.pulse import PULSE_SECONDS, Pulse, Vigil
from antiphon.engine.service.logs import log_event
from antiphon.engine.session import Session
from antiphon.scheduler.admission import Occupancy

LOST: Final = "the engine was lost, and what it held with it; another is started. Try again soon."
_RETRY_SECONDS: Final = 0.1  # between two attempts to reach the engine

_log = logging.getLogger(__name__)


class RemoteEngine:
    """One connection at a time to whichever engine process listens. Used on one asyncio loop; `run` is its life."""

    def __init__(self, frontend: str, address: Path, patience: float, on_change: Callable[[], None]) -> None:
        """`address`: of the engine's Unix socket, called as the engine is; `patience`: seconds that it may be silent;
        `on_change` is called when it has come up or was lost."""
        self._frontend = frontend
        self._address = address
        self._patience = patience
        self._on_change = on_change
        self._link: Link | None = None
        self._is_up = False  # it was heard over this connection
        self._down = asyncio.Event()
        self._sessions: dict[str, Session] = {}
        self._clips: dict[str, Clip] = {}
        self._told: Occupancy | None = None  # by the latest pulse
        self._sessions_then = 0  # that were open here at it
        self._clips_then = 0
        self._opening: dict[str, asyncio.Future[None]] = {}  # dialogues the engine has not said yes or no to
        self._vigil = Vigil(patience)

    @property
    def is_up(self) -> bool:
        """Whether an engine is connected: it has warmed up before it listened."""
        return self._is_up

    @property
    def occupancy(self) -> Occupancy | None:
        """How full the engine is: as it told last, with the dialogues that came and went here since."""
        if self._told is None:
            return None
        told, sessions, clips = self._told, self._n_opened, len(self._clips)
        return replace(
            told,
            dialogues=max(sessions, told.dialogues + sessions - self._sessions_then),
            clips=max(clips, told.clips + clips - self._clips_then),
        )

    @property
    def n_opening(self) -> int:
        """Dialogues that are not in the engine's count yet: they were sent there, and it has not answered."""
        return sum(not answer.done() for answer in self._opening.values())

    @property
    def is_late(self) -> bool:
        """It should have been heard again."""
        return self._vigil.is_late

    @property
    def _n_opened(self) -> int:
        return len(self._sessions) - self.n_opening

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        while True:
            try:
                await self._connect()
            except OSError:  # it is not there yet
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await self._down.wait()

    def disconnect(self) -> None:
        """End the connection, and with it all sessions and clips."""
        if self._link is not None:
            self._link.abort()

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
        vigil = self._vigil = Vigil(self._patience)
        self._down.clear()
        _, link = await loop.create_unix_connection(
            lambda: Link(ENGINE_LINK, lambda message: self._take(link, vigil, message), self._lost),
            str(self._address),
        )
        self._link = link
        link.send(Hello(self._frontend))
        self._watch = loop.create_task(self._keep_vigil(link, vigil), name="engine-vigil")

    async def _keep_vigil(self, link: Link, vigil: Vigil) -> None:
        while link.is_open:
            await asyncio.sleep(PULSE_SECONDS)
            if vigil.tick() and self._is_up:
                log_event(_log, logging.ERROR, "engine_silent", child=self._address.name)
                link.abort()

    def _take(self, link: Link, vigil: Vigil, message: Pulse | DialogueOpened | DialogueRefused | Report) -> None:
        vigil.heard()
        match message:
            case Pulse():
                # What the engine has opened, it has answered before: those without an answer are not in its count.
                self._told = message.occupancy
                self._sessions_then, self._clips_then = self._n_opened, len(self._clips)
                if not self._is_up:
                    self._is_up = True
                    log_event(_log, logging.INFO, "engine_joined", child=self._address.name)
                    self._on_change()
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
        if self._link is None or not self._is_up:
            raise SessionClosedError(LOST)
        return self._link

    def _lost(self) -> None:
        """The connection is over: whoever waits for the engine is told."""
        if self._is_up:
            log_event(_log, logging.ERROR, "engine_left", child=self._address.name, dialogues=self._n_opened)
        self._link = self._told = None
        self._is_up = False
        self._down.set()
        self._on_change()
        for name, opening in self._opening.items():
            if not opening.done():
                opening.set_exception(SessionClosedError(LOST))
                del self._sessions[name]  # another engine may open it
        sessions, clips = list(self._sessions.values()), list(self._clips.values())
        self._sessions.clear()
        self._clips.clear()
        for session in sessions:
            session.fail(LOST)
        for clip in clips:
            clip.fail(LOST)
