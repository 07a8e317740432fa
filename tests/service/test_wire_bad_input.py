"""What a caller may get wrong, or do on purpose: each refused by its reason, beside calls that hear nothing of it."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from wire import (
    MANUAL,
    PACED,
    ConverseRequest,
    RawCall,
    beside_a_healthy_call,
    check_order,
    mulaw_question,
    raw_call,
    spoken,
    target,
    tiny_engine,
)

import antiphon
from antiphon.client import AudioOutput, CallConfig, Interrupted, Sampling
from antiphon.engine.service.client_config import config_to_wire
from antiphon.engine.service.server import Server
from antiphon.engine.service.settings import ServiceSettings
from antiphon.v1 import (
    audio_pb2,
    dialogue_pb2,
    session_pb2,
)

CONFIG = config_to_wire(MANUAL)
VAD = config_to_wire(spoken(turn_detection=antiphon.client.TurnDetection()))
LINEAR = session_pb2.SessionConfig(
    input_audio=audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000)
)


def config(**fields: Any) -> ConverseRequest:
    """A `config` with these fields in place of the healthy ones."""
    wire = session_pb2.SessionConfig()
    wire.CopyFrom(CONFIG)
    for name in fields:
        wire.ClearField(name)
    wire.MergeFrom(session_pb2.SessionConfig(**fields))
    return ConverseRequest(config=wire)


def audio(data: bytes) -> ConverseRequest:
    return ConverseRequest(audio=dialogue_pb2.AudioInput(data=data))


def text(words: str) -> ConverseRequest:
    return ConverseRequest(text=dialogue_pb2.TextInput(text=words))


def audio_format(encoding: int, rate: int, channels: int = 0) -> audio_pb2.AudioFormat:
    return audio_pb2.AudioFormat(encoding=encoding, sample_rate_hertz=rate, channel_count=channels)


def item(role: int, **content: Any) -> session_pb2.HistoryItem:
    return session_pb2.HistoryItem(role=role, **content)


COMMIT = ConverseRequest(commit_input=dialogue_pb2.CommitInput())
SPEECH = audio_pb2.SpeechTokens
USER, ASSISTANT = session_pb2.ROLE_USER, session_pb2.ROLE_ASSISTANT
UNKNOWN_FIELDS = b"\xf2\x3f\x05hello\xa8\x46\x07"  # fields 1,022 and 1,125 of nobody's


def with_unknown_fields(request: ConverseRequest) -> ConverseRequest:
    return ConverseRequest.FromString(request.SerializeToString() + UNKNOWN_FIELDS)


@dataclass(frozen=True)
class Wrong:
    """Requests of one call, and how it must end: the reason, and the field that is named."""

    requests: Sequence[ConverseRequest]
    code: str
    reason: str
    field: str = ""


INVALID = "INVALID_ARGUMENT"
ENDINGS = {
    "no message": Wrong([], INVALID, "CONFIG_MISSING"),
    "an empty message first": Wrong([ConverseRequest()], INVALID, "CONFIG_MISSING"),
    "audio first": Wrong([audio(b"abc")], INVALID, "CONFIG_MISSING"),
    "config twice": Wrong([config(), config()], INVALID, "CONFIG_REPEATED"),
    "config late": Wrong([config(), audio(b"abc"), COMMIT, config()], INVALID, "CONFIG_REPEATED"),
    "resume late": Wrong([config(), ConverseRequest(resume=dialogue_pb2.Resume())], INVALID, "CONFIG_REPEATED"),
    "odd bytes": Wrong([ConverseRequest(config=LINEAR), audio(b"odd")], INVALID, "AUDIO_MALFORMED"),
    "audio nobody described": Wrong(
        [config(input_audio=None), audio(b"abc")], "FAILED_PRECONDITION", "INPUT_FORMAT_MISSING"
    ),
    "a rate": Wrong([config(input_audio=audio_format(1, 44_100))], INVALID, "FIELD_INVALID", "config.input_audio"),
    "mu-law at 16 kHz": Wrong([config(input_audio=audio_format(2, 16_000))], INVALID, "FIELD_INVALID", "input_audio"),
    "a negative rate": Wrong([config(output_audio=audio_format(1, -1))], INVALID, "FIELD_INVALID", "output_audio"),
    "stereo": Wrong([config(input_audio=audio_format(1, 16_000, 2))], INVALID, "FIELD_INVALID", "channel_count"),
    "minus one channel": Wrong([config(input_audio=audio_format(1, 16_000, -1))], INVALID, "FIELD_INVALID", "channel"),
    "no encoding": Wrong([config(input_audio=audio_format(0, 8_000))], INVALID, "FIELD_INVALID", "encoding"),
    "an unknown encoding": Wrong([config(output_audio=audio_format(99, 8_000))], INVALID, "FIELD_INVALID", "encoding"),
    "an unknown mode": Wrong(
        [config(turn_detection=session_pb2.TurnDetection(mode=17))], INVALID, "FIELD_INVALID", "turn_detection.mode"
    ),
    "an unknown role": Wrong([config(history=[item(9, text="?")])], INVALID, "FIELD_INVALID", "history[0].role"),
    "detection without audio": Wrong(
        [config(input_audio=None, turn_detection=session_pb2.TurnDetection(mode=2))],
        INVALID,
        "FIELD_INVALID",
        "input_audio",
    ),
    "a chunk of a second": Wrong([config(output_chunk=Duration(seconds=1))], INVALID, "FIELD_INVALID", "output_chunk"),
    "a chunk out of time": Wrong(
        [config(output_chunk=Duration(seconds=-(2**62), nanos=-(2**31)))], INVALID, "FIELD_INVALID", "output_chunk"
    ),
    "a temperature of NaN": Wrong(
        [config(sampling=session_pb2.Sampling(temperature=float("nan")))], INVALID, "FIELD_INVALID", "temperature"
    ),
    "no tokens at all": Wrong(
        [config(sampling=session_pb2.Sampling(max_output_tokens=0))], INVALID, "FIELD_INVALID", "max_output_tokens"
    ),
    "a window of a year": Wrong(
        [config(resume_window=Duration(seconds=31_536_000))], INVALID, "FIELD_INVALID", "resume_window"
    ),
    "endless instructions": Wrong([config(instructions="a" * 40_000)], INVALID, "FIELD_INVALID", "instructions"),
    "a history that begins with the model": Wrong(
        [config(history=[item(ASSISTANT, text="hello")])], INVALID, "FIELD_INVALID", "history"
    ),
    "a history of nothing": Wrong([config(history=[item(USER), item(ASSISTANT)])], INVALID, "FIELD_INVALID", "history"),
    "codes out of range": Wrong(
        [config(history=[item(USER, speech_tokens=SPEECH(ids=[10**6])), item(ASSISTANT, text="a")])],
        INVALID,
        "FIELD_INVALID",
        "history[0]",
    ),
    "another model's codes": Wrong(
        [config(history=[item(USER, speech_tokens=SPEECH(ids=[1], codec_id="other")), item(ASSISTANT, text="a")])],
        "FAILED_PRECONDITION",
        "MODEL_MISMATCH",
    ),
    "a history of hundreds": Wrong(
        [config(history=[item(USER, text="a"), item(ASSISTANT, text="b")] * 300)], INVALID, "HISTORY_TOO_LARGE"
    ),
    "a message too large": Wrong([config(), audio(bytes(70_000))], "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE"),
    "audio from the future": Wrong(
        [ConverseRequest(config=VAD), *[audio(bytes(32_000))] * 4], "RESOURCE_EXHAUSTED", "AUDIO_TOO_FAST"
    ),
    "a dialogue nobody knows": Wrong(
        [ConverseRequest(resume=dialogue_pb2.Resume(session_id="x", resume_token="y"))],
        "FAILED_PRECONDITION",
        "SESSION_UNKNOWN",
    ),
}


def test_calls_end_by_the_reason_that_fits() -> None:
    async def act(server: Server) -> None:
        for name, wrong in ENDINGS.items():
            async with raw_call(server) as call:
                for request in wrong.requests:
                    await call.send(request)
                if not wrong.requests:
                    await call.stream.done_writing()
                ending = await asyncio.wait_for(call.ending(), 20)
            assert (ending.code, ending.reason) == (wrong.code, wrong.reason), (name, ending)
            if wrong.field:
                bad = ending.detail(error_details_pb2.BadRequest)
                assert bad is not None, (name, ending)
                assert any(wrong.field in violation.field for violation in bad.field_violations), (name, bad)
                assert all(violation.description for violation in bad.field_violations)

    beside_a_healthy_call(tiny_engine(), act)


REFUSALS: dict[str, tuple[ConverseRequest, str, str]] = {
    "a commit of nothing": (COMMIT, "commit_input", "TURN_EMPTY"),
    "a message without a request": (ConverseRequest(), "", "REQUEST_UNKNOWN"),
    "a request from the future": (ConverseRequest.FromString(UNKNOWN_FIELDS), "", "REQUEST_UNKNOWN"),
    "white space": (text(" \n\t "), "text", "FIELD_INVALID"),
    "no text": (text(""), "text", "FIELD_INVALID"),
    "too much text": (text("ü" * 32_000 + "a" * 769), "text", "FIELD_INVALID"),
    "another mode": (
        ConverseRequest(config_update=dialogue_pb2.ConfigUpdate(turn_detection=session_pb2.TurnDetection(mode=2))),
        "config_update",
        "FIELD_INVALID",
    ),
    "an update of nothing known": (
        ConverseRequest(
            config_update=dialogue_pb2.ConfigUpdate(turn_detection=session_pb2.TurnDetection(speech_threshold=7))
        ),
        "config_update",
        "FIELD_INVALID",
    ),
}


def test_requests_are_refused_and_the_call_goes_on() -> None:
    async def act(server: Server) -> None:
        async with raw_call(server, config=CONFIG) as call:
            for name, (request, kind, reason) in REFUSALS.items():
                await call.send(request)
                error = await call.until("error")
                info = error_details_pb2.ErrorInfo()
                assert any(packed.Unpack(info) for packed in error.details)
                assert (info.reason, info.metadata["request"]) == (reason, kind), name
            await call.send(audio(mulaw_question()))
            await call.send(text("into the middle of it"))
            error = await call.until("error")
            assert "TURN_HOLDS_AUDIO" in str(error)
            await call.send(COMMIT)
            assert (await call.until("response_completed")).finish_reason

    beside_a_healthy_call(tiny_engine(), act)


def test_unknown_fields_are_ignored_and_empty_audio_is_nothing() -> None:
    async def act(server: Server) -> None:
        async with raw_call(server) as call:
            await call.send(with_unknown_fields(config()))
            await call.until("session_started")
            for start in range(0, 8_000, 160):
                await call.send(audio(b""))
                await call.send(with_unknown_fields(audio(mulaw_question()[start : start + 160])))
            await call.send(with_unknown_fields(COMMIT))
            ended = await call.until("turn_ended")
            assert (ended.start_sample, ended.end_sample) == (0, 8_000)
            await call.until("response_completed")

    beside_a_healthy_call(tiny_engine(), act)


def test_a_byte_at_a_time_a_thousand_times_a_second() -> None:
    async def act(server: Server) -> None:
        async with raw_call(server, config=CONFIG) as call:
            question = mulaw_question()[:2_000]
            begun = asyncio.get_running_loop().time()
            for sent in range(2_000):
                await call.send(audio(question[sent : sent + 1]))
                await asyncio.sleep(max(0.0, begun + sent * 0.001 - asyncio.get_running_loop().time()))
            await call.send(COMMIT)
            assert (await call.until("turn_ended")).end_sample == 2_000
            await call.until("response_completed")

    beside_a_healthy_call(tiny_engine(), act)


def test_playback_reports_that_cannot_be_are_not_believed() -> None:
    async def act(server: Server) -> None:
        async with antiphon.Client(target(server)) as client:
            async with client.call(spoken(sampling=Sampling(temperature=0.0, max_output_tokens=200))) as call:
                await call.push_text("tell me a story")
                events, seen = call.events(), []
                async for event in events:
                    seen.append(event)
                    if isinstance(event, AudioOutput):
                        break
                name = seen[-1].response_id
                await call.report_playback(10**12, "another answer", stopped=True)
                await call.report_playback(-5, name)
                await call.report_playback(2_205, name)
                await call.report_playback(100, name)
                await asyncio.sleep(0.3)
                await call.report_playback(2**62, name)
                await call.report_playback(3, name)
                await call.report_playback(2**62, name, stopped=True)
                await call.finish()
                seen += [event async for event in events]
        check_order(seen)
        (cut,) = [event for event in seen if isinstance(event, Interrupted)]
        assert 2_205 <= cut.heard_samples < 3 * 22_050, "no more than can have been played"

    beside_a_healthy_call(tiny_engine(), act, PACED)


def test_callers_who_hang_up_at_any_moment() -> None:
    async def act(server: Server) -> None:
        async with grpc.aio.insecure_channel(target(server)) as channel:
            for moment in range(12):
                call = RawCall(channel)
                await call.send(config())
                if moment % 4 == 1:
                    await call.until("session_started")
                elif moment % 4 == 2:
                    await call.send(text("hello"))
                    await call.until("audio")
                elif moment % 4 == 3:
                    writing = asyncio.create_task(call.send(audio(mulaw_question())))
                    await asyncio.sleep(0)
                    call.stream.cancel()
                    await asyncio.gather(writing, return_exceptions=True)
                call.stream.cancel()
        for _ in range(3):  # the whole connection, in the middle of an answer
            async with antiphon.Client(target(server)) as client, client.call(MANUAL) as call:
                await call.push_text("hello")
                async for event in call.events():
                    if isinstance(event, AudioOutput):
                        break

    beside_a_healthy_call(tiny_engine(), act)


def test_a_client_that_stops_reading_is_let_go() -> None:
    settings = ServiceSettings(port=0, max_output_lead=600.0, max_utilisation=0.0, read_timeout=1.0)
    loud = config_to_wire(
        CallConfig(
            output_audio=antiphon.client.linear16(48_000), sampling=Sampling(temperature=0.0, max_output_tokens=200)
        )
    )

    async def act(server: Server) -> None:
        # A small window, so that little lies between server and client.
        options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16_384)]
        async with grpc.aio.insecure_channel(target(server), options) as channel:
            call = RawCall(channel)
            await call.send(ConverseRequest(config=loud))
            await call.until("session_started")
            for _ in range(5):
                await call.send(text("tell me a long story"))
            await asyncio.sleep(0.1)
            await nothing_left_but_healthy(server)
            ending = await call.ending()
            assert (ending.code, ending.reason) == ("RESOURCE_EXHAUSTED", "CLIENT_TOO_SLOW")

    async def nothing_left_but_healthy(server: Server) -> None:
        async with asyncio.timeout(30):
            while server._endpoints.n_calls > 1:
                await asyncio.sleep(0.05)

    beside_a_healthy_call(tiny_engine(), act, settings)


def test_a_thousand_connections_that_say_nothing() -> None:
    settings = ServiceSettings(port=0, max_output_lead=600.0, max_utilisation=0.0, config_timeout=1.0)

    async def act(server: Server) -> None:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(900)]
        try:
            async with grpc.aio.insecure_channel(target(server)) as channel:
                quiet = [RawCall(channel) for _ in range(100)]
                # gRPC opens a stream with its first message or its end; the metadata alone opens these.
                waits = [asyncio.create_task(call.ending()) for call in quiet]
                endings = await asyncio.wait_for(asyncio.gather(*waits), 30)
            assert {(ending.code, ending.reason) for ending in endings} == {("INVALID_ARGUMENT", "CONFIG_MISSING")}
        finally:
            for connection in silent:
                connection.close()

    beside_a_healthy_call(tiny_engine(), act, settings)
