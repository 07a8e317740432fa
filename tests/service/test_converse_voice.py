"""Calls in which the caller's voice takes the turns, over a real engine and without a network."""

from collections.abc import Iterator

import numpy as np
import pytest
from conversations import SERVER_VAD, Call, clip, config, ids_of, pcm16, run
from engines import exact_engine

import antiphon
from antiphon.engine.service.host import ClientGoneError, Host
from antiphon.v1 import events_pb2, session_pb2

STOP = events_pb2.ResponseCompleted.FINISH_REASON_STOP
LENGTH = events_pb2.ResponseCompleted.FINISH_REASON_LENGTH
INTERRUPTED = events_pb2.ResponseCompleted.FINISH_REASON_INTERRUPTED


@pytest.fixture(scope="module")
def engine() -> Iterator[antiphon.Engine]:
    with exact_engine() as engine:
        yield engine


def speech() -> tuple[np.ndarray, int]:
    pcm, rate = clip("en_speech")
    return pcm, rate


def vad(**more: object) -> session_pb2.SessionConfig:
    detection = {"mode": SERVER_VAD} | more.pop("detection", {})  # type: ignore[operator]
    return config(more.pop("rate", 16_000), turn_detection=detection, **more)  # type: ignore[arg-type]


def test_a_spoken_turn_is_heard_whole_however_it_comes(engine: antiphon.Engine) -> None:
    pcm, rate = speech()
    sent = pcm16(np.concatenate([np.zeros(rate), pcm, np.zeros(rate)]))

    async def test(host: Host) -> None:
        seen = []
        for piece in (32_000, 640, 2 * 77):
            async with Call(host) as call:
                call.ask(config=vad(rate=rate))
                call.hear(sent, piece)
                call.end_side()
                await call.end()
            seen.append(
                [(turn.start_sample, turn.end_sample, turn.speech_end_sample) for turn in call.all("turn_ended")]
            )
            assert len(call.all("speech_started")) == len(seen[-1]) >= 1
            floats = np.frombuffer(sent, "<i2").astype(np.float32) / 32_768
            for turn, completed in zip(call.all("turn_ended"), call.all("response_completed"), strict=True):
                if completed.finish_reason != INTERRUPTED:
                    heard = engine.tokenizer.encode(floats[turn.start_sample : turn.end_sample], rate)
                    assert ids_of(completed.history)[0] == heard
        assert seen[0] == seen[1] == seen[2]

    run(engine, test)


def test_speech_into_an_answer_cuts_it_and_is_the_next_turn(engine: antiphon.Engine) -> None:
    pcm, rate = speech()
    question = pcm16(np.concatenate([np.zeros(rate // 2), pcm, np.zeros(rate)]))
    words = pcm16(pcm)
    floats = np.frombuffer(question + words + bytes(2 * rate), "<i2").astype(np.float32) / 32_768

    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=vad(rate=rate, max_output_tokens=200, detection={"no_barge_in_window": {}}))
            call.hear(question, 640)
            first = await call.event("turn_ended")
            for _ in range(3):
                await call.event("audio")
            reported = 4_410
            call.ask(playback_update={"response_id": first.response_id, "played_samples": reported})
            call.hear(words, 640)
            cut = await call.event("interrupted")
            assert cut.reason == events_pb2.Interrupted.REASON_BARGE_IN and cut.response_id == first.response_id
            at = call.received.index(
                next(event for event in call.received if event.WhichOneof("response") == "interrupted")
            )
            after = [event.WhichOneof("response") for event in call.received[at + 1 :]]
            assert "audio" not in after and "text_delta" not in after
            completed = await call.event("response_completed")
            assert completed.finish_reason == INTERRUPTED
            call.hear(bytes(2 * rate), 640)
            call.end_side()
            await call.end()
            turns = call.all("turn_ended")
            assert len(turns) >= 2 and len(call.all("speech_started")) == len(turns)
            for turn, done in zip(turns, call.all("response_completed"), strict=True):
                heard = engine.tokenizer.encode(floats[turn.start_sample : turn.end_sample], rate)
                assert not done.history or ids_of(done.history)[0] == heard
            kinds = [(event.WhichOneof("response"), event) for event in call.received]
            for position, (kind, event) in enumerate(kinds):
                if kind == "interrupted":
                    later = [
                        getattr(one, name).response_id
                        for name, one in kinds[position + 1 :]
                        if name in ("audio", "text_delta", "audio_completed")
                    ]
                    assert event.interrupted.response_id not in later

    run(engine, test, max_output_lead=1.0)


def test_a_call_of_the_past_is_built_up_again(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(16_000))
            call.hear(bytes(9_600))
            call.ask(commit_input={})
            call.ask(text={"text": "and now in writing"})
            call.end_side()
            await call.end()
        first, second = call.all("response_completed")
        async with Call(host) as again:
            again.ask(config=config(None, history=first.history))
            again.ask(text={"text": "and now in writing"})
            again.end_side()
            await again.end()
        assert again.all("response_completed")[0].history == second.history

    run(engine, test)


def test_gone_before_a_word_is_said(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.hang_up()
            with pytest.raises(ClientGoneError):
                await call.end()

    run(engine, test)
