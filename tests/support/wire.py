"""The real server in this process, real clients on loopback, and calls that a test can compare."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc
import grpc.aio
import numpy as np
from callers import Received, ask, receive
from compare import assert_close
from engines import exact_engine
from goldens import golden
from google.rpc import code_pb2, error_details_pb2, status_pb2
from tolerances import TOLERANCE

import antiphon
from antiphon.client import (
    MULAW_8K,
    Answer,
    AudioCompleted,
    AudioOutput,
    CallConfig,
    Event,
    FinishReason,
    Interrupted,
    ResponseCompleted,
    ResponseStarted,
    Sampling,
    TextDelta,
    TurnEnded,
    collect,
    linear16,
)
from antiphon.engine.config import SessionConfig
from antiphon.engine.hear.codec import decode_mu_law, read_audio
from antiphon.engine.service.client_ending import Ending
from antiphon.engine.service.server import Server
from antiphon.engine.service.settings import ServiceSettings
from antiphon.engine.think.sampling import SamplingParams
from antiphon.v1 import dialogue_pb2, dialogue_pb2_grpc

ConverseRequest = dialogue_pb2.ConverseRequest

MAX_OUTPUT_TOKENS = 40  # two pieces of speech: an answer of 1.6 s
GREEDY = Sampling(temperature=0.0, max_output_tokens=MAX_OUTPUT_TOKENS)
MANUAL = CallConfig(input_audio=MULAW_8K, output_audio=linear16(22_050), sampling=GREEDY)
HANGS = 600.0  # s after which a test that stands still is given up; no test is about it
# Tests do not wait for answers to be played, where they are not about that.
# How full a machine is that others share is not what they are about, either.
UNPACED = ServiceSettings(port=0, max_output_lead=600.0, max_utilisation=0.0)
PACED = ServiceSettings(port=0, max_utilisation=0.0)


def clip(name: str = "rate_8000") -> tuple[np.ndarray, int]:
    """A recording of the parity data, f32[n], and its rate in Hz."""
    pcm, rate = read_audio(golden(f"speech_tokenizer/wav/{name}.wav"))
    return pcm[0], rate


@functools.cache
def mulaw_question() -> bytes:
    """A second of speech as a telephone sends it."""
    pcm, rate = clip()
    assert rate == 8_000
    return MULAW_8K.encode(pcm[:8_000])


@asynccontextmanager
async def serving(engine: antiphon.Engine, settings: ServiceSettings = UNPACED, **others: Any) -> AsyncIterator[Server]:
    """A server of `engine`, warmed up; on leaving, it has to have left nothing behind."""
    before = asyncio.all_tasks()
    server = Server(engine, settings, "tiny", **others)
    running = asyncio.create_task(server.run())
    while not server.host.ready:
        assert not running.done(), "the server did not come up"
        await asyncio.sleep(0.01)
    try:
        yield server
        await nothing_left(server)
    finally:
        server.stop()
        server.stop()  # at once
        assert await running
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, left


def target(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


async def nothing_left(server: Server) -> None:
    """Wait until what the callers left is cleared away: tasks, pages, dialogues, what they count as."""
    async with asyncio.timeout(20):
        while (left := _held(server)) != 0:
            await asyncio.sleep(0.02)
    stats = server.host.engine.stats
    assert (stats.dialogues, stats.turns, stats.free_pages) == (0, 0, stats.total_pages), (stats, left)


def _held(server: Server) -> int:
    stats = server.host.engine.stats
    return stats.dialogues + stats.turns + stats.total_pages - stats.free_pages + server._endpoints.n_calls


# What is to be expected


async def asked_of_the_engine(
    engine: antiphon.Engine, pcm: np.ndarray, rate: int, *then: str, config: SessionConfig | None = None
) -> list[Received]:
    """A spoken turn and written ones behind it, by the Python face."""
    sampling = SamplingParams(temperature=0.0, max_new_tokens=MAX_OUTPUT_TOKENS)
    async with engine.session(config or SessionConfig(sampling=sampling)) as session:
        received = [await ask(session, pcm, rate)]
        for text in then:
            await session.push_text(text)
            await session.commit()
            received.append(await receive(session))
        return received


def check_answer(answer: Answer, expected: Received, what: str, tolerance: float = 0.0) -> None:
    """Ids exactly; the wave to half a step of its 16 bits, and what `tolerance` allows on top."""
    assert answer.completed.finish_reason.name == expected.completed.finish_reason.name
    assert [item.speech or item.text for item in answer.completed.history[:1]] == [
        item.speech or item.text for item in expected.completed.history[:1]
    ]
    assert list(answer.completed.history[1].ids or ()) == expected.answer_ids
    assert answer.text == expected.text
    assert_close(answer.audio.samples, expected.wave, tolerance + 0.51 / 32_768, what)


async def answer_in(events: Sequence[Event]) -> Answer:
    """The first answer among events that were kept."""

    async def again() -> AsyncIterator[Event]:
        for event in events:
            yield event

    return await collect(again(), linear16(22_050))


def check_order(events: Sequence[Event]) -> None:
    """Raises AssertionError unless the answers' events come in the order the contract gives, and audio abuts."""
    turns: list[str] = []
    under_way: str | None = None
    audio: dict[str, int] = {}
    told: set[str] = set()
    cut = False
    for event in events:
        match event:
            case TurnEnded():
                turns.append(event.response_id)
            case ResponseStarted():
                assert under_way is None, "answers do not overlap"
                assert event.response_id in turns, "a turn ends before its answer begins"
                under_way, cut = event.response_id, False
                audio[under_way] = 0
            case AudioOutput() | TextDelta() | AudioCompleted():
                assert event.response_id == under_way and not cut and under_way not in told
                if isinstance(event, AudioOutput):
                    assert event.data and event.sample_offset == audio[under_way], "audio abuts"
                    audio[under_way] += len(event.data) // event.format.sample_bytes
                if isinstance(event, AudioCompleted):
                    assert event.sample_count == audio[under_way]
                    told.add(under_way)
            case Interrupted():
                assert event.response_id == under_way and not cut
                assert 0 <= event.heard_samples <= audio[under_way]
                cut = True
            case ResponseCompleted():
                assert event.response_id in (under_way, *turns)
                if event.finish_reason in (FinishReason.STOP, FinishReason.LENGTH):
                    assert event.response_id in told and not cut
                under_way = None if event.response_id == under_way else under_way


# A call that nothing may disturb


@functools.cache
def undisturbed(engine: antiphon.Engine) -> list[Received]:
    """What the engine answers a healthy call when it is alone."""
    return asyncio.run(asked_of_the_engine(engine, decode_mu_law(mulaw_question()), 8_000, "And then?"))


async def healthy_call(server: Server, expected: Sequence[Received], api_key: str | None = None) -> None:
    """A call that nothing may disturb."""
    async with antiphon.Client(target(server), api_key) as client, client.call(MANUAL) as call:
        question = mulaw_question()
        for start in range(0, len(question), 160):
            await call.push_audio(question[start : start + 160])
            await asyncio.sleep(0)
        await call.commit()
        await call.push_text("And then?")
        await call.finish()
        for one in expected:
            check_answer(await call.answer(), one, "the wave beside another call", TOLERANCE["wave-in-company"])


Act = Callable[[Server], Awaitable[None]]


def beside_a_healthy_call(
    engine: antiphon.Engine, act: Act, settings: ServiceSettings = UNPACED, **others: Any
) -> None:
    """Do `act`, and see the calls beside it, and one after it, go on as if they were alone."""

    expected = undisturbed(engine)

    async def run() -> None:
        async with serving(engine, settings, **others) as server:
            done = asyncio.Event()

            async def call_until_done() -> None:
                while True:
                    await healthy_call(server, expected)
                    if done.is_set():
                        return

            beside = asyncio.create_task(call_until_done())
            try:
                await act(server)
            finally:
                done.set()
                await beside
            await nothing_left(server)
            await healthy_call(server, expected)

    asyncio.run(asyncio.wait_for(run(), HANGS))


# A call by hand, for what `antiphon.Client` would not send


@dataclass
class Ended:
    """How a call ended."""

    code: str
    reason: str
    message: str
    status: status_pb2.Status | None

    def detail(self, kind: type[Any]) -> Any:
        """The first detail of a kind; None: there is none."""
        found = kind()
        for packed in self.status.details if self.status is not None else ():
            if packed.Unpack(found):
                return found
        return None


class RawCall:
    """A Converse stream, message by message."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Any = ()) -> None:
        self.stream = dialogue_pb2_grpc.DialogueServiceStub(channel).Converse(metadata=metadata)
        self._end = Ending(self.stream)
        self._responses = aiter(self.stream)
        self.seen: list[dialogue_pb2.ConverseResponse] = []

    async def send(self, request: ConverseRequest | None = None, **fields: Any) -> None:
        """A request, or one with these fields. One that cannot be sent any more is dropped, as a network would."""
        try:
            await self.stream.write(request if request is not None else ConverseRequest(**fields))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass

    async def read(self) -> dialogue_pb2.ConverseResponse | None:
        """The next response; None after the last."""
        try:
            response = await anext(self._responses, None)
        except grpc.aio.AioRpcError:
            return None
        if response is None:
            return None
        self.seen.append(response)
        return response

    async def until(self, kind: str) -> Any:
        """The next event of a kind."""
        while (response := await self.read()) is not None:
            if response.WhichOneof("response") == kind:
                return getattr(response, kind)
        raise AssertionError(f"the call ended before {kind}: {await self.ending()}")

    async def ending(self) -> Ended:
        """Read to the end, and how that was."""
        while await self.read() is not None:
            pass
        await self.stream.code()
        return ending_of(await self._end.error())


def ending_of(error: grpc.aio.AioRpcError | None) -> Ended:
    """A call's end, with the details of its status."""
    if error is None:
        return Ended("OK", "", "", None)
    code, metadata = error.code(), error.trailing_metadata()
    status = None
    for key, value in metadata or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
    info = error_details_pb2.ErrorInfo()
    found = any(packed.Unpack(info) for packed in status.details) if status is not None else False
    if status is not None:
        assert code_pb2.Code.Name(status.code) == code.name
        assert found and info.domain == "antiphon", status
    return Ended(code.name, info.reason, error.details() or "", status)


@asynccontextmanager
async def raw_call(server: Server, **config: Any) -> AsyncIterator[RawCall]:
    """A stream by hand; with `config`, it is sent and SessionStarted awaited."""
    async with grpc.aio.insecure_channel(target(server)) as channel:
        call = RawCall(channel)
        if config:
            await call.send(**config)
            await call.until("session_started")
        yield call
        call.stream.cancel()


def spoken(config: CallConfig = MANUAL, **changes: Any) -> CallConfig:
    """A call's settings with something else in them."""
    return replace(config, **changes)


@functools.cache
def tiny_engine() -> antiphon.Engine:
    """One engine for all wire tests of a run."""
    return exact_engine()
