"""A frontend process: the gRPC server, and engines that are other processes'."""

import asyncio
import logging
import resource
import socket
from typing import Final

from antiphon.engine.clock import MonotonicClock
from antiphon.engine.errors import AntiphonError
from antiphon.engine.process.child import event_loop, tell
from antiphon.engine.process.counted import Counted
from antiphon.engine.process.engine_group import EngineGroup
from antiphon.engine.process.engine_messages import Failed, Ready, Stop
from antiphon.engine.process.frontend_messages import FRONTEND_CONTROL, Denied, Granted, StartFrontend
from antiphon.engine.process.link import Link
from antiphon.engine.process.pulse import PULSE_SECONDS, Pulse
from antiphon.engine.service.keys import ApiKeys
from antiphon.engine.service.logs import log_event
from antiphon.engine.service.server import Server
from antiphon.scheduler.admission import Admission

_OPEN_FILES: Final = 65_536  # connections are files

_log = logging.getLogger(__name__)


def main(control: socket.socket, order: StartFrontend) -> int:
    """Serve until told to stop. Returns the exit code."""
    _allow_open_files()
    try:
        with asyncio.Runner(loop_factory=event_loop()) as runner:
            well = runner.run(_serve(control, order))
    except AntiphonError as error:
        tell(control, FRONTEND_CONTROL, Failed(str(error)))
        return 1
    return 0 if well else 1


async def _serve(control: socket.socket, order: StartFrontend) -> bool:
    """Raises AntiphonError where it cannot be begun."""
    clock = MonotonicClock()
    settings = order.settings
    patience = settings.engine_patience
    engine = EngineGroup(
        order.name,
        order.addresses,
        order.model,
        order.names,
        order.engine,
        patience,
        Admission.up_to(settings.max_utilisation),
        order.index,
        order.awaits_all,
    )
    keys = None if order.key_file is None else ApiKeys(order.key_file, clock)
    supervisor = _Supervisor(settings.max_audio_per_minute > 0)
    server = Server(engine, settings, order.model.name, keys, order.tls, clock, supervisor.counted)
    supervisor.server = server
    loop = asyncio.get_running_loop()
    _, supervisor.link = await loop.create_unix_connection(supervisor.protocol, sock=control)
    helpers = [asyncio.create_task(engine.run()), asyncio.create_task(supervisor.pulse())]
    serving = asyncio.create_task(server.run())
    supervisor.link.send(Ready())
    try:
        return await serving
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)


class _Supervisor:
    """The supervisor, as this process knows it."""

    def __init__(self, counts_audio: bool) -> None:
        self.counted = Counted(self._send, counts_audio)
        self.server: Server | None = None
        self.link: Link | None = None

    def protocol(self) -> Link:
        """One for its connection."""
        return Link(FRONTEND_CONTROL, self._take, self._lost)

    async def pulse(self) -> None:
        """Say that this process lives."""
        while True:
            self._send(Pulse())
            await asyncio.sleep(PULSE_SECONDS)

    def _send(self, message: object) -> None:
        if self.link is not None:
            self.link.send(message)

    def _take(self, order: Stop | Granted | Denied) -> None:
        if isinstance(order, Stop):
            if self.server is not None:
                self.server.stop()
        else:
            self.counted.answered(order)

    def _lost(self) -> None:
        """Nobody looks after this process any more: its calls end at once."""
        log_event(_log, logging.ERROR, "supervisor_lost")
        if self.server is not None:
            self.server.stop()
            self.server.stop()


def _allow_open_files() -> None:
    """As many as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
