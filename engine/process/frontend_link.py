"""One frontend, as the engine process knows it: its commands in, the reports of its dialogues out.

Its names are its own: before they reach the engine they get the connection's prefix, so that no frontend can name, or
by chance take, a dialogue of another. When the connection ends, everything it had open is closed.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from antiphon.engine.caller_loop import CallerLoop
from antiphon.engine.engine import Engine
from antiphon.engine.errors import AntiphonError
from antiphon.engine.messages import (
    ClipCommand,
    ClipFailed,
    ClipReport,
    CloseDialogue,
    DialogueCommand,
    DialogueEnded,
    DialogueReport,
    DropClip,
    EncodeClip,
    OpenDialogue,
    Report,
    SpeakClip,
)
from antiphon.engine.process.engine_messages import ENGINE_LINK, DialogueOpened, DialogueRefused, Hello
from antiphon.engine.process.link import Link
from antiphon.engine.service.logs import log_event

_log = logging.getLogger(__name__)


class FrontendLink:
    """Used on the asyncio loop it was made on; `post` and `lose` alone come from the engine's thread."""

    def __init__(self, prefix: str, engine: Engine, on_lost: Callable[["FrontendLink"], None]) -> None:
        self.link = Link(ENGINE_LINK, self._take, self._lost)
        self._prefix = prefix
        self._engine = engine
        self._on_lost = on_lost
        self._loop = CallerLoop()
        self._dialogues: set[str] = set()  # open ones, as the frontend calls them
        self._clips: set[str] = set()
        self._reports: deque[Report] = deque()  # from the engine's thread, on their way
        self._flush_is_due = False

    def post(self, report: Report) -> None:
        """Send a report that carries the frontend's own name. Many at once wake the loop once."""
        self._reports.append(report)
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.post(self._flush)

    def lose(self) -> None:
        """The engine can serve no more."""
        self._loop.post(self.link.abort)

    def _flush(self) -> None:
        self._flush_is_due = False  # before the reports are taken: what comes from now on makes another
        while self._reports:
            report = self._reports.popleft()
            if isinstance(report, DialogueEnded):
                self._dialogues.discard(report.dialogue)
                self._engine.forget(self._ours(report.dialogue))
            self.link.send(report)

    def _ours(self, name: str) -> str:
        """What the engine calls it."""
        return f"{self._prefix}/{name}"

    def _take(self, command: Hello | DialogueCommand | ClipCommand) -> None:
        match command:
            case Hello():
                log_event(_log, logging.INFO, "frontend_joined", peer=command.frontend)
            case OpenDialogue():
                self._open(command)
            case EncodeClip() | SpeakClip():
                self._begin_clip(command)
            case DropClip():
                self._drop_clip(command.clip)
            case _:
                self._engine.submit(replace(command, dialogue=self._ours(command.dialogue)))

    def _open(self, command: OpenDialogue) -> None:
        name = command.dialogue
        if name in self._dialogues:
            log_event(_log, logging.ERROR, "dialogue_opened_twice")
            return
        try:
            self._engine.admit(replace(command, dialogue=self._ours(name)), _FarDialogue(self, name))
        except AntiphonError as error:
            self.link.send(DialogueRefused(name, type(error).__name__, str(error)))
            return
        self._dialogues.add(name)
        self.link.send(DialogueOpened(name))

    def _begin_clip(self, command: EncodeClip | SpeakClip) -> None:
        try:
            self._engine.admit_clip(self._ours(command.clip), _FarClip(self, command.clip))
        except AntiphonError as error:
            self.link.send(ClipFailed(command.clip, type(error).__name__))
            return
        self._clips.add(command.clip)
        self._engine.submit(replace(command, clip=self._ours(command.clip)))

    def _drop_clip(self, name: str) -> None:
        self._clips.discard(name)
        self._engine.forget_clip(self._ours(name))
        self._engine.submit(DropClip(self._ours(name)))

    def _lost(self) -> None:
        """The frontend is gone: close what it had open. The engine forgets each dialogue once it has ended."""
        for name in self._dialogues:
            self._engine.submit(CloseDialogue(self._ours(name)))
        for name in list(self._clips):
            self._drop_clip(name)
        log_event(_log, logging.INFO, "frontend_left", dialogues=len(self._dialogues))
        self._on_lost(self)


class _FarDialogue:
    """Is told of a dialogue in a frontend's stead."""

    def __init__(self, link: FrontendLink, name: str) -> None:
        self._link = link
        self._name: Final = name

    def deliver(self, report: DialogueReport) -> None:
        self._link.post(replace(report, dialogue=self._name))

    def fail(self, why: str) -> None:
        self._link.lose()


class _FarClip:
    """Is told of a clip in a frontend's stead."""

    def __init__(self, link: FrontendLink, name: str) -> None:
        self._link = link
        self._name: Final = name

    def deliver(self, report: ClipReport) -> None:
        self._link.post(replace(report, clip=self._name))

    def fail(self, why: str) -> None:
        self._link.lose()
