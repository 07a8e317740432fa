"""How a call ends, and what then becomes of its dialogue, over a real engine and without a network."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from checkpoints import tiny_checkpoint
from conversations import SERVER_VAD, Call, config, host_of, ids_of, run
from engines import exact_engine

import antiphon
from antiphon.engine.clock import VirtualClock
from antiphon.engine.service.host import Caller, ClientGoneError, Host
from antiphon.engine.service.keys import ApiKeys
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.v1 import events_pb2

STOP = events_pb2.ResponseCompleted.FINISH_REASON_STOP
LENGTH = events_pb2.ResponseCompleted.FINISH_REASON_LENGTH
INTERRUPTED = events_pb2.ResponseCompleted.FINISH_REASON_INTERRUPTED


@pytest.fixture(scope="module")
def engine() -> Iterator[antiphon.Engine]:
    with exact_engine() as engine:
        yield engine


def test_a_cancelled_answer_ends_at_once_and_what_was_heard_is_remembered(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(None, max_output_tokens=200))
            call.ask(text={"text": "tell me a long story"})
            await call.event("audio")
            response = call.all("response_started")[0].response_id
            await asyncio.sleep(0.6)
            call.ask(playback_update={"response_id": response, "played_samples": 11_025, "stopped": True})
            cut = await call.event("interrupted")
            assert (cut.heard_samples, cut.estimated) == (11_025, False)
            assert cut.reason == events_pb2.Interrupted.REASON_CLIENT_CANCELLED
            completed = await call.event("response_completed")
            assert completed.finish_reason == INTERRUPTED
            kept = list(completed.history[1].interleaved_tokens.ids)
            assert len(kept) == cut.kept_tokens
            assert sum(map(engine.lm.vocabulary.is_speech, kept)) == 6, "0.5 s are six whole speech tokens"
            call.ask(text={"text": "thank you"})
            call.end_side()
            await call.end()
            last = call.all("response_completed")[-1]
            prompt = engine.lm.chat_prompt(["tell me a long story", kept, "thank you"])
            expected = engine.lm.generate(prompt, max_new_tokens=200)
            assert list(last.history[1].interleaved_tokens.ids) == [
                token for token in expected if token not in engine.lm.config.stop_ids
            ]

    run(engine, test)


def test_a_cancel_drops_what_waits_and_a_late_one_hits_nothing(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(None, max_output_tokens=200))
            for n in range(3):
                call.ask(text={"text": f"question {n}"})
            await call.event("audio")
            call.ask(cancel_response={"response_id": "another"})
            call.ask(cancel_response={})
            for _ in range(3):
                assert (await call.event("response_completed")).finish_reason == INTERRUPTED
            assert [cut.estimated for cut in call.all("interrupted")] == [True]
            call.ask(text={"text": "one more"})
            call.end_side()
            await call.end()
            assert call.all("response_completed")[-1].finish_reason == STOP

    run(engine, test)


def test_too_many_turns_wait(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(None))
            for n in range(4):
                call.ask(text={"text": f"question {n}"})
            call.end_side()
            await call.end()
            assert len(call.all("turn_ended")) == 3 and len(call.all("error")) == 1
            assert len(call.all("response_completed")) == 3

    run(engine, test, max_waiting_turns=2)


def test_audio_goes_out_no_further_ahead_than_allowed(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(None, max_output_tokens=80))
            call.ask(text={"text": "hello"})
            await call.event("audio")
            loop = asyncio.get_running_loop()
            begun = loop.time()
            while not call.all("audio_completed"):
                await asyncio.sleep(0.05)
                sent = len(call.audio()) / 2 / 22_050
                assert sent <= loop.time() - begun + 0.5 + 0.15, "half a second ahead, a packet, and a late clock"
            total = len(call.audio()) / 2 / 22_050
            assert total > 1.0
            await call.event("response_completed")
            assert total <= loop.time() - begun + 0.15, "over when it was heard, not before"

    run(engine, test, max_output_lead=0.5)


def test_a_client_that_does_not_read_stalls_only_itself(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as slow, Call(host) as other:
            slow.ask(config=config(None, max_output_tokens=200))
            await slow.event("session_started")
            slow.reading.clear()
            for _ in range(20):
                slow.ask(text={"text": "hello"})
            other.ask(config=config(None))
            other.ask(text={"text": "hello"})
            other.end_side()
            await other.end()
            assert len(other.all("response_completed")) == 1
            assert len(slow.received) == 1
            slow.reading.set()
            await slow.event("response_completed")

    run(engine, test)


@pytest.mark.parametrize("how", ["hang-up", "cancel", "error"])
@pytest.mark.parametrize("when", ["config", "listening", "answering"])
def test_nothing_is_left_however_a_call_ends(engine: antiphon.Engine, how: str, when: str) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(16_000, max_output_tokens=200))
            await call.event("session_started")
            call.hear(bytes(20_000))
            if when == "answering":
                call.ask(commit_input={})
                await call.event("audio" if how == "cancel" else "response_started")
            match how:
                case "hang-up":
                    call.hang_up()
                case "cancel":
                    call.task.cancel()
                case "error":
                    call.ask(audio={"data": b"odd"})
            expected = {"hang-up": ClientGoneError, "cancel": asyncio.CancelledError, "error": RefusalError}[how]
            with pytest.raises(expected):
                await call.end()

    run(engine, test)


def test_a_broken_call_is_resumed_where_it_broke(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        window = {"seconds": 60}
        async with Call(host) as first:
            first.ask(config=config(16_000, resume_window=window))
            started = await first.event("session_started")
            first.hear(bytes(32_000))
            first.ask(commit_input={})
            await first.event("response_completed")
            first.ask(playback_update={"stopped": True})
            first.hear(bytes(6_400))
            first.ask(text={"text": "refused, and so the audio before it was accepted"})
            await first.event("error")
        assert len(host.dialogues.waiting) == 1 and engine.stats.dialogues == 1

        had = 5
        resume = {"session_id": started.session_id, "resume_token": started.resume_token, "last_event_sequence": had}
        for wrong in ({"resume_token": "x"}, {"session_id": "x"}):
            async with Call(host) as stranger:
                stranger.ask(resume=resume | wrong)
                with pytest.raises(RefusalError, match="session_id"):
                    await stranger.end()
        async with Call(host, Caller("another key", "test")) as stranger:
            stranger.ask(resume=resume)
            with pytest.raises(RefusalError, match="session_id"):
                await stranger.end()
        for never in (10_000, -1):
            async with Call(host) as lost:
                lost.ask(resume=resume | {"last_event_sequence": never})
                with pytest.raises(RefusalError) as refused:
                    await lost.end()
                assert refused.value.reason is Reason.EVENTS_LOST

        async with Call(host) as second:
            second.ask(resume=resume)
            again = await second.event("session_started")
            assert again.next_input_sample == 19_200 and again.config == started.config
            await second.event("error")
            missed = [event for event in first.received if event.event_sequence > had]
            assert second.received[1:] == missed
            async with Call(host) as third:
                third.ask(resume=resume | {"last_event_sequence": missed[-1].event_sequence})
                await third.event("session_started")
                with pytest.raises(RefusalError) as taken:
                    await second.end()
                assert taken.value.reason is Reason.SESSION_RESUMED
                third.ask(commit_input={})
                third.end_side()
                await third.end()
                [completed] = third.all("response_completed")
                assert ids_of(completed.history)[0] == engine.tokenizer.encode(np.zeros(3_200, np.float32), 16_000)
                sequence = [event.event_sequence for event in third.received[1:]]
                assert sequence == list(range(missed[-1].event_sequence + 1, sequence[-1] + 1))
        assert len(host.dialogues) == 0

    run(engine, test)


def test_a_window_that_passes_ends_the_dialogue(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(None, resume_window={"nanos": 50_000_000}))
            await call.event("session_started")
        async with asyncio.timeout(10):
            while engine.stats.dialogues:
                await asyncio.sleep(0.01)

    run(engine, test)


def test_the_server_leaves_in_order(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call, Call(host) as idle:
            call.ask(config=config(None, resume_window={"seconds": 60}))
            idle.ask(config=config(None))
            await idle.event("session_started")
            call.ask(text={"text": "hello"})
            await call.event("turn_ended")
            host.drain.begin(30.0)
            assert (await call.event("go_away")).reason == events_pb2.GoAway.REASON_DRAINING
            call.ask(text={"text": "refused"})
            await call.event("error")
            for one in (idle, call):
                with pytest.raises(RefusalError) as refused:
                    await one.end()
                assert refused.value.reason is Reason.DRAINING
            assert len(call.all("response_completed")) == 1

    run(engine, test)


def test_a_dialogue_has_its_longest_time(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(None, resume_window={"seconds": 60}))
            assert (await call.event("go_away")).reason == events_pb2.GoAway.REASON_MAX_DURATION
            with pytest.raises(RefusalError) as refused:
                await call.end()
            assert refused.value.reason is Reason.SESSION_TOO_LONG

    run(engine, test, max_session=0.3, max_session_notice=0.2)


def test_quotas_end_the_call(engine: antiphon.Engine) -> None:
    async def test(host: Host) -> None:
        async with Call(host) as call:
            call.ask(config=config(16_000))
            call.hear(bytes(2 * 16_000 * 3))
            with pytest.raises(RefusalError) as refused:
                await call.end()
            assert refused.value.reason is Reason.AUDIO_QUOTA
        async with Call(host) as call, Call(host) as second:
            call.ask(config=config(None))
            await call.event("session_started")
            second.ask(config=config(None))
            with pytest.raises(RefusalError) as refused:
                await second.end()
            assert refused.value.reason is Reason.DIALOGUE_QUOTA
        async with Call(host) as call:
            call.ask(config=config(16_000, turn_detection={"mode": SERVER_VAD}))
            call.hear(bytes(2 * 16_000))
            with pytest.raises(RefusalError) as refused:
                await call.end()
            assert refused.value.reason is Reason.AUDIO_TOO_FAST

    run(
        engine,
        test,
        max_audio_per_minute=2.0,
        max_dialogues_per_key=1,
        max_vad_input_speed=1.5,
        max_vad_input_burst=0.5,
    )


def test_a_lost_engine_ends_the_call() -> None:
    async def test() -> None:
        engine = antiphon.Engine.load(tiny_checkpoint(), device="cpu")
        async with Call(host_of(engine)) as call:
            call.ask(config=config(None, resume_window={"seconds": 60}))
            await call.event("session_started")
            await asyncio.to_thread(engine.close)
            with pytest.raises(antiphon.errors.SessionClosedError):
                await call.end()

    asyncio.run(test())


def test_a_dialogue_that_waits_for_a_call_ends_with_its_key(engine: antiphon.Engine, tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", VirtualClock()
    file.write_text(f"alice:{'a' * 40}\nalice:{'b' * 40}\n")
    keys = ApiKeys(file, clock)

    async def test(host: Host) -> None:
        old, new = (keys.authenticate((("x-api-key", letter * 40),)) for letter in "ab")
        sessions = []
        for key in (old, new):
            async with Call(host, Caller(key.name, "test", key)) as call:
                call.ask(config=config(None, resume_window={"seconds": 60}))
                sessions.append(await call.event("session_started"))
        async with Call(host, Caller(new.name, "test", new)) as again:  # by the name's other key: it goes by this one
            again.ask(resume={"session_id": sessions[0].session_id, "resume_token": sessions[0].resume_token})
            await again.event("session_started")
        async with Call(host, Caller(old.name, "test", old)) as third:
            third.ask(config=config(None, resume_window={"seconds": 60}))
            sessions.append(await third.event("session_started"))
        host.dialogues.end_revoked(keys)
        assert len(host.dialogues.waiting) == 3
        file.write_text(f"alice:{'b' * 40}\n")
        clock.advance(2.0)
        host.dialogues.end_revoked(keys)
        left = {dialogue.session_id for dialogue in host.dialogues.waiting}
        assert left == {session.session_id for session in sessions[:2]}

    run(engine, test)
