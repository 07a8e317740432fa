"""A servicer that answers a turn with its own bytes: the client by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import numpy as np
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from antiphon.client import (
    MULAW_8K,
    CallConfig,
)
from antiphon.engine.service.client_config import format_to_wire
from antiphon.v1 import dialogue_pb2, dialogue_pb2_grpc, events_pb2, session_pb2

MULAW = CallConfig(input_audio=MULAW_8K, output_audio=MULAW_8K, resume_window=10.0)
Response = dialogue_pb2.ConverseResponse


def status(code: int, reason: str, **metadata: str) -> status_pb2.Status:
    info = Packed()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="antiphon", metadata=metadata))
    retry = Packed()
    retry.Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=2)))
    return status_pb2.Status(code=code, message=f"{reason} happened.", details=[info, retry])


class Echo(dialogue_pb2_grpc.DialogueServiceServicer):
    """One dialogue that answers a turn with its own bytes, and keeps all its events for a resume."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.audio = bytearray()  # all that was accepted
        self.keys: list[Any] = []
        self._events: list[Response] = []
        self._news = asyncio.Event()
        self._turn_start = 0
        self._turns = 0
        self.deaf_after: int | None = None  # bytes of audio after which nothing is taken from this connection

    async def Converse(self, requests: AsyncIterator[dialogue_pb2.ConverseRequest], context: Any) -> None:
        self.keys.append(dict(context.invocation_metadata()).get("authorization"))
        first = await anext(requests)
        sent = first.resume.last_event_sequence
        config = session_pb2.SessionConfig()
        config.CopyFrom(first.config)
        config.output_audio.CopyFrom(format_to_wire(MULAW_8K))
        config.resume_window.FromSeconds(10)
        started = events_pb2.SessionStarted(
            session_id="s", resume_token="t", config=config, next_input_sample=len(self.audio)
        )
        await context.write(Response(session_started=started))
        sender = asyncio.create_task(self._send(context, sent))
        try:
            async for request in requests:
                if self.deaf_after is not None and len(self.audio) >= self.deaf_after:
                    await asyncio.Event().wait()
                self._take(request)
            await asyncio.sleep(0.02)
        finally:
            sender.cancel()

    async def _send(self, context: Any, sent: int) -> None:
        while True:
            self._news.clear()
            for event in self._events[sent:]:
                await context.write(event)
                sent += 1
            await self._news.wait()

    def _take(self, request: dialogue_pb2.ConverseRequest) -> None:
        kind = request.WhichOneof("request")
        self.requests.append(kind or "none")
        match kind:
            case "audio":
                self.audio += request.audio.data
            case "commit_input" if len(self.audio) == self._turn_start:
                self._tell(error=status(code_pb2.FAILED_PRECONDITION, "TURN_EMPTY", request="commit_input"))
            case "commit_input":
                self._answer(bytes(self.audio[self._turn_start :]), "heard")
            case "text":
                self._answer(b"", request.text.text)
            case None:
                self._tell(error=status(code_pb2.INVALID_ARGUMENT, "REQUEST_UNKNOWN", request=""))

    def _answer(self, data: bytes, text: str) -> None:
        name, start, end = f"s.{self._turns}", self._turn_start, len(self.audio)
        self._turns += 1
        self._turn_start = end
        reason = events_pb2.TurnEnded.REASON_COMMITTED
        ended = events_pb2.TurnEnded(response_id=name, reason=reason, start_sample=start, end_sample=end)
        self._tell(turn_ended=ended)
        self._tell(response_started=events_pb2.ResponseStarted(response_id=name, turn_index=self._turns - 1))
        self._tell(text_delta=events_pb2.TextDelta(response_id=name, text=text))
        self._tell(audio=events_pb2.AudioOutput(response_id=name, data=data))
        stop = events_pb2.ResponseCompleted.FINISH_REASON_STOP
        self._tell(response_completed=events_pb2.ResponseCompleted(response_id=name, finish_reason=stop))

    def _tell(self, **event: Any) -> None:
        self._events.append(Response(event_sequence=len(self._events) + 1, **event))
        self._news.set()


def with_servicer(servicer: Any, test: Callable[[int], Awaitable[None]]) -> None:
    async def run() -> None:
        server = grpc.aio.server()
        dialogue_pb2_grpc.add_DialogueServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            await asyncio.wait_for(test(port), 8)
        finally:
            await server.stop(None)
        others = [task for task in asyncio.all_tasks() if task.get_name().startswith("antiphon-call")]
        assert not others, "a call leaves nothing running"

    asyncio.run(run())


def noise(seed: int, count: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8).tobytes()
