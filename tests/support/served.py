"""A real server on a tiny model, and a loop that it shares with the tests' real clients."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import grpc
import grpc.aio
from engines import exact_engine
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from antiphon.engine.clock import MonotonicClock
from antiphon.engine.config import EngineConfig
from antiphon.engine.service.keys import ApiKeys
from antiphon.engine.service.server import Server
from antiphon.engine.service.settings import ServiceSettings
from antiphon.engine.service.tls import TlsFiles

Result = TypeVar("Result")


@dataclass
class Served:
    """A server that is ready. It runs while `run` runs."""

    server: Server
    runner: asyncio.Runner

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def run(self, test: Coroutine[Any, Any, Result]) -> Result:
        """Run `test` on the server's loop."""
        return self.runner.run(test)

    def channel(self, **options: int) -> grpc.aio.Channel:
        """A connection of its own."""
        given = [(f"grpc.{name}", value) for name, value in options.items()]
        return grpc.aio.insecure_channel(self.target, options=[*given, ("grpc.use_local_subchannel_pool", 1)])

    async def is_idle(self, seconds: float = 60.0) -> bool:
        """Whether all calls end, and the engine holds nothing, within some time."""

        def held() -> bool:
            stats = self.server.host.engine.stats
            return bool(self.server.n_calls or stats.dialogues or stats.clips or stats.free_pages != stats.total_pages)

        return await until(lambda: not held(), seconds)


@contextmanager
def serving(
    settings: ServiceSettings,
    key_file: Any = None,
    tls: TlsFiles | None = None,
    engine: EngineConfig | None = None,
) -> Iterator[Served]:
    """A server with an engine of its own, drained at the end. How busy a shared machine is does not matter to it."""
    clock = MonotonicClock()
    settings = replace(settings, max_utilisation=0.0)
    with (
        exact_engine(engine) as model,
        asyncio.Runner() as runner,
    ):

        async def start() -> tuple[Server, asyncio.Task[bool]]:
            keys = None if key_file is None else ApiKeys(key_file, clock)
            server = Server(model, settings, "tiny", keys, tls, clock)
            life = asyncio.create_task(server.run())
            assert await until(lambda: server.health.is_serving, 60.0), "the server did not warm up"
            return server, life

        async def stop() -> None:
            server.stop()
            server.stop()
            assert await life, "the server was not well to its end"

        server, life = runner.run(start())
        try:
            yield Served(server, runner)
        finally:
            runner.run(stop())
        stats = model.stats
        assert (stats.dialogues, stats.clips, stats.free_pages) == (0, 0, stats.total_pages), stats


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` comes true within some time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


@dataclass(frozen=True)
class Refusal:
    """How a call failed."""

    code: grpc.StatusCode
    reason: str  # of its ErrorInfo; empty without one
    fields: list[str]  # that its BadRequest names
    retry: bool  # whether it has a RetryInfo
    message: str


async def refusal(call: Awaitable[Any]) -> Refusal:
    """How `call` fails. It has to."""
    try:
        got = await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    raise AssertionError(f"the call was answered: {str(got)[:200]}")


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """What a failed call tells."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    reason, fields, retry = "", [], False
    for detail in status.details if status is not None else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            assert info.domain == "antiphon"
            reason = info.reason
        if detail.Unpack(bad):
            fields = [violation.field for violation in bad.field_violations]
        retry |= detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR)
    return Refusal(error.code(), reason, fields, retry, error.details() or "")
