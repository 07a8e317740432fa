"""`antiphon serve`: the engine on the network, until a signal says stop."""

import argparse
import asyncio
import logging
import os
import resource
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from antiphon.engine.clock import MonotonicClock
from antiphon.engine.config import EngineConfig
from antiphon.engine.engine import Engine
from antiphon.engine.service.keys import ApiKeys
from antiphon.engine.service.logs import configure_logging, log_event
from antiphon.engine.service.server import Server
from antiphon.engine.service.settings import ServiceSettings, limits
from antiphon.engine.service.tls import TlsFiles, tls_files

_ENGINE_SECONDS: Final = 20.0  # for the engine's thread to end the forward it is in
_OPEN_FILES: Final = 65_536  # connections are files

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeOptions:
    """What the verb was asked for."""

    model: Path
    device: str
    dtype: str
    engine: EngineConfig
    service: ServiceSettings
    key_file: Path | None
    tls: TlsFiles | None

    @classmethod
    def of(cls, options: argparse.Namespace) -> "ServeOptions":
        """From the parsed command line. Raises InputError, ServerFileError."""
        given: dict[str, Any] = {limit.name: getattr(options, limit.name) for limit in limits()}
        return cls(
            options.model,
            options.device,
            options.dtype,
            EngineConfig(max_dialogues=options.max_dialogues, kv_tokens=options.kv_tokens, streaming=options.streaming),
            ServiceSettings(host=options.host, port=options.port, reflection=options.reflection, **given),
            options.api_key_file,
            tls_files(options.tls_cert, options.tls_key, options.tls_client_ca),
        )


def serve(options: ServeOptions) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0 after a drain, however it ended, and 1 where the engine failed."""
    configure_logging()
    stop = _StopSignals()
    clock = MonotonicClock()
    keys = None if options.key_file is None else ApiKeys(options.key_file, clock)
    _warn_if_exposed(options)
    _allow_open_files()
    engine = Engine.load(options.model, options.device, options.dtype, options.engine)
    try:
        with _runner() as runner:
            well = runner.run(_run(engine, options, keys, clock, stop))
    finally:
        closed = _close(engine)
    if not closed:  # it is a daemon, but running code that an interpreter which goes must not be under
        log_event(_log, logging.CRITICAL, "engine_did_not_stop", seconds=_ENGINE_SECONDS)
        logging.shutdown()
        os._exit(1)
    return 0 if well else 1


async def _run(
    engine: Engine, options: ServeOptions, keys: ApiKeys | None, clock: MonotonicClock, stop: "_StopSignals"
) -> bool:
    server = Server(engine, options.service, options.model.name, keys, options.tls, clock)
    stop.tell(server)
    return await server.run()


class _StopSignals:
    """SIGTERM and SIGINT: before there is a server they end the process at once, later they drain it.

    Installed once and for the process's whole life, so that no moment is left in which a signal kills.
    """

    def __init__(self) -> None:
        self._server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)

    def tell(self, server: Server) -> None:
        """From now on `server` is told. On its loop."""
        self._server, self._loop = server, asyncio.get_running_loop()

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._server is None or self._loop is None:
            raise SystemExit(0)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._server.stop)


def _runner() -> asyncio.Runner:
    try:
        import uvloop
    except ModuleNotFoundError:  # it does not run everywhere
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def _close(engine: Engine) -> bool:
    """Whether the engine's thread has ended."""
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(_ENGINE_SECONDS)
    return not closing.is_alive()


def _warn_if_exposed(options: ServeOptions) -> None:
    if options.service.is_loopback:
        return
    if options.tls is None:
        log_event(_log, logging.WARNING, "open_to_the_network_without_tls", peer=options.service.address)
    if options.key_file is None and (options.tls is None or options.tls.client_ca is None):
        log_event(_log, logging.WARNING, "open_to_the_network_without_keys", peer=options.service.address)


def _allow_open_files() -> None:
    """As many as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
