"""What befalls a server while it runs: its engine dies, its line is TLS, its clients ping and pong."""

import asyncio
from contextlib import suppress
from pathlib import Path

import grpc
import grpc.aio
import pytest
from certificates import Authority
from checkpoints import tiny_checkpoint
from grpc_health.v1 import health_pb2, health_pb2_grpc
from served import refusal, serving

import antiphon
from antiphon.engine.errors import InputError
from antiphon.engine.service.health import MAX_WATCHES
from antiphon.engine.service.server import Server
from antiphon.engine.service.settings import ServiceSettings, limits
from antiphon.engine.service.tls import TlsFiles
from antiphon.v1 import (
    audio_pb2,
    dialogue_pb2,
    dialogue_pb2_grpc,
    model_info_pb2,
    session_pb2,
    speech_tokenizer_pb2_grpc,
)
from antiphon.v1.speech_tokenizer_pb2 import TokenizeRequest

CODE = grpc.StatusCode
HEALTH = health_pb2.HealthCheckRequest()
FORMAT = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_MULAW, sample_rate_hertz=8_000)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # its thread dies
def test_doors_open_after_the_warm_up_and_close_when_the_engine_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        server = Server(engine, ServiceSettings(port=0), "tiny")
        life = asyncio.create_task(server.run())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub, health = dialogue_pb2_grpc.DialogueServiceStub(channel), health_pb2_grpc.HealthStub(channel)
            info = model_info_pb2.GetModelInfoRequest()
            watch = health.Watch(HEALTH)
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            told = await refusal(stub.GetModelInfo(info))
            assert (told.code, told.reason, told.retry) == (CODE.UNAVAILABLE, "NOT_READY", True)
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            assert engine.stats.speak_batches > 0  # the warm-up has gone all the way
            await stub.GetModelInfo(info)

            call = stub.Converse()
            await call.write(dialogue_pb2.ConverseRequest(config=session_pb2.SessionConfig()))
            await call.read()

            def dies() -> bool:
                raise MemoryError("the device is gone")

            monkeypatch.setattr(engine._loop, "step", dies)
            tokenizer = speech_tokenizer_pb2_grpc.SpeechTokenizerServiceStub(channel)
            clip = tokenizer.Tokenize(TokenizeRequest(audio=bytes(800), audio_format=FORMAT))
            for lost in await asyncio.gather(refusal(call.read()), refusal(clip)):
                assert (lost.code, lost.reason) == (CODE.UNAVAILABLE, "ENGINE_LOST"), lost
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            async with asyncio.timeout(10.0):
                assert await life is False

    with antiphon.Engine.load(tiny_checkpoint(), device="cpu") as engine:
        asyncio.run(test())


def test_an_engine_that_cannot_answer_never_opens_its_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(requests: object) -> None:
        raise RuntimeError("no kernel image is available")

    async def test() -> None:
        server = Server(engine, ServiceSettings(port=0), "tiny")
        async with asyncio.timeout(30.0):
            assert await server.run() is False
        assert not server.host.ready

    with antiphon.Engine.load(tiny_checkpoint(), device="cpu") as engine:
        monkeypatch.setattr(engine.decoder, "begin", fails)
        asyncio.run(test())


def test_watches_take_no_room_from_calls() -> None:
    async def test() -> None:
        async with served.channel() as channel:
            health, info = (
                health_pb2_grpc.HealthStub(channel),
                dialogue_pb2_grpc.DialogueServiceStub(channel).GetModelInfo,
            )
            watches = [health.Watch(HEALTH) for _ in range(MAX_WATCHES)]
            for watch in watches:
                assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            told = await refusal(health.Watch(HEALTH).read())
            assert (told.code, told.reason, told.retry) == (CODE.RESOURCE_EXHAUSTED, "SERVER_FULL", True)
            assert (await health.Check(HEALTH)).status == health_pb2.HealthCheckResponse.SERVING
            assert (await info(model_info_pb2.GetModelInfoRequest())).model == "tiny"
            watches[0].cancel()
            again = health.Watch(HEALTH)
            while await asyncio.wait_for(_first(again), 5.0) is None:
                again = health.Watch(HEALTH)
            for watch in (*watches, again):
                watch.cancel()

    with serving(ServiceSettings(port=0, max_calls=2, max_streams_per_connection=300)) as served:
        served.run(test())


async def _first(watch: grpc.aio.UnaryStreamCall) -> object | None:
    """What it is told; None: it was refused."""
    try:
        return await watch.read()
    except grpc.aio.AioRpcError:
        await asyncio.sleep(0.01)
        return None


def test_an_address_that_is_not_ours_is_refused_with_what_to_look_at() -> None:
    with antiphon.Engine.load(tiny_checkpoint(), device="cpu") as engine:

        async def test() -> None:
            with pytest.raises(InputError, match="--host no address of this machine"):
                Server(engine, ServiceSettings(host="192.0.2.1", port=0), "tiny")

        asyncio.run(test())


def test_over_tls_it_serves_who_trusts_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server_files, client_files = authority.sign("localhost"), authority.sign("client")
    tls = TlsFiles(server_files.certificate, server_files.key, authority.certificate)

    async def test(target: str) -> None:
        own = (client_files.key.read_bytes(), client_files.certificate.read_bytes())
        for pair, is_served in (((None, None), False), (own, True)):
            trust = grpc.ssl_channel_credentials(authority.certificate.read_bytes(), *pair)
            options = (("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1))
            async with grpc.aio.secure_channel(target, trust, options) as channel:
                info = dialogue_pb2_grpc.DialogueServiceStub(channel).GetModelInfo
                if is_served:
                    assert (await info(model_info_pb2.GetModelInfoRequest())).model == "tiny"
                else:
                    assert (await refusal(info(model_info_pb2.GetModelInfoRequest()))).code is CODE.UNAVAILABLE

    with serving(ServiceSettings(port=0), tls=tls) as served:
        served.run(test(served.target))


def test_pings_without_calls_are_tolerated_as_often_as_is_said() -> None:
    assert ServiceSettings().ping_interval <= 10.0  # so clients may ping every 10 s

    async def survives(seconds: float) -> bool:
        """Whether the server goes on with a connection that pings so often and does nothing else."""
        reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(_SETTINGS))
        frames: list[int] = []
        reading = asyncio.create_task(read_frames(reader, frames))
        for _ in range(8):
            writer.write(http2_frame(_PING, bytes(8)))
            await asyncio.sleep(seconds)
        writer.close()
        reading.cancel()
        assert frames.count(_PING) > 1
        return _GOAWAY not in frames

    with serving(ServiceSettings(port=0, ping_interval=0.2)) as served:
        assert served.run(survives(0.25))
        assert not served.run(survives(0.02))


_SETTINGS, _PING, _GOAWAY = 4, 6, 7  # RFC 9113, section 6


def http2_frame(kind: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, 0)) + bytes(4) + payload


async def read_frames(reader: asyncio.StreamReader, kinds: list[int]) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readexactly(9)
            kinds.append(head[3])
            await reader.readexactly(int.from_bytes(head[:3]))


def test_settings_out_of_range_are_named() -> None:
    for limit in limits():
        with pytest.raises(InputError, match=limit.name):
            ServiceSettings(**{limit.name: -1})
        with pytest.raises(InputError, match=limit.name):
            ServiceSettings(**{limit.name: float("nan")})
        for endless in (float("inf"), 10**30):
            with pytest.raises(InputError, match=f"--{limit.name.replace('_', '-')}.*at most"):
                ServiceSettings(**{limit.name: endless})
    assert ServiceSettings().max_speech_tokens == 60 * 12.5
    with pytest.raises(InputError, match="port"):
        ServiceSettings(port=65_536)
    assert [ServiceSettings(host=host).is_loopback for host in ("127.0.0.2", "::1", "localhost")] == [True] * 3
    assert [ServiceSettings(host=host).is_loopback for host in ("0.0.0.0", "::", "host.example")] == [False] * 3
    assert ServiceSettings(host="::1", port=7).address == "[::1]:7"
