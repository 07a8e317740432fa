"""The engine process: one engine, and the frontends that are connected to it."""

import asyncio
import itertools
import logging
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from antiphon.engine.device import share_cores
from antiphon.engine.engine import Engine
from antiphon.engine.errors import AntiphonError
from antiphon.engine.process.child import event_loop, tell
from antiphon.engine.process.engine_messages import (
    ENGINE_CONTROL,
    Failed,
    Loaded,
    ModelNames,
    Ready,
    StartEngine,
    Stop,
)
from antiphon.engine.process.frontend_link import FrontendLink
from antiphon.engine.process.link import Link
from antiphon.engine.process.pulse import PULSE_SECONDS, Pulse
from antiphon.engine.process.utilisation import Utilisation
from antiphon.engine.service.logs import log_event

END_SECONDS: Final = 20.0  # for the engine's thread to end the step it is in

_log = logging.getLogger(__name__)


def main(control: socket.socket, order: StartEngine) -> int:
    """Load, warm up, serve until told to stop. Returns the exit code."""
    try:
        share_cores(order.device, order.devices)
        engine = Engine.load(order.model, order.device, order.dtype, order.config)
    except AntiphonError as error:
        tell(control, ENGINE_CONTROL, Failed(str(error)))
        return 1
    with asyncio.Runner(loop_factory=event_loop()) as runner:
        well = runner.run(EngineProcess(engine, order.address, order.utilisation_interval).run(control))
    if not _close(engine):  # a daemon, running code that must not have an interpreter go away under it
        log_event(_log, logging.CRITICAL, "engine_did_not_stop", seconds=END_SECONDS)
        logging.shutdown()
        os._exit(1)
    return 0 if well else 1


class EngineProcess:
    """One engine on this process's asyncio loop; its own loop runs in a thread beside it."""

    def __init__(self, engine: Engine, address: Path, utilisation_interval: float = 0.0) -> None:
        """`address`: of the Unix socket for frontends. One that is left there by an engine before is replaced.
        `utilisation_interval`: seconds after which the log tells again how busy the engine was; 0: never.
        """
        self._engine = engine
        self._address = address
        self._utilisation_interval = utilisation_interval
        self._links: set[FrontendLink] = set()
        self._serials = itertools.count(1)
        self._stop = asyncio.Event()

    async def run(self, control: socket.socket) -> bool:
        """Serve until `Stop`, or the end of `control`. Returns whether all was well."""
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(
            lambda: Link(ENGINE_CONTROL, self._take_order, self._stop.set), sock=control
        )
        link.send(Loaded(ModelNames(self._engine.codec_id, self._engine.vocabulary_id)))
        try:
            await self._engine.warm_up()
        except AntiphonError as error:
            link.send(Failed(str(error)))
            return False
        with suppress(FileNotFoundError):
            os.unlink(self._address)
        server = await loop.create_unix_server(self._connected, self._address)
        link.send(Ready())
        tasks = [asyncio.create_task(self._pulse(link))]
        if self._utilisation_interval:
            tasks.append(asyncio.create_task(self._tell_utilisation()))
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        server.close()
        for frontend in list(self._links):
            frontend.link.abort()
        return self._engine.fault is None

    def _take_order(self, order: object) -> None:
        if isinstance(order, Stop):
            self._stop.set()

    def _connected(self) -> asyncio.Protocol:
        frontend = FrontendLink(str(next(self._serials)), self._engine, self._links.discard)
        self._links.add(frontend)
        return frontend.link

    async def _pulse(self, control: Link) -> None:
        """Say that this process lives, what its engine's thread has noted of its step, and how full it is."""
        while self._engine.fault is None:
            pulse = Pulse(self._engine.seconds_in_step, self._engine.occupancy)
            control.send(pulse)
            for frontend in list(self._links):
                frontend.link.send(pulse)
            await asyncio.sleep(PULSE_SECONDS)
        self._stop.set()  # it serves nobody any more: another shall take its place

    async def _tell_utilisation(self) -> None:
        """Into the log, of every interval in which something ran. The loop only adds up; this reads."""
        clock = asyncio.get_running_loop().time
        utilisation = Utilisation(clock(), self._engine.seconds)  # the warm-up is nobody's
        while True:
            await asyncio.sleep(self._utilisation_interval)
            fields = utilisation.told(clock(), self._engine.seconds, self._engine.occupancy.dialogues)
            if fields is not None:
                log_event(_log, logging.INFO, "engine_utilisation", **fields)


def _close(engine: Engine) -> bool:
    """Whether the engine's thread has ended."""
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(END_SECONDS)
    return not closing.is_alive()
