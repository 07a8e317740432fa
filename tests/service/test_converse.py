"""A call from its first message to its end, over a real engine and without a network."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from callers import ask
from checkpoints import tiny_checkpoint
from conversations import LINEAR16, MULAW, SERVER_VAD, Call, clip, config, ids_of, run
from engines import exact_engine
from google.rpc import error_details_pb2

import antiphon
from antiphon.engine.hear.codec import decode_mu_law, encode_mu_law, float_to_pcm16
from antiphon.engine.service.host import Host
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.engine.think.sampling import SamplingParams
from antiphon.v1 import audio_pb2, dialogue_pb2, events_pb2

STOP = events_pb2.ResponseCompleted.FINISH_REASON_STOP
LENGTH = events_pb2.ResponseCompleted.FINISH_REASON_LENGTH
INTERRUPTED = events_pb2.ResponseCompleted.FINISH_REASON_INTERRUPTED


@pytest.fixture(scope="module")
def engine() -> Iterator[antiphon.Engine]:
    with exact_engine() as engine:
        yield engine


def direct(engine: antiphon.Engine, pcm: np.ndarray, rate: int) -> tuple[list[int], list[int], np.ndarray]:
    """What the embedded engine makes of the same turn: heard ids, answer ids, wave."""

    async def one() -> tuple[list[int], list[int], np.ndarray]:
        sampling = SamplingParams(temperature=0.0, top_p=0.8, max_new_tokens=60)
        async with engine.session(antiphon.SessionConfig(sampling=sampling)) as session:
            received = await ask(session, pcm, rate)
            return received.heard_ids, received.answer_ids, received.wave

    return asyncio.run(one())


def test_mu_law_in_and_native_audio_out_are_the_engines_own(engine: antiphon.Engine) -> None:
    pcm, rate = clip("rate_8000")
    sent = encode_mu_law(pcm).tobytes()
    heard = engine.tokenizer.encode(decode_mu_law(sent), 8_000)
    _, answer, wave = direct(engine, decode_mu_law(sent), 8_000)

    async def test(host: Host) -> None:
        for piece in (len(sent), 160, 1):
            async with Call(host) as call:
                call.ask(config=config(8_000, MULAW))
                data, rest = (sent[:300], sent[300:]) if piece == 1 else (sent, b"")
                call.hear(data, piece)
                call.hear(rest or b"")
                call.ask(commit_input={})
                call.end_side()
                await call.end()
                [completed] = call.all("response_completed")
                assert ids_of(completed.history) == [heard, answer]
                assert call.audio() == float_to_pcm16(wave).tobytes()
                assert completed.usage.input_audio_tokens == len(heard)
                [turn] = call.all("turn_ended")
                assert (turn.start_sample, turn.end_sample) == (0, len(sent))
                sequence = [event.event_sequence for event in call.received]
                assert sequence == [0, *range(1, len(sequence))]

    run(engine, test)


def test_the_events_of_a_turn_come_in_their_order(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(None, output_chunk={"nanos": 40_000_000}))
            call.ask(text={"text": "hello"})
            call.end_side()
            await call.end()
        kinds = call.kinds
        assert kinds[:3] == ["session_started", "turn_ended", "response_started"]
        assert kinds[-2:] == ["audio_completed", "response_completed"]
        assert set(kinds[3:-2]) == {"text_delta", "audio"}
        offsets = [one.sample_offset for one in call.all("audio")]
        assert all(len(one.data) == 2 * 882 for one in call.all("audio")[:-1])
        assert offsets == [882 * n for n in range(len(offsets))]
        [completed] = call.all("audio_completed")
        assert completed.sample_count * 2 == len(call.audio()) > 0
        [started] = call.all("session_started")
        assert started.config.sampling.seed >= 0 and started.config.turn_detection.prefix_padding.nanos == 300_000_000
        assert started.resume_token == ""

    run(engine, test)


@pytest.mark.parametrize(("encoding", "rate"), [(LINEAR16, 8_000), (LINEAR16, 48_000), (MULAW, 8_000)])
def test_other_rates_have_every_sample_of_the_answer(engine: antiphon.Engine, encoding: int, rate: int) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            output = audio_pb2.AudioFormat(encoding=encoding, sample_rate_hertz=rate)
            call.ask(config=config(None, output_audio=output))
            call.ask(text={"text": "hello"})
            call.end_side()
            await call.end()
        [completed] = call.all("response_completed")
        seconds = completed.usage.output_audio_duration.ToTimedelta().total_seconds()
        samples = len(call.audio()) / (1 if encoding == MULAW else 2)
        assert abs(samples - seconds * rate) <= 1

    run(engine, test)


def test_a_turn_over_the_limit_is_committed_and_goes_on_in_the_next() -> None:
    limited = antiphon.EngineConfig(max_turn_seconds=1.0)

    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(16_000))
            call.hear(bytes(2 * 24_000))
            call.ask(commit_input={})
            call.end_side()
            await call.end()
        spans = [(turn.reason, turn.start_sample, turn.end_sample) for turn in call.all("turn_ended")]
        reason = events_pb2.TurnEnded
        assert spans == [(reason.REASON_LIMIT, 0, 16_000), (reason.REASON_COMMITTED, 16_000, 24_000)]
        assert [len(ids_of(one.history)[0]) for one in call.all("response_completed")] == [13, 7]

    with antiphon.Engine.load(tiny_checkpoint(), device="cpu", config=limited) as engine:
        run(engine, test)


def test_requests_that_cannot_be_are_refused_and_the_call_goes_on(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(16_000))
            call.ask(commit_input={})
            call.ask(clear_input={})
            call.ask(cancel_response={"response_id": "nobody"})
            call.ask(playback_update={"response_id": "nobody", "played_samples": -5, "stopped": True})
            call.ask(audio={"data": b""})
            call.ask(audio={"data": bytes(3_200)})
            call.ask(text={"text": "too early"})
            call.ask(clear_input={})
            call.ask(text={"text": "  "})
            call.ask_raw(dialogue_pb2.ConverseRequest.FromString(b"\xa2\x06\x02hi"))
            call.ask(config_update={"turn_detection": {"end_silence": {"seconds": -1}}})
            call.ask(config_update={"turn_detection": {"mode": SERVER_VAD}})
            call.ask(config_update={"turn_detection": {"mode": 77}})
            call.ask(config_update={})
            call.ask(text={"text": "and this is answered"})
            call.end_side()
            await call.end()
        reasons = []
        for error in call.all("error"):
            info = error_details_pb2.ErrorInfo()
            assert error.details[0].Unpack(info)
            reasons.append((info.metadata["request"], info.reason))
        assert reasons == [
            ("commit_input", "TURN_EMPTY"),
            ("text", "TURN_HOLDS_AUDIO"),
            ("text", "FIELD_INVALID"),
            ("", "REQUEST_UNKNOWN"),
            *[("config_update", "FIELD_INVALID")] * 4,
        ]
        assert [one.finish_reason for one in call.all("response_completed")] == [LENGTH]

    run(engine, test)


BAD_CALLS = {
    "text first": ([{"text": {"text": "hi"}}], Reason.CONFIG_MISSING),
    "nothing": ([], Reason.CONFIG_MISSING),
    "config twice": ([{"config": config()}, {"config": config()}], Reason.CONFIG_REPEATED),
    "resume late": ([{"config": config()}, {"resume": {}}], Reason.CONFIG_REPEATED),
    "resume of nothing": ([{"resume": {"session_id": "x", "resume_token": "y"}}], Reason.SESSION_UNKNOWN),
    "odd bytes": ([{"config": config()}, {"audio": {"data": b"abc"}}], Reason.AUDIO_MALFORMED),
    "no format": ([{"config": config(None)}, {"audio": {"data": b"ab"}}], Reason.INPUT_FORMAT_MISSING),
    "rate": ([{"config": config(44_100)}], Reason.FIELD_INVALID),
    "µ-law at 16 kHz": ([{"config": config(16_000, MULAW)}], Reason.FIELD_INVALID),
    "encoding": ([{"config": config(16_000, 99)}], Reason.FIELD_INVALID),
    "two channels": (
        [{"config": config(None, input_audio={"encoding": 1, "sample_rate_hertz": 8_000, "channel_count": 2})}],
        Reason.FIELD_INVALID,
    ),
    "mode": ([{"config": config(turn_detection={"mode": 9})}], Reason.FIELD_INVALID),
    "vad without audio": ([{"config": config(None, turn_detection={"mode": SERVER_VAD})}], Reason.FIELD_INVALID),
    "threshold": ([{"config": config(turn_detection={"speech_threshold": float("nan")})}], Reason.FIELD_INVALID),
    "padding": ([{"config": config(turn_detection={"prefix_padding": {"seconds": 21}})}], Reason.FIELD_INVALID),
    "temperature": ([{"config": config(sampling={"temperature": float("inf")})}], Reason.FIELD_INVALID),
    "seed": ([{"config": config(sampling={"seed": -1})}], Reason.FIELD_INVALID),
    "chunk": ([{"config": config(output_chunk={"nanos": 19_999_999})}], Reason.FIELD_INVALID),
    "window": ([{"config": config(resume_window={"seconds": 301})}], Reason.FIELD_INVALID),
    "duration": ([{"config": config(resume_window={"seconds": 1, "nanos": 2_000_000_000})}], Reason.FIELD_INVALID),
    "odd history": ([{"config": config(history=[{"role": 1, "text": "hi"}])}], Reason.FIELD_INVALID),
    "roles": ([{"config": config(history=[{"role": 2, "text": "a"}, {"role": 1, "text": "b"}])}], Reason.FIELD_INVALID),
    "no content": ([{"config": config(history=[{"role": 1}, {"role": 2, "text": "b"}])}], Reason.FIELD_INVALID),
    "ids of a user": (
        [{"config": config(history=[{"role": 1, "interleaved_tokens": {"ids": [1]}}, {"role": 2, "text": "b"}])}],
        Reason.FIELD_INVALID,
    ),
    "ids out of range": (
        [{"config": config(history=[{"role": 1, "speech_tokens": {"ids": [-1]}}, {"role": 2, "text": "b"}])}],
        Reason.FIELD_INVALID,
    ),
    "another codec": (
        [
            {
                "config": config(
                    history=[{"role": 1, "speech_tokens": {"ids": [1], "codec_id": "other"}}, {"role": 2, "text": "b"}]
                )
            }
        ],
        Reason.MODEL_MISMATCH,
    ),
    "items": (
        [{"config": config(history=[{"role": 1 + n % 2, "text": "a"} for n in range(258)])}],
        Reason.HISTORY_TOO_LARGE,
    ),
    "ids": (
        [
            {
                "config": config(
                    history=[{"role": 1, "text": "a"}, {"role": 2, "interleaved_tokens": {"ids": [1] * 9_000}}]
                )
            }
        ],
        Reason.HISTORY_TOO_LARGE,
    ),
    "instructions": ([{"config": config(instructions="x" * 32_769)}], Reason.FIELD_INVALID),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_call_that_cannot_be_ends_with_its_reason(engine: antiphon.Engine, name: str) -> None:
    requests, reason = BAD_CALLS[name]

    async def test(host: Host) -> None:
        async with Call(host) as call:
            for request in requests:
                call.ask(**request)
            call.end_side()
            with pytest.raises(RefusalError) as refused:
                await call.end()
            assert refused.value.reason is reason and str(refused.value)

    run(engine, test)


def test_enum_values_and_fields_of_the_future(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            future = dialogue_pb2.ConverseRequest(config=config(16_000)).SerializeToString() + b"\xa2\x06\x02hi"
            call.ask_raw(dialogue_pb2.ConverseRequest.FromString(future))
            await call.event("session_started")
            call.end_side()
            await call.end()

    run(engine, test)
