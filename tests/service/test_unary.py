"""Respond, Tokenize, Detokenize: what the Python face gives, over the wire, and what is refused."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from goldens import golden
from served import Refusal, Served, refusal, serving
from tolerances import TOLERANCE

import antiphon
from antiphon.engine.config import SessionConfig
from antiphon.engine.hear.codec import decode_a_law, decode_mu_law, encode_mu_law, float_to_pcm16, read_audio
from antiphon.engine.hear.resample import resample
from antiphon.engine.service import wire_history
from antiphon.engine.service.quotas import AudioPerMinute
from antiphon.engine.service.settings import ServiceSettings
from antiphon.engine.think.sampling import SamplingParams
from antiphon.engine.types import Float32Array
from antiphon.events import AudioOutput, ResponseCompleted, TextDelta
from antiphon.v1 import audio_pb2, dialogue_pb2_grpc, events_pb2, session_pb2, speech_tokenizer_pb2_grpc
from antiphon.v1.audio_pb2 import AudioFormat, SpeechTokens
from antiphon.v1.dialogue_pb2 import RespondRequest
from antiphon.v1.speech_tokenizer_pb2 import DetokenizeRequest, TokenizeRequest

CODE = grpc.StatusCode
LINEAR16_16K = AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000)
LINEAR16_8K = AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=8_000)
MULAW = AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_MULAW, sample_rate_hertz=8_000)
ALAW = AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_ALAW, sample_rate_hertz=8_000)
CODES = [7 * i % 500 for i in range(40)]
GREEDY = session_pb2.Sampling(temperature=0.0, max_output_tokens=100)
NO_LIMIT_NEEDED = ServiceSettings(port=0, max_clips=2, max_audio_per_minute=100_000.0)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(NO_LIMIT_NEEDED) as served:
        yield served


def speech() -> Float32Array:
    """At 8 kHz, as it is after µ-law."""
    pcm, rate = read_audio(golden("speech_tokenizer/wav/rate_8000.wav"))
    assert rate == 8_000
    return pcm[0]


def dialogues(channel: grpc.aio.Channel) -> dialogue_pb2_grpc.DialogueServiceStub:
    return dialogue_pb2_grpc.DialogueServiceStub(channel)


def tokenizer(channel: grpc.aio.Channel) -> speech_tokenizer_pb2_grpc.SpeechTokenizerServiceStub:
    return speech_tokenizer_pb2_grpc.SpeechTokenizerServiceStub(channel)


def levels(audio: bytes) -> np.ndarray:
    return np.frombuffer(audio, "<i2").astype(np.int32)


async def spoken(call: grpc.aio.UnaryStreamCall) -> bytes:
    """All of a Detokenize's audio."""
    audio = b""
    async for piece in call:
        audio += piece.audio
    return audio


async def answer(
    channel: grpc.aio.Channel, request: RespondRequest
) -> tuple[str, bytes, events_pb2.ResponseCompleted, list[int]]:
    """Text, audio, end, and the sizes of the audio's packets."""
    text, audio, sizes = "", b"", []
    call = dialogues(channel).Respond(request)
    assert (await call.read()).HasField("response_started")
    while (event := await call.read()) is not grpc.aio.EOF:
        match event.WhichOneof("response"):
            case "text_delta":
                text += event.text_delta.text
            case "audio":
                audio += event.audio.data
                sizes.append(len(event.audio.data))
            case "response_completed":
                assert await call.read() is grpc.aio.EOF and await call.code() is CODE.OK
                return text, audio, event.response_completed, sizes
    raise AssertionError("the answer did not end")


async def answer_of_engine(engine: antiphon.Engine, pcm: Float32Array, rate: int) -> tuple[str, Float32Array]:
    """The same turn by the Python face."""
    config = SessionConfig(sampling=SamplingParams(temperature=0.0, max_new_tokens=100))
    text, waves = "", []
    async with engine.session(config) as session:
        await session.push_audio(pcm, rate)
        await session.commit()
        async for event in session.events():
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, AudioOutput):
                waves.append(event.samples)
            elif isinstance(event, ResponseCompleted):
                return text, np.concatenate(waves)
    raise AssertionError("the answer did not end")


def test_respond_gives_what_the_python_face_gives(served: Served) -> None:
    pcm = speech()
    mulaw = encode_mu_law(pcm).tobytes()
    config = session_pb2.SessionConfig(
        input_audio=MULAW, sampling=GREEDY, enable_text_deltas=True, enable_turn_history=True
    )
    config.output_chunk.FromMilliseconds(60)

    async def test() -> None:
        engine = served.server.host.engine
        text, wave = await answer_of_engine(engine, decode_mu_law(mulaw), 8_000)
        async with served.channel() as channel:
            got_text, audio, end, sizes = await answer(channel, RespondRequest(config=config, audio=mulaw))
            assert got_text == text and text
            assert audio == float_to_pcm16(wave).astype("<i2").tobytes()
            assert set(sizes[:-1]) == {2 * (22_050 * 60 // 1000)}
            assert [item.WhichOneof("content") for item in end.history] == ["speech_tokens", "interleaved_tokens"]
            assert end.timing.HasField("first_audio") and end.usage.input_audio_duration.ToMilliseconds() > 0

            # At 8 kHz A-law it is the same wave, resampled.
            config.output_audio.CopyFrom(ALAW)
            _, audio, _, _ = await answer(channel, RespondRequest(config=config, audio=mulaw))
            expected = resample(wave, 22_050, 8_000)
            assert len(audio) == expected.size
            heard = decode_a_law(audio)
            assert np.abs(heard - np.clip(expected, -1, 1)).max() < 0.05

            text, audio, _, _ = await answer(channel, RespondRequest(text="Hello", config={"sampling": GREEDY}))
            assert text == "" and audio  # text is sent where it is asked for
        assert await served.is_idle()

    served.run(test())


def test_tokenize_and_detokenize_are_the_two_ends_beside_running_dialogues(served: Served) -> None:
    engine = served.server.host.engine
    pcm = speech()
    linear16 = float_to_pcm16(pcm).astype("<i2").tobytes()
    request = RespondRequest(
        config=session_pb2.SessionConfig(input_audio=LINEAR16_8K, sampling=GREEDY, enable_turn_history=True),
        audio=linear16,
    )
    stream = engine.decoder.stream("reference")
    wave = np.concatenate([stream.push(CODES), stream.finish("stop")])
    ids = engine.tokenizer.encode(np.frombuffer(linear16, "<i2") / np.float32(32_768), 8_000)

    async def test() -> None:
        async with served.channel() as channel:
            alone = await answer(channel, request)
            clip = TokenizeRequest(audio=linear16, audio_format=LINEAR16_8K)
            codes = DetokenizeRequest(tokens=SpeechTokens(ids=CODES))
            together = await asyncio.gather(
                answer(channel, request),
                answer(channel, request),
                tokenizer(channel).Tokenize(clip),
                spoken(tokenizer(channel).Detokenize(codes)),
            )
            for both in together[:2]:
                assert list(both[2].history[1].interleaved_tokens.ids) == list(
                    alone[2].history[1].interleaved_tokens.ids
                )
                moved = np.abs(levels(both[1]) - levels(alone[1])).max()
                assert moved <= TOLERANCE["wave-in-company"] * 32_768 + 1  # and each is rounded to a level of 16 bits
            assert list(together[0][2].history[0].speech_tokens.ids) == ids
            assert list(together[2].tokens.ids) == ids
            assert together[2].audio_duration.ToMilliseconds() == round(pcm.size / 8)
            assert together[3] == float_to_pcm16(wave).astype("<i2").tobytes()

            codes.output_audio.CopyFrom(MULAW)
            codes.tokens.codec_id = together[2].tokens.codec_id
            assert len(await spoken(tokenizer(channel).Detokenize(codes))) == resample(wave, 22_050, 8_000).size
        assert await served.is_idle()

    served.run(test())


ODD = bytes(3)
BAD_RESPOND = {
    "no turn": (RespondRequest(), "INVALID_ARGUMENT", "FIELD_INVALID", "turn"),
    "no format": (RespondRequest(audio=bytes(320)), "INVALID_ARGUMENT", "FIELD_INVALID", "config.input_audio"),
    "white space": (RespondRequest(text=" \n"), "INVALID_ARGUMENT", "FIELD_INVALID", "text"),
    "odd bytes": (
        RespondRequest(audio=ODD, config={"input_audio": LINEAR16_16K}),
        "INVALID_ARGUMENT",
        "AUDIO_MALFORMED",
        None,
    ),
    "no audio": (
        RespondRequest(audio=b"", config={"input_audio": LINEAR16_16K}),
        "INVALID_ARGUMENT",
        "AUDIO_MALFORMED",
        None,
    ),
    "too long": (
        RespondRequest(audio=bytes(8_000 * 61), config={"input_audio": MULAW}),
        "INVALID_ARGUMENT",
        "AUDIO_TOO_LONG",
        None,
    ),
    "rate": (
        RespondRequest(
            audio=bytes(2),
            config={"input_audio": {"encoding": audio_pb2.AUDIO_ENCODING_LINEAR16, "sample_rate_hertz": 1_000}},
        ),
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
        "config.input_audio.sample_rate_hertz",
    ),
    "live settings": (
        RespondRequest(text="x", config={"resume_window": {"seconds": 1}}),
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
        "config.resume_window",
    ),
    "a chunk of two signs": (
        RespondRequest(text="x", config={"output_chunk": {"seconds": 1, "nanos": -900_000_000}}),
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
        "config.output_chunk",
    ),
    "a past turn of white space": (
        RespondRequest(text="x", config={"history": [{"role": 1, "text": " "}, {"role": 2, "text": ""}]}),
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
        "config.history[0].text",
    ),
    "a past turn of no speech": (
        RespondRequest(text="x", config={"history": [{"role": 1, "speech_tokens": {}}, {"role": 2, "text": "a"}]}),
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
        "config.history[0].speech_tokens.ids",
    ),
}


async def refused(served: Served, request: RespondRequest) -> Refusal:
    async with served.channel() as channel:
        return await refusal(answer(channel, request))


@pytest.mark.parametrize("name", BAD_RESPOND)
def test_respond_refuses_by_name(served: Served, name: str) -> None:
    request, code, reason, field = BAD_RESPOND[name]

    async def test() -> None:
        async with served.channel() as channel:
            call = dialogues(channel).Respond(request)
            told = await refusal(call.read())
            assert (told.code.name, told.reason) == (code, reason), told
            assert field is None or told.fields == [field]
        assert await served.is_idle()

    served.run(test())


def test_a_call_without_its_request_says_what_is_missing(served: Served) -> None:
    async def test() -> None:
        async with served.channel() as channel:
            call = channel.stream_stream("/antiphon.v1.DialogueService/Respond")()
            await call.done_writing()
            told = await refusal(call.read())
            assert (told.reason, told.fields) == ("FIELD_INVALID", ["request"]), told
        assert await served.is_idle()

    served.run(test())


MANY_IDS = [{"role": 1, "text": "a"}, {"role": 2, "interleaved_tokens": {"ids": [1] * 2_000_000}}]
MANY_CODES = [{"role": 1, "speech_tokens": {"ids": [1] * 2_000_000}}, {"role": 2, "text": "a"}]
MUCH_TEXT = [{"role": 1 + index % 2, "text": "a" * 31_000} for index in range(252)]


@pytest.mark.parametrize("history", [MANY_IDS, MANY_CODES, MUCH_TEXT], ids=["ids", "codes", "text"])
def test_a_huge_history_is_refused_before_anything_walks_it(
    served: Served, monkeypatch: pytest.MonkeyPatch, history: list[dict[str, Any]]
) -> None:
    def walks(*_: object) -> None:
        raise AssertionError("it was looked at id by id")

    monkeypatch.setattr(wire_history, "_check_ids", walks)
    monkeypatch.setattr(served.server.host.engine.lm, "chat_prompt", walks)
    told = served.run(refused(served, RespondRequest(text="x", config={"history": history})))
    assert (told.reason, told.fields) == ("HISTORY_TOO_LARGE", ["config.history"]), told


def test_a_history_is_made_a_prompt_once_and_beside_the_loop(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    lm, threads = served.server.host.engine.lm, []
    chat_prompt = lm.chat_prompt

    def watched(*arguments: Any) -> list[int]:
        threads.append(threading.current_thread())
        return chat_prompt(*arguments)

    monkeypatch.setattr(lm, "chat_prompt", watched)
    history = [{"role": 1, "text": "Hello"}, {"role": 2, "text": "Hello to you"}]
    config = session_pb2.SessionConfig(history=history, sampling=GREEDY)

    async def test() -> None:
        async with served.channel() as channel:
            await answer(channel, RespondRequest(text="And now?", config=config))
        assert await served.is_idle()

    served.run(test())
    assert len(threads) == 1 and threads[0] is not threading.main_thread()


def test_the_two_ends_refuse_by_name(served: Served) -> None:
    async def test() -> None:
        async with served.channel() as channel:
            tokenize, detokenize = tokenizer(channel).Tokenize, tokenizer(channel).Detokenize
            for request, reason in (
                (TokenizeRequest(), "FIELD_INVALID"),
                (TokenizeRequest(audio=ODD, audio_format=LINEAR16_16K), "AUDIO_MALFORMED"),
                (TokenizeRequest(audio_format=LINEAR16_16K), "AUDIO_MALFORMED"),
                (TokenizeRequest(audio=bytes(8_000 * 61), audio_format=ALAW), "AUDIO_TOO_LONG"),
                (TokenizeRequest(audio=ODD, audio_format=AudioFormat(encoding=77)), "FIELD_INVALID"),  # type: ignore[arg-type]
            ):
                told = await refusal(tokenize(request))
                assert (told.code, told.reason) == (CODE.INVALID_ARGUMENT, reason), told
            for ids in ([], [-1], [512], [1] * 751, [600] * 2_000_000):
                told = await refusal(spoken(detokenize(DetokenizeRequest(tokens=SpeechTokens(ids=ids)))))
                assert (told.code, told.fields) == (CODE.INVALID_ARGUMENT, ["tokens.ids"]), told
            other = DetokenizeRequest(tokens=SpeechTokens(ids=[1], codec_id="another"))
            told = await refusal(spoken(detokenize(other)))
            assert (told.code, told.reason) == (CODE.FAILED_PRECONDITION, "MODEL_MISMATCH")
        assert await served.is_idle()

    served.run(test())


def test_more_clips_than_allowed_are_told_to_come_back(served: Served) -> None:
    async def test() -> None:
        async with served.channel() as channel:
            codes = DetokenizeRequest(tokens=SpeechTokens(ids=CODES))
            calls = [asyncio.create_task(spoken(tokenizer(channel).Detokenize(codes))) for _ in range(4)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert sum(isinstance(result, bytes) for result in results) == 2
            for result in results:
                if not isinstance(result, bytes):
                    assert isinstance(result, grpc.aio.AioRpcError) and result.code() is CODE.RESOURCE_EXHAUSTED
        assert await served.is_idle()

    served.run(test())


def test_quotas_hold_for_single_turns_and_clips(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    quotas = served.server.host.quotas

    async def test() -> None:
        async with served.channel() as channel:
            held = [quotas.dialogue(None) for _ in range(NO_LIMIT_NEEDED.max_dialogues_per_key)]
            told = await refusal(answer(channel, RespondRequest(text="Hello")))
            assert (told.code, told.reason) == (CODE.RESOURCE_EXHAUSTED, "DIALOGUE_QUOTA")
            for lease in held:
                lease.release()

            monkeypatch.setattr(quotas, "audio", AudioPerMinute(2.0, served.server.host.clock))
            clip = TokenizeRequest(audio=bytes(8_000), audio_format=MULAW)
            assert len((await tokenizer(channel).Tokenize(clip)).tokens.ids) == 13
            spoken_turn = RespondRequest(audio=bytes(9_000), config={"input_audio": MULAW})
            told = await refusal(answer(channel, spoken_turn))
            assert (told.code, told.reason, told.retry) == (CODE.RESOURCE_EXHAUSTED, "AUDIO_QUOTA", True)
        assert await served.is_idle()

    served.run(test())


def test_a_fault_at_one_clip_is_told_as_ours_and_leaves_the_server_well(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = served.server.host.engine

    def fails(requests: object) -> None:
        raise RuntimeError("words of a caller")

    async def test() -> None:
        async with served.channel() as channel:
            clip = TokenizeRequest(audio=bytes(3_200), audio_format=LINEAR16_16K)
            with monkeypatch.context() as broken:
                broken.setattr(engine.tokenizer, "run", fails)
                told = await refusal(tokenizer(channel).Tokenize(clip))
                assert (told.code, told.reason) == (CODE.INTERNAL, "TURN_FAILED")
                assert "words" not in told.message
                request = RespondRequest(audio=bytes(3_200), config={"input_audio": LINEAR16_16K})
                assert (await refused(served, request)).reason == "TURN_FAILED"
            assert len((await tokenizer(channel).Tokenize(clip)).tokens.ids) == 2
        assert await served.is_idle()

    served.run(test())
