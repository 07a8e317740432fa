"""Two hundred callers on the wire who hang up in one moment, beside a call that hears nothing of it."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import grpc.aio
from wire import MANUAL, UNPACED, ConverseRequest, RawCall, beside_a_healthy_call, target, tiny_engine

from antiphon.engine.service.client_config import config_to_wire
from antiphon.engine.service.server import Server
from antiphon.v1 import dialogue_pb2

CALLERS = 200
CONFIG = ConverseRequest(config=config_to_wire(MANUAL))
QUESTION = ConverseRequest(text=dialogue_pb2.TextInput(text="hello"))


def test_two_hundred_who_hang_up_at_once_leave_nothing() -> None:
    async def act(server: Server) -> None:
        async with AsyncExitStack() as stack:
            options = [("grpc.use_local_subchannel_pool", 1)]
            channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(target(server), options)) for _ in range(4)
            ]
            calls = [RawCall(channels[n % len(channels)]) for n in range(CALLERS)]

            async def ask(call: RawCall) -> None:
                await call.send(CONFIG)
                await call.until("session_started")
                await call.send(QUESTION)

            await asyncio.gather(*map(ask, calls))
            await calls[0].until("audio")  # some are answered, some wait for their first word
            for call in calls:
                call.stream.cancel()

    beside_a_healthy_call(tiny_engine(), act, replace(UNPACED, max_dialogues_per_key=0))
