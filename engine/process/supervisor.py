"""The supervisor: starts the engines and the frontends, starts anew what died or hangs, ends all of them in order.

    an engine that ends, is silent, or is too long in one step     killed, and another started; the frontends, whose
                                                                   connection it was, send new calls to the others;
                                                                   without any they close their doors until it is warm
    a frontend that ends, or is silent                             killed, and another started; the engine closes what
                                                                   it had open, and what it had taken of quotas is free
    SIGTERM, SIGINT                                                the frontends drain, then the engines end
    the supervisor's own death                                     Linux kills the children

What cannot be started the first time (a model that is none, a port that is taken) ends the server with the reason.
"""

import asyncio
import logging
import shutil
import signal
import socket
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from antiphon.engine.clock import Clock
from antiphon.engine.config import EngineConfig
from antiphon.engine.errors import AntiphonError, InputError
from antiphon.engine.process.children import Child, Pauses
from antiphon.engine.process.desk import Desk
from antiphon.engine.process.engine_messages import ENGINE_CONTROL, Loaded, ModelNames, StartEngine
from antiphon.engine.process.frontend_messages import (
    FRONTEND_CONTROL,
    GiveBack,
    StartFrontend,
    TakeAudio,
    TakeClip,
    TakeDialogue,
)
from antiphon.engine.process.pulse import Pulse
from antiphon.engine.service.logs import Fields, log_event
from antiphon.engine.service.quotas import Quotas
from antiphon.engine.service.settings import ServiceSettings
from antiphon.engine.service.tls import TlsFiles

ENGINE_END_SECONDS: Final = 25.0  # for the engine to end the step it is in, and itself
FRONTEND_END_SECONDS: Final = 10.0  # beyond the drain
FRONTEND_PATIENCE: Final = 10.0  # seconds without a sign of life: one loop does all its calls' work
_LONGEST_ADDRESS: Final = 100  # bytes of a Unix socket's path; sun_path has 108

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServePlan:
    """What is to be served, and how."""

    model: Path
    devices: tuple[str, ...]  # an engine for each; one that is named twice has two
    dtype: str
    engine: EngineConfig  # of each
    service: ServiceSettings
    key_file: Path | None
    tls: TlsFiles | None
    frontends: int


class Supervisor:
    """`run` is its whole life, on one asyncio loop in the process's main thread."""

    def __init__(self, plan: ServePlan, clock: Clock) -> None:
        settings = plan.service
        self._plan = plan
        self._clock = clock
        self._desk = Desk(
            Quotas(0, settings.max_dialogues_per_key, settings.max_audio_per_minute, clock, settings.max_clips)
        )
        self._engines: dict[str, Child] = {}
        self._have_served: set[str] = set()  # children that were ready once
        self._frontends: dict[str, Child] = {}
        self._names: asyncio.Future[ModelNames] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()
        self._hasten = asyncio.Event()

    async def run(self) -> bool:
        """Serve until a signal says stop. Returns whether it ended in good order.

        Raises InputError for an address that cannot be listened on, AntiphonError where the engine or a frontend
        cannot be started the first time.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        folder = Path(tempfile.mkdtemp(prefix="antiphon-"))
        try:
            with reserved(self._plan.service.host, self._plan.service.port) as address:
                return await self._serve(_sockets_in(folder, len(self._plan.devices)), address.getsockname()[1])
        finally:
            for child in self._children():
                child.kill()
            await asyncio.gather(*(child.ended.wait() for child in self._children()))
            shutil.rmtree(folder, ignore_errors=True)

    async def _serve(self, addresses: tuple[Path, ...], port: int) -> bool:
        keepers = [
            asyncio.create_task(self._keep_engine(device, address))
            for device, address in zip(self._plan.devices, addresses, strict=True)
        ]
        for index in range(self._plan.frontends):
            keepers.append(asyncio.create_task(self._keep_frontend(index, addresses, port)))
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([stopped, *keepers], return_when=asyncio.FIRST_COMPLETED)
            for keeper in keepers:
                if keeper.done() and not self._stop.is_set():
                    keeper.result()  # raises: a keeper ends by itself only where nothing can be kept
            well = await self._end()
        finally:
            for task in (stopped, *keepers):
                task.cancel()
            await asyncio.gather(stopped, *keepers, return_exceptions=True)
        log_event(_log, logging.INFO, "stopped")
        return well

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._hasten.set()
        self._stop.set()

    def _children(self) -> list[Child]:
        return [*self._frontends.values(), *self._engines.values()]

    # Keeping them alive

    async def _keep_engine(self, device: str, address: Path) -> None:
        plan, name = self._plan, address.name
        interval = plan.service.utilisation_interval
        order = StartEngine(name, plan.model, device, plan.dtype, plan.devices, plan.engine, address, interval)
        pauses = Pauses(self._clock)
        while not self._stop.is_set():
            pauses.begin()
            child = Child(name, "engine", ENGINE_CONTROL, plan.service.engine_patience, self._hear_engine)
            await child.spawn()
            self._engines[name] = child
            child.send(order)
            await child.ended.wait()
            await self._after(child, pauses)

    async def _keep_frontend(self, index: int, addresses: tuple[Path, ...], port: int) -> None:
        plan, pauses, name = self._plan, Pauses(self._clock), f"frontend-{index}"
        settings = replace(plan.service, port=port)
        while not self._stop.is_set():
            pauses.begin()
            child = Child(name, "frontend", FRONTEND_CONTROL, FRONTEND_PATIENCE, self._hear_frontend)
            await child.spawn()
            self._frontends[name] = child
            names = await asyncio.shield(self._names)
            child.send(
                StartFrontend(
                    name,
                    index,
                    plan.model,
                    names,
                    plan.engine,
                    addresses,
                    not self._have_all_engines_served,
                    settings,
                    plan.key_file,
                    plan.tls,
                )
            )
            await child.ended.wait()
            self._desk.forget(name)
            await self._after(child, pauses)

    @property
    def _have_all_engines_served(self) -> bool:
        """Or could have. Until then no call is taken: an engine that cannot be started ends the server."""
        warm = {name for name, engine in self._engines.items() if engine.ready.is_set()}
        return len(warm | self._have_served & self._engines.keys()) == len(self._plan.devices)

    async def _after(self, child: Child, pauses: Pauses) -> None:
        """A child has ended. Raises AntiphonError where it could not be started the first time."""
        if child.ready.is_set():
            self._have_served.add(child.name)
        if self._stop.is_set():
            return
        if child.name not in self._have_served:
            raise AntiphonError(
                child.failure
                or f"the {child.name} process ended with code {child.exit_code} before it could serve; "
                "what it wrote tells more."
            )
        fields: Fields = {"child": child.name, "exit_code": child.exit_code or 0}
        if child.failure is not None:
            fields["reason"] = child.failure
        log_event(_log, logging.ERROR, "child_ended", **fields)
        await asyncio.sleep(pauses.end())

    # What they tell

    def _hear_engine(self, child: Child, message: object) -> None:
        match message:
            case Loaded():
                if not self._names.done():
                    self._names.set_result(message.names)
            case Pulse(in_step=float(seconds)) if seconds > self._plan.service.max_engine_step:
                log_event(_log, logging.ERROR, "engine_stuck", child=child.name, seconds=seconds)
                child.kill()

    def _hear_frontend(self, child: Child, message: object) -> None:
        if isinstance(message, TakeDialogue | TakeClip | TakeAudio | GiveBack):
            answer = self._desk.take(child.name, message)
            if answer is not None:
                child.send(answer)

    # The end

    async def _end(self) -> bool:
        """The frontends drain, then the engines end. Returns whether none of them had to be killed."""
        alive = [one for one in self._engines.values() if one.ready.is_set() and not one.ended.is_set()]
        well = await self._end_frontends(list(self._frontends.values()))
        for engine in alive:
            engine.stop()
        well &= await _ended(alive, ENGINE_END_SECONDS) and not any(engine.exit_code for engine in alive)
        for engine in self._engines.values():
            engine.kill()  # one that loads or warms up hears nothing, and nobody waits for it
        return well

    async def _end_frontends(self, frontends: list[Child]) -> bool:
        for frontend in frontends:
            frontend.stop()
            if not self._names.done():  # it has no order yet, and would wait for one
                frontend.kill()
        hastened = asyncio.create_task(self._hasten.wait())
        ending = asyncio.create_task(_ended(frontends, self._plan.service.drain_timeout + FRONTEND_END_SECONDS))
        await asyncio.wait([hastened, ending], return_when=asyncio.FIRST_COMPLETED)
        if self._hasten.is_set():
            for frontend in frontends:
                frontend.stop()
            ending.cancel()
            ended = await _ended(frontends, FRONTEND_END_SECONDS)
        else:
            ended = await ending
        hastened.cancel()
        for frontend in frontends:
            if not frontend.ended.is_set():
                log_event(_log, logging.ERROR, "child_did_not_end", child=frontend.name)
                frontend.kill()
        return ended


async def _ended(children: list[Child], seconds: float) -> bool:
    """Whether all of them end within some time."""
    try:
        async with asyncio.timeout(seconds):
            for child in children:
                await child.ended.wait()
    except TimeoutError:
        return False
    return True


def reserved(host: str, port: int) -> socket.socket:
    """A socket that holds the address for all frontends, without listening. Port 0: any that is free.

    The frontends share the port (SO_REUSEPORT), which any other process of this user might join, too: so it is taken
    alone first. Raises InputError where that does not go.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
            address = (address[0], alone.getsockname()[1], *address[2:])
        shared = socket.socket(family, kind, protocol)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(address)
    except OSError as error:
        raise InputError(
            f"{host}:{port} cannot be listened on: is the port in use, or --host no address of this machine? "
            f"({error.strerror})"
        ) from error
    return shared


def _sockets_in(folder: Path, engines: int) -> tuple[Path, ...]:
    """Addresses for so many engines."""
    addresses = tuple(folder / f"engine-{index}" for index in range(engines))
    if len(str(addresses[-1]).encode()) > _LONGEST_ADDRESS:
        raise InputError(f"{addresses[-1]} is too long for a Unix socket; set TMPDIR to a folder with a shorter name.")
    return addresses
