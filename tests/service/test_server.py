"""The server by real clients: who may call, what is served, and what no client can do to it."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc._cython.cygrpc import ExecuteBatchError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from served import Served, refusal, serving, until

from antiphon.engine.service.endpoints import Call
from antiphon.engine.service.host import Caller, ClientGoneError
from antiphon.engine.service.quotas import SizeLimit
from antiphon.engine.service.settings import ServiceSettings
from antiphon.v1 import (
    audio_pb2,
    dialogue_pb2,
    dialogue_pb2_grpc,
    model_info_pb2,
    session_pb2,
    speech_tokenizer_pb2_grpc,
)
from antiphon.v1.speech_tokenizer_pb2 import TokenizeRequest

KEYS = {"alice": "alice-has-a-key-of-thirty-two-characters", "bob": "bob-has-a-key-of-thirty-two-characters-too"}
CODE = grpc.StatusCode
FORMAT = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000)
CONVERSE = "/antiphon.v1.DialogueService/Converse"


def write_keys(path: Path, *names: str) -> None:
    path.with_suffix(".new").write_text("".join(f"{name}:{KEYS[name]}\n" for name in names))
    path.with_suffix(".new").replace(path)


def bearer(name: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {KEYS[name]}"),)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    write_keys(path, "alice", "bob")
    return path


@pytest.fixture(scope="module")
def locked(key_file: Path) -> Iterator[Served]:
    """A server that asks for keys."""
    with serving(ServiceSettings(port=0, reflection=True), key_file=key_file) as served:
        yield served


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A server for everyone, short of patience."""
    settings = ServiceSettings(port=0, config_timeout=1.0, read_timeout=1.0, max_calls=1_100, max_clips=2)
    with serving(settings) as served:
        yield served


def test_no_call_but_health_is_answered_without_a_key(locked: Served) -> None:
    async def test() -> None:
        async with locked.channel() as channel:
            dialogues = dialogue_pb2_grpc.DialogueServiceStub(channel)
            info = dialogues.GetModelInfo
            request = model_info_pb2.GetModelInfoRequest()
            missing = await refusal(info(request))
            assert (missing.code, missing.reason) == (CODE.UNAUTHENTICATED, "API_KEY_MISSING")
            for metadata in (
                (("authorization", "Bearer wrong"),),
                (("authorization", f"Basic {KEYS['alice']}"),),
                (("authorization", f"Bearer {KEYS['alice']}x"),),
                (*bearer("alice"), *bearer("bob")),
            ):
                wrong = await refusal(info(request, metadata=metadata))
                assert wrong.code is CODE.UNAUTHENTICATED and wrong.reason.startswith("API_KEY_"), metadata
                assert KEYS["alice"] not in wrong.message
            assert (await info(request, metadata=bearer("alice"))).model == "tiny"

            # Before any work: a call is refused although it sends nothing.
            async with asyncio.timeout(2.0):
                assert (await refusal(dialogues.Converse().read())).reason == "API_KEY_MISSING"
                assert (await refusal(anext(aiter(dialogues.Respond(dialogue_pb2.RespondRequest()))))).reason == (
                    "API_KEY_MISSING"
                )
                tokenizer = speech_tokenizer_pb2_grpc.SpeechTokenizerServiceStub(channel)
                assert (await refusal(tokenizer.Tokenize(TokenizeRequest()))).reason == "API_KEY_MISSING"
                reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
                assert (await refusal(reflection.ServerReflectionInfo().read())).reason == "API_KEY_MISSING"

            health = health_pb2_grpc.HealthStub(channel)
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == 1

    locked.run(test())


def test_reflection_tells_the_services_to_who_has_a_key(locked: Served) -> None:
    async def test() -> None:
        async with locked.channel() as channel:
            call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(metadata=bearer("bob"))
            await call.write(reflection_pb2.ServerReflectionRequest(list_services="*"))
            services = [service.name for service in (await call.read()).list_services_response.service]
            assert {"antiphon.v1.DialogueService", "antiphon.v1.SpeechTokenizerService"} <= set(services)
            symbol = "antiphon.v1.DialogueService"
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
            assert (await call.read()).file_descriptor_response.file_descriptor_proto
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF and await call.code() is CODE.OK

    locked.run(test())


def test_a_revoked_key_ends_its_calls_and_no_others(locked: Served, key_file: Path) -> None:
    async def test() -> None:
        async with locked.channel() as channel:
            converse = dialogue_pb2_grpc.DialogueServiceStub(channel).Converse
            calls = {name: converse(metadata=bearer(name)) for name in KEYS}
            for call in calls.values():
                await call.write(dialogue_pb2.ConverseRequest(config=session_pb2.SessionConfig()))
                assert (await call.read()).HasField("session_started")
            write_keys(key_file, "bob")
            revoked = await refusal(calls["alice"].read())
            assert (revoked.code, revoked.reason) == (CODE.UNAUTHENTICATED, "API_KEY_INVALID")
            assert (await refusal(converse(metadata=bearer("alice")).read())).reason == "API_KEY_INVALID"
            assert not calls["bob"].done()
            await calls["bob"].done_writing()
            assert await calls["bob"].code() is CODE.OK
        write_keys(key_file, "alice", "bob")

    locked.run(test())


def test_health_speaks_of_each_service(served: Served) -> None:
    async def test() -> None:
        async with served.channel() as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for service in ("", "antiphon.v1.DialogueService", "antiphon.v1.SpeechTokenizerService"):
                assert (await health.Check(health_pb2.HealthCheckRequest(service=service))).status == 1
            assert (await refusal(health.Check(health_pb2.HealthCheckRequest(service="?")))).code is CODE.NOT_FOUND
            watch = health.Watch(health_pb2.HealthCheckRequest(service="?"))
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            watch.cancel()

    served.run(test())


def test_model_info_tells_formats_and_limits(served: Served) -> None:
    async def test() -> None:
        async with served.channel() as channel:
            info = await dialogue_pb2_grpc.DialogueServiceStub(channel).GetModelInfo(
                model_info_pb2.GetModelInfoRequest()
            )
        assert info.native_sample_rate_hertz == 22_050 and info.speech_tokens_per_second == 12.5
        assert len(info.input_formats) == len(info.output_formats) == 7
        assert info.codec_id.startswith("vq-512-") and info.vocabulary_id.startswith("lm-")
        limits = info.limits
        assert limits.max_converse_message_bytes == 65_536 and limits.max_turn_audio.seconds == 60
        assert limits.config_timeout.seconds == 1 and limits.max_context_tokens > 0

    served.run(test())


async def raw(served: Served, method: str, *messages: bytes, ends: bool = True) -> object:
    """How a call ends that sends these bytes."""
    async with served.channel(max_send_message_length=-1) as channel:
        call = channel.stream_stream(method)()

        async def converse() -> object:
            for message in messages:
                await call.write(message)  # raises the call's end, where the server is quicker than we
            if ends:
                await call.done_writing()
            return await call.read()

        return await refusal(converse())


@pytest.mark.parametrize("method", ["Respond", "GetModelInfo", "Converse"])
def test_bytes_that_are_no_message_are_the_clients_mistake(served: Served, method: str) -> None:
    for message in (b"\xff", b"\x0a\xff\xff\xff\xff\x0f", bytes(range(256))):
        told = served.run(raw(served, f"/antiphon.v1.DialogueService/{method}", message))
        assert (told.code, told.reason) == (CODE.INVALID_ARGUMENT, "FIELD_INVALID")


def test_a_call_without_a_message_ends(served: Served) -> None:
    path = "/antiphon.v1.DialogueService/"
    told = served.run(raw(served, path + "GetModelInfo"))
    assert (told.code, told.reason) == (CODE.INVALID_ARGUMENT, "FIELD_INVALID")
    told = served.run(raw(served, path + "GetModelInfo", ends=False))
    assert (told.code, told.reason) == (CODE.INVALID_ARGUMENT, "FIELD_INVALID")
    told = served.run(raw(served, path + "Converse", ends=False))
    assert (told.code, told.reason) == (CODE.INVALID_ARGUMENT, "CONFIG_MISSING")


def test_large_messages_are_refused_and_the_server_stays_well(served: Served) -> None:
    limits = served.server.host.settings
    told = served.run(raw(served, CONVERSE, bytes(limits.max_converse_message_bytes + 1)))
    assert (told.code, told.reason) == (CODE.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")
    for method in (CONVERSE, "/antiphon.v1.SpeechTokenizerService/Tokenize"):
        told = served.run(raw(served, method, bytes(limits.max_unary_message_bytes + 1)))
        assert (told.code, told.reason) == (CODE.RESOURCE_EXHAUSTED, "")  # by gRPC itself
    served.run(is_well(served))


def test_a_method_or_service_that_is_not_there_is_unimplemented(served: Served) -> None:
    for method in (
        "/antiphon.v1.DialogueService/Sing",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ):
        assert served.run(raw(served, method, b"")).code is CODE.UNIMPLEMENTED


async def is_well(served: Served) -> None:
    """Someone else is answered, and nothing is left behind."""
    async with served.channel() as channel:
        tokenize = speech_tokenizer_pb2_grpc.SpeechTokenizerServiceStub(channel).Tokenize
        answer = await tokenize(TokenizeRequest(audio=bytes(3_200), audio_format=FORMAT))
        assert len(answer.tokens.ids) == 2
    assert await served.is_idle(), served.server.host.engine.stats


def test_a_thousand_calls_that_say_nothing_do_no_harm(served: Served) -> None:
    async def test() -> None:
        channels = [served.channel() for _ in range(1_000)]
        calls = [channel.stream_stream(CONVERSE)() for channel in channels]
        assert await until(lambda: served.server.n_calls > 100, 20.0)
        await is_answered(served)
        ends = await asyncio.gather(*(refusal(call.read()) for call in calls))
        assert {end.reason for end in ends} == {"CONFIG_MISSING"}
        assert await until(lambda: served.server.n_calls == 0, 5.0)
        await is_answered(served)  # while all of them stay connected
        await asyncio.gather(*(channel.close() for channel in channels))
        await is_well(served)

    served.run(test())


async def is_answered(served: Served) -> None:
    async with served.channel() as channel, asyncio.timeout(10.0):
        await dialogue_pb2_grpc.DialogueServiceStub(channel).GetModelInfo(model_info_pb2.GetModelInfoRequest())


def test_more_calls_than_allowed_are_told_so(served: Served) -> None:
    async def test() -> None:
        held = [served.server.host.quotas.call() for _ in range(served.server.host.settings.max_calls)]
        try:
            async with served.channel() as channel:
                info = dialogue_pb2_grpc.DialogueServiceStub(channel).GetModelInfo
                told = await refusal(info(model_info_pb2.GetModelInfoRequest()))
                assert (told.code, told.reason, told.retry) == (CODE.RESOURCE_EXHAUSTED, "SERVER_FULL", True)
        finally:
            for lease in held:
                lease.release()
        await is_answered(served)

    served.run(test())


async def respond_at_length(served: Served, channel: grpc.aio.Channel) -> grpc.aio.UnaryStreamCall:
    output = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=48_000)
    config = session_pb2.SessionConfig(output_audio=output, sampling=session_pb2.Sampling(max_output_tokens=2_000))
    request = dialogue_pb2.RespondRequest(text="Tell me everything.", config=config)
    return dialogue_pb2_grpc.DialogueServiceStub(channel).Respond(request)


def test_a_client_that_does_not_read_is_let_go(served: Served) -> None:
    async def test() -> None:
        async with served.channel(**{"http2.bdp_probe": 0, "http2.lookahead_bytes": 16_384}) as channel:
            call = await respond_at_length(served, channel)
            assert (await call.read()).HasField("response_started")
            await is_well(served)  # the call has ended, though the client has noticed nothing

            async def read_on() -> None:
                while await call.read() is not grpc.aio.EOF:
                    pass

            told = await refusal(read_on())
            assert (told.code, told.reason) == (CODE.RESOURCE_EXHAUSTED, "CLIENT_TOO_SLOW")

    served.run(test())


def test_hanging_up_at_any_moment_is_no_fault_of_the_server(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    async def hang_up(channel: grpc.aio.Channel, after: int) -> None:
        call = await respond_at_length(served, channel)
        for _ in range(after // 3):
            await call.read()
        await asyncio.sleep(after % 3 * 0.001)
        call.cancel()

    async def test() -> None:
        for round_of in range(2):
            async with served.channel() as channel:
                await asyncio.gather(*(hang_up(channel, round_of * 10 + number) for number in range(10)))
        await is_well(served)

    served.run(test())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], caplog.records


@pytest.mark.parametrize("error", [ExecuteBatchError("failed"), grpc.aio.UsageError("RPC already finished")])
def test_a_write_that_fails_because_nobody_is_there_says_so(error: Exception) -> None:
    class Context:
        async def write(self, data: bytes) -> None:
            raise error

    async def test() -> None:
        call: Call[Any, Any] = Call(
            Context(),  # type: ignore[arg-type]
            dialogue_pb2.ConverseRequest,
            Caller(None, "peer"),
            SizeLimit(100),
            read_timeout=1.0,
        )
        with pytest.raises(ClientGoneError):
            await call.send(dialogue_pb2.ConverseResponse())

    asyncio.run(test())


@pytest.mark.parametrize("leaves_by", ["cancel", "close", "garbage"])
def test_who_hangs_up_in_the_middle_of_an_answer_leaves_nothing(served: Served, leaves_by: str) -> None:
    async def test() -> None:
        async with served.channel() as channel:
            call = await respond_at_length(served, channel)
            assert (await call.read()).HasField("response_started")
            assert (await call.read()).HasField("audio")
            if leaves_by == "cancel":
                call.cancel()
            elif leaves_by == "close":
                await channel.close()
            else:
                del call
        await is_well(served)

    served.run(test())
