"""100,000 messages of Converse that nobody would send. Whatever they are, the server goes on, and never says INTERNAL.

Hypothesis draws what messages are made of, a few of each kind at a time, and a seed; from that, each example sends
hundreds of messages: as drawn, with their bytes changed, or out of nothing. That is what bounds the run: drawing every
message by itself would take minutes.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from wire import ConverseRequest, ending_of, healthy_call, nothing_left, serving, target, tiny_engine, undisturbed

from antiphon.engine.service import endpoints
from antiphon.engine.service.client_ending import Ending
from antiphon.engine.service.server import Server
from antiphon.engine.service.settings import ServiceSettings
from antiphon.v1 import audio_pb2, dialogue_pb2, session_pb2

MESSAGES = 100_000
PER_EXAMPLE = 1_000
AT_ONCE = 100  # sent before it is asked whether the call still goes on
FINE = {"OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}
UNPARSED = "/antiphon.v1.DialogueService/Converse"
PROBE = ConverseRequest().SerializeToString()

int64 = st.integers(-(2**63), 2**63 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
name = st.one_of(st.just("@"), st.text(max_size=8))  # "@": an answer of this call
seconds = st.builds(Duration, seconds=st.one_of(st.integers(-2, 4_000), int64), nanos=int32)
detection = st.builds(
    session_pb2.TurnDetection,
    mode=st.integers(0, 3),
    speech_threshold=st.none() | st.floats(),
    prefix_padding=st.none() | seconds,
    end_silence=st.none() | seconds,
    min_barge_in_speech=st.none() | seconds,
    no_barge_in_window=st.none() | seconds,
    idle_timeout=st.none() | seconds,
)
audio_format = st.builds(
    audio_pb2.AudioFormat,
    encoding=st.integers(0, 4),
    sample_rate_hertz=st.sampled_from([0, 8_000, 16_000, 22_050, 44_100, -1]),
    channel_count=st.integers(-1, 2),
)
content = st.one_of(
    st.fixed_dictionaries({"text": st.text(max_size=9)}),
    st.fixed_dictionaries({"speech_tokens": st.builds(audio_pb2.SpeechTokens, ids=st.lists(int32, max_size=4))}),
    st.fixed_dictionaries(
        {"interleaved_tokens": st.builds(audio_pb2.InterleavedTokens, ids=st.lists(int32, max_size=4))}
    ),
)
history = st.lists(st.builds(lambda role, said: session_pb2.HistoryItem(role=role, **said), st.integers(0, 3), content))
sampling = st.builds(
    session_pb2.Sampling,
    temperature=st.none() | st.floats(),
    top_p=st.none() | st.floats(),
    top_k=st.none() | int32,
    seed=st.none() | int64,
    max_output_tokens=st.integers(-1, 3),
)
any_config = st.builds(
    session_pb2.SessionConfig,
    input_audio=st.none() | audio_format,
    output_audio=st.none() | audio_format,
    output_chunk=st.none() | seconds,
    turn_detection=st.none() | detection,
    sampling=sampling,
    instructions=st.text(max_size=9),
    history=history,
    resume_window=st.none() | seconds,
)
harmless = st.one_of(
    st.builds(lambda data: {"audio": dialogue_pb2.AudioInput(data=data)}, st.binary(max_size=80)),
    st.builds(lambda text: {"text": dialogue_pb2.TextInput(text=text)}, st.text(max_size=20)),
    st.just({"commit_input": dialogue_pb2.CommitInput()}),
    st.just({"clear_input": dialogue_pb2.ClearInput()}),
    st.builds(lambda one: {"cancel_response": dialogue_pb2.CancelResponse(response_id=one)}, name),
    st.builds(
        lambda one, at, end: {
            "playback_update": dialogue_pb2.PlaybackUpdate(response_id=one, played_samples=at, stopped=end)
        },
        name,
        int64,
        st.booleans(),
    ),
    st.builds(lambda update: {"config_update": dialogue_pb2.ConfigUpdate(turn_detection=update)}, detection),
    st.just({}),
).map(lambda fields: ConverseRequest(**fields))
deadly = st.one_of(
    st.builds(lambda config: ConverseRequest(config=config), any_config),
    st.builds(
        lambda one, token, last: ConverseRequest(
            resume=dialogue_pb2.Resume(session_id=one, resume_token=token, last_event_sequence=last)
        ),
        name,
        name,
        int64,
    ),
)
opening = st.sampled_from(
    [
        session_pb2.SessionConfig(
            input_audio=audio_pb2.AudioFormat(encoding=2, sample_rate_hertz=8_000),
            output_audio=audio_pb2.AudioFormat(encoding=encoding, sample_rate_hertz=8_000),
            turn_detection=session_pb2.TurnDetection(mode=mode),
            sampling=session_pb2.Sampling(temperature=0.0, max_output_tokens=length),
            enable_text_deltas=True,
            enable_turn_history=True,
        )
        for encoding in (1, 3)
        for mode in (1, 2)
        for length in (1, 1, 1, 30)
    ]
)


class Fuzzer:
    """Sends one example, over as many calls as it takes."""

    def __init__(self, channel: grpc.aio.Channel, rng: random.Random, taken: Callable[[], int]) -> None:
        """`taken`: how many messages the server has taken in so far."""
        self._taken = taken
        self._converse = channel.stream_stream(UNPARSED)  # bytes as they are
        self._rng = rng
        self._stream: Any = None
        self._ending: Ending | None = None
        self._reader: asyncio.Task[None] | None = None
        self._probed = asyncio.Event()
        self._answer = ""

    async def run(self, config: session_pb2.SessionConfig, kind: list[ConverseRequest], bad: list[bytes]) -> None:
        enough = self._taken() + PER_EXAMPLE
        while self._taken() < enough:
            if self._stream is None:
                await self._open(ConverseRequest(config=config).SerializeToString())
            for _ in range(AT_ONCE):
                await self._write(self._filled(self._rng.choice(kind)))
            if self._rng.random() < 0.5:
                await self._write(self._mutated(self._rng.choice(bad)))
            if not await self._survived():
                await self._close()
        if self._stream is None:
            return
        if self._rng.random() < 0.5:
            await self._stream.done_writing()
            await self._close()
        else:
            self._stream.cancel()

    def _filled(self, request: ConverseRequest) -> bytes:
        part = getattr(request, request.WhichOneof("request") or "audio")
        if getattr(part, "response_id", "") == "@":
            request = ConverseRequest.FromString(request.SerializeToString())
            getattr(request, request.WhichOneof("request") or "").response_id = self._answer
        return request.SerializeToString()

    def _mutated(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._rng.randrange(4)):
            match self._rng.randrange(4):
                case 0 if changed:
                    changed[self._rng.randrange(len(changed))] = self._rng.randrange(256)
                case 1 if changed:
                    del changed[self._rng.randrange(len(changed)) :]
                case 2:
                    changed[0:0] = self._rng.randbytes(self._rng.randrange(1, 6))
                case _:
                    changed += changed[: self._rng.randrange(len(changed) + 1)]
        return bytes(changed)

    async def _open(self, opening: bytes) -> None:
        self._stream = self._converse()
        self._ending = Ending(self._stream)
        await self._write(opening)
        self._reader = asyncio.create_task(self._read(self._stream))

    async def _write(self, data: bytes) -> None:
        if self._stream is None or self._stream.done():
            return
        try:
            await self._stream.write(data)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the call has ended: how, is asked later

    async def _survived(self) -> bool:
        """Whether the call goes on: an empty message is refused when all before it was taken in."""
        assert self._reader is not None
        self._probed.clear()
        await self._write(PROBE)
        probed = asyncio.create_task(self._probed.wait())
        await asyncio.wait([probed, self._reader], return_when=asyncio.FIRST_COMPLETED)
        probed.cancel()
        return not self._reader.done()

    async def _close(self) -> None:
        """The call has ended: by a reason that fits."""
        if self._stream is None:
            return
        stream, self._stream = self._stream, None
        if self._reader is not None:
            await self._reader
            self._reader = None
        await stream.code()
        ending = ending_of(await self._ending.error() if self._ending is not None else None)
        assert ending.code in FINE and (ending.code == "OK" or ending.reason), ending

    async def _read(self, stream: Any) -> None:
        sequence = 0
        try:
            async for data in stream:
                response = dialogue_pb2.ConverseResponse.FromString(data)
                sequence += response.event_sequence > 0
                assert response.event_sequence in (0, sequence), "events are counted without gaps"
                kind = response.WhichOneof("response")
                if kind == "error":
                    assert response.error.code != code_pb2.INTERNAL, response
                    if b"REQUEST_UNKNOWN" in data:
                        self._probed.set()
                elif kind == "response_started":
                    self._answer = response.response_started.response_id
                elif kind == "response_completed":
                    assert response.response_completed.error.code != code_pb2.INTERNAL, response
        except grpc.aio.AioRpcError:
            pass


def test_nothing_that_is_sent_does_harm(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    taken = 0
    read = endpoints.Call.read

    async def counted(call: Any) -> Any:
        nonlocal taken
        request = await read(call)
        taken += request is not None
        return request

    monkeypatch.setattr(endpoints.Call, "read", counted)
    limits = ServiceSettings(
        port=0, max_output_lead=600.0, max_utilisation=0.0, max_audio_per_minute=0.0, max_waiting_turns=1
    )
    expected = undisturbed(tiny_engine())
    runner = asyncio.Runner()
    context = serving(tiny_engine(), limits)
    server: Server = runner.run(context.__aenter__())
    channel = runner.run(_channel(server))

    @given(
        config=opening,
        kind=st.lists(harmless, min_size=8, max_size=24),
        bad=st.lists(
            st.one_of(deadly.map(ConverseRequest.SerializeToString), st.binary(max_size=64)), min_size=4, max_size=8
        ),
        seed=st.integers(0, 2**32),
    )
    @settings(
        max_examples=MESSAGES // PER_EXAMPLE,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    def fuzz(config: Any, kind: list[ConverseRequest], bad: list[bytes], seed: int) -> None:
        runner.run(asyncio.wait_for(Fuzzer(channel, random.Random(seed), lambda: taken).run(config, kind, bad), 60))

    with caplog.at_level(logging.ERROR):
        fuzz()
    runner.run(channel.close())
    runner.run(nothing_left(server))
    runner.run(healthy_call(server, expected))
    runner.run(context.__aexit__(None, None, None))
    runner.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text
    assert taken >= MESSAGES


async def _channel(server: Server) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(target(server))
