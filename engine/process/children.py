"""A child process of the supervisor: spawned, watched, and talked to over its socket pair."""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from antiphon.engine.clock import Clock
from antiphon.engine.process.codec import Codec
from antiphon.engine.process.engine_messages import Failed, Ready, Stop
from antiphon.engine.process.link import Link
from antiphon.engine.process.pulse import PULSE_SECONDS, Pulse, Vigil
from antiphon.engine.service.logs import log_event

_MODULE: Final = "antiphon.engine.process.child"
_LONGEST_PAUSE: Final = 15.0  # seconds
_FIRST_PAUSE: Final = 0.5
_LONG_LIFE: Final = 60.0  # seconds after which an end is no sign of a beginning that fails

_log = logging.getLogger(__name__)


class Child:
    """One process, from its spawning to its end. Used on the supervisor's asyncio loop."""

    def __init__(
        self, name: str, role: str, codec: Codec, patience: float, on_message: Callable[["Child", Any], None]
    ) -> None:
        """`role` is "engine" or "frontend"; `patience`: seconds that it may be silent once it is ready."""
        self.name = name
        self.ready = asyncio.Event()  # it has done what it was started for
        self.failure: str | None = None  # why it could not be done, in its own words
        self.ended = asyncio.Event()
        self.exit_code: int | None = None
        self._role = role
        self._codec = codec
        self._vigil = Vigil(patience)
        self._on_message = on_message
        self._hung_up = asyncio.Event()
        self._link: Link | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def spawn(self) -> None:
        """Begin it, without an order yet."""
        ours, its = socket.socketpair()
        with its:
            # -P: what lies in the folder that the server is started from is not to be imported.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", _MODULE, str(its.fileno()), self._role, pass_fds=[its.fileno()]
            )
        _, self._link = await asyncio.get_running_loop().create_unix_connection(
            lambda: Link(self._codec, self._take, self._hung_up.set), sock=ours
        )
        self._tasks = [asyncio.create_task(self._await_end(self._process)), asyncio.create_task(self._keep_vigil())]

    def send(self, message: object) -> None:
        """An order. To one that is not there it is dropped."""
        if self._link is not None:
            self._link.send(message)

    def stop(self) -> None:
        """It is to end in good order; asked again, at once."""
        self.send(Stop())

    def kill(self) -> None:
        """It ends now, whatever it does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _await_end(self, process: asyncio.subprocess.Process) -> None:
        self.exit_code = await process.wait()
        await self._hung_up.wait()  # its last words are taken first
        self.ended.set()

    async def _keep_vigil(self) -> None:
        """Kill it when it says nothing for too long: it hangs, or was stopped."""
        await self.ready.wait()
        while not self.ended.is_set():
            await asyncio.sleep(PULSE_SECONDS)
            if self._vigil.tick():
                log_event(_log, logging.ERROR, "child_silent", child=self.name)
                self.kill()
                return

    def _take(self, message: object) -> None:
        self._vigil.heard()
        match message:
            case Ready():
                self.ready.set()
            case Failed():
                self.failure = message.message
            case Pulse(in_step=None):
                pass
            case _:
                self._on_message(self, message)


class Pauses:
    """How long to wait before a child is started again: not at all, then longer with every life that was short."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.now()
        self._short_lives = 0

    def begin(self) -> None:
        """A child is started."""
        self._began = self._clock.now()

    def end(self) -> float:
        """It has ended. Seconds to wait."""
        if self._clock.now() - self._began >= _LONG_LIFE:
            self._short_lives = 0
        self._short_lives += 1
        if self._short_lives == 1:
            return 0.0
        return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (self._short_lives - 2))
