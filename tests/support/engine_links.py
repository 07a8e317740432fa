"""Engines behind Unix sockets, and frontends' ends of them, all in this process: what the processes of a server do,
without waiting for their starts."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checkpoints import tiny_checkpoint
from served import until

import antiphon
from antiphon.engine.process.engine_group import EngineGroup
from antiphon.engine.process.engine_messages import ENGINE_CONTROL, ModelNames, Ready, Stop
from antiphon.engine.process.engine_process import EngineProcess
from antiphon.engine.process.link import Link
from antiphon.scheduler.admission import Admission

ANYONE = Admission.up_to(0.0)
PATIENCE = 20.0  # tests share their machine: where silence is not what they are about, it means nothing


@dataclass
class Behind:
    """An engine that is reached by a socket."""

    engine: antiphon.Engine
    address: Path
    told: list[Any] = field(default_factory=list)  # to the supervisor

    @asynccontextmanager
    async def frontend(self, patience: float = PATIENCE) -> AsyncIterator[EngineGroup]:
        """A frontend's end, connected."""
        async with frontend_of([self], patience) as group:
            yield group

    async def is_empty(self, seconds: float = 20.0) -> bool:
        """Whether the engine comes to hold nothing within some time."""

        def held() -> bool:
            stats = self.engine.stats
            return bool(stats.dialogues or stats.clips or stats.free_pages != stats.total_pages)

        return await until(lambda: not held(), seconds)


@asynccontextmanager
async def frontend_of(
    engines: Sequence[Behind], patience: float = PATIENCE, admission: Admission = ANYONE
) -> AsyncIterator[EngineGroup]:
    """A frontend's end of several engines, connected with all of them."""
    engine = engines[0].engine
    names = ModelNames(engine.codec_id, engine.vocabulary_id)
    addresses = [behind.address for behind in engines]
    group = EngineGroup("test", addresses, tiny_checkpoint(), names, engine.config, patience, admission)
    running = asyncio.create_task(group.run())
    try:
        assert await until(lambda: all(remote.is_up for remote in group.engines), 60.0)
        yield group
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        group.disconnect()


@asynccontextmanager
async def engine_behind_a_socket(engine: antiphon.Engine, utilisation_interval: float = 0.0) -> AsyncIterator[Behind]:
    """`engine` as its process serves it; the test is its supervisor."""
    with tempfile.TemporaryDirectory(prefix="antiphon-") as folder:
        behind = Behind(engine, Path(folder) / "engine-0")
        ours, its = socket.socketpair()
        _, control = await asyncio.get_running_loop().create_unix_connection(
            lambda: Link(ENGINE_CONTROL, behind.told.append, lambda: None), sock=ours
        )
        serving = asyncio.create_task(EngineProcess(engine, behind.address, utilisation_interval).run(its))
        while not any(isinstance(one, Ready) for one in behind.told):
            assert not serving.done(), behind.told
            await asyncio.sleep(0.01)
        try:
            yield behind
        finally:
            control.send(Stop())
            assert await serving
            control.abort()


def stop_reading(group: EngineGroup) -> None:
    """The frontend takes nothing more from its first engine, over the connection it has."""
    remote = group.engines[0]
    assert remote._link is not None and remote._link._transport is not None
    remote._link._transport.pause_reading()
