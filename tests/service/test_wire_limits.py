"""Keys, quotas, and what the calls of one message refuse."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from wire import (
    HANGS,
    MANUAL,
    UNPACED,
    beside_a_healthy_call,
    ending_of,
    mulaw_question,
    nothing_left,
    serving,
    spoken,
    target,
    tiny_engine,
)

import antiphon
from antiphon.client import CallConfig
from antiphon.engine.clock import MonotonicClock
from antiphon.engine.service.client_config import config_to_wire
from antiphon.engine.service.keys import ApiKeys
from antiphon.engine.service.server import Server
from antiphon.v1 import (
    audio_pb2,
    dialogue_pb2,
    dialogue_pb2_grpc,
    session_pb2,
    speech_tokenizer_pb2,
    speech_tokenizer_pb2_grpc,
)

CONFIG = config_to_wire(MANUAL)
VAD = config_to_wire(spoken(turn_detection=antiphon.client.TurnDetection()))
LINEAR = session_pb2.SessionConfig(
    input_audio=audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000)
)
SPEECH = audio_pb2.SpeechTokens
INVALID = "INVALID_ARGUMENT"
GOOD, OTHER = "g" * 40, "o" * 40
Rpc = Callable[[antiphon.Client], Awaitable[Any]]


def audio_format(encoding: int, rate: int) -> audio_pb2.AudioFormat:
    return audio_pb2.AudioFormat(encoding=encoding, sample_rate_hertz=rate)


async def call_of(client: antiphon.Client) -> None:
    async with client.call(MANUAL) as call:
        await call.push_text("hello")
        await call.answer()


async def detokenize(client: antiphon.Client) -> None:
    async for _ in client.detokenize([1, 2, 3]):
        pass


RPCS: dict[str, Rpc] = {
    "Converse": call_of,
    "Respond": lambda client: client.answer("hello", CallConfig(output_audio=antiphon.client.MULAW_8K)),
    "Tokenize": lambda client: client.tokenize(mulaw_question(), antiphon.client.MULAW_8K),
    "Detokenize": detokenize,
    "GetModelInfo": lambda client: client.model_info(),
}


def test_wrong_missing_and_revoked_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"good:{GOOD}\nother:{OTHER}\n")

    async def run() -> None:
        keys = ApiKeys(file, MonotonicClock())
        async with serving(tiny_engine(), UNPACED, keys=keys) as server:
            for key, reason in ((None, "API_KEY_MISSING"), ("wrong" * 8, "API_KEY_INVALID")):
                async with antiphon.Client(target(server), api_key=key) as client:
                    for name, rpc in RPCS.items():
                        with pytest.raises(antiphon.errors.AuthenticationError) as told:
                            await rpc(client)
                        assert told.value.reason == reason, name
            async with (
                antiphon.Client(target(server), api_key=GOOD) as good,
                antiphon.Client(target(server), api_key=OTHER) as other,
                good.call(MANUAL) as healthy,
                other.call(MANUAL) as revoked,
            ):
                (tmp_path / "new").write_text(f"good:{GOOD}\n")
                (tmp_path / "new").rename(file)
                with pytest.raises(antiphon.errors.AuthenticationError) as told:
                    async for _ in revoked.events():
                        pass
                assert told.value.reason == "API_KEY_INVALID"
                with pytest.raises(antiphon.errors.AuthenticationError):
                    await other.model_info()
                await healthy.push_text("still there?")
                assert (await healthy.answer()).audio.data

    asyncio.run(asyncio.wait_for(run(), HANGS))


def test_quotas_are_met_and_given_back() -> None:
    settings = replace(UNPACED, max_dialogues_per_key=2, max_audio_per_minute=30.0, max_waiting_turns=2)

    async def act(server: Server) -> None:
        async with antiphon.Client(target(server)) as client:
            async with client.call(MANUAL) as call:
                with pytest.raises(antiphon.errors.LimitError) as told:
                    for _ in range(10):
                        async with client.call(MANUAL) as third:
                            await third.push_text("hello")
                            await asyncio.sleep(0.2)
                assert told.value.reason == "DIALOGUE_QUOTA"
                for _ in range(5):
                    await call.push_text("hello")
                await call.finish()
                reasons = [
                    event.error.reason async for event in call.events() if hasattr(event, "error") and event.error
                ]
                assert reasons and set(reasons) == {"TOO_MANY_TURNS"}
            with pytest.raises(antiphon.errors.LimitError) as told:
                async with client.call(MANUAL) as call:
                    await call.push_audio(mulaw_question() * 40)
                    async for _ in call.events():
                        pass
            assert told.value.reason == "AUDIO_QUOTA" and told.value.retry_after

    async def run() -> None:
        async with serving(tiny_engine(), settings) as server:
            async with antiphon.Client(target(server)) as client, client.call(MANUAL):
                await act(server)
            await nothing_left(server)

    asyncio.run(asyncio.wait_for(run(), HANGS))


def test_the_unary_calls_refuse_what_they_cannot_use() -> None:
    good = audio_format(2, 8_000)
    too_long = b"\xff" * (61 * 8_000)

    async def ends(call: Any) -> tuple[str, str]:
        try:
            if hasattr(call, "read"):
                async for _ in call:
                    pass
            else:
                await call
        except grpc.aio.AioRpcError as error:
            ending = ending_of(error)
            return ending.code, ending.reason
        return "OK", ""

    async def act(server: Server) -> None:
        async with grpc.aio.insecure_channel(target(server)) as channel:
            tokenizer = speech_tokenizer_pb2_grpc.SpeechTokenizerServiceStub(channel)
            dialogue = dialogue_pb2_grpc.DialogueServiceStub(channel)
            tokenize = speech_tokenizer_pb2.TokenizeRequest
            detokenize = speech_tokenizer_pb2.DetokenizeRequest
            for request, expected in (
                (tokenize(audio_format=good), (INVALID, "AUDIO_MALFORMED")),
                (tokenize(audio=b"abc", audio_format=audio_format(1, 8_000)), (INVALID, "AUDIO_MALFORMED")),
                (tokenize(audio=b"abc"), (INVALID, "FIELD_INVALID")),
                (tokenize(audio=too_long, audio_format=good), (INVALID, "AUDIO_TOO_LONG")),
            ):
                assert await ends(tokenizer.Tokenize(request)) == expected, expected
            for spoken_request, expected in (
                (detokenize(), (INVALID, "FIELD_INVALID")),
                (detokenize(tokens=SPEECH(ids=[-1])), (INVALID, "FIELD_INVALID")),
                (detokenize(tokens=SPEECH(ids=[10**6])), (INVALID, "FIELD_INVALID")),
                (detokenize(tokens=SPEECH(ids=[1] * 5_000)), (INVALID, "FIELD_INVALID")),
                (detokenize(tokens=SPEECH(ids=[1], codec_id="x")), ("FAILED_PRECONDITION", "MODEL_MISMATCH")),
                (
                    detokenize(tokens=SPEECH(ids=[1]), output_audio=audio_format(3, 16_000)),
                    (INVALID, "FIELD_INVALID"),
                ),
            ):
                assert await ends(tokenizer.Detokenize(spoken_request)) == expected, expected
            respond = dialogue_pb2.RespondRequest
            window = session_pb2.SessionConfig(resume_window=Duration(seconds=1))
            for turn, expected in (
                (respond(), (INVALID, "FIELD_INVALID")),
                (respond(text=" "), (INVALID, "FIELD_INVALID")),
                (respond(text="a", config=window), (INVALID, "FIELD_INVALID")),
                (respond(text="a", config=VAD), (INVALID, "FIELD_INVALID")),
                (respond(audio=b"", config=CONFIG), (INVALID, "AUDIO_MALFORMED")),
                (respond(audio=b"odd", config=LINEAR), (INVALID, "AUDIO_MALFORMED")),
                (respond(audio=too_long, config=CONFIG), (INVALID, "AUDIO_TOO_LONG")),
            ):
                assert await ends(dialogue.Respond(turn)) == expected, expected

    beside_a_healthy_call(tiny_engine(), act)
