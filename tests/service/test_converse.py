"""A call from its first message to its end, over a real engine and without a network."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import numpy as np
import pytest
from callers import ask
from checkpoints import tiny_checkpoint
from conversations import LINEAR16, MULAW, SERVER_VAD, Call, config, host_of, ids_of, pcm16
from engines import exact_engine
from goldens import golden
from google.rpc import error_details_pb2

import antiphon
from antiphon.engine.hear.codec import decode_mu_law, encode_mu_law, float_to_pcm16, read_audio
from antiphon.engine.service.host import Caller, ClientGoneError, Host
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.engine.think.sampling import SamplingParams
from antiphon.v1 import audio_pb2, dialogue_pb2, events_pb2, session_pb2

STOP = events_pb2.ResponseCompleted.FINISH_REASON_STOP
LENGTH = events_pb2.ResponseCompleted.FINISH_REASON_LENGTH
INTERRUPTED = events_pb2.ResponseCompleted.FINISH_REASON_INTERRUPTED
Test = Callable[[Host], Awaitable[None]]


@pytest.fixture(scope="module")
def engine() -> Iterator[antiphon.Engine]:
    with exact_engine() as engine:
        yield engine


def run(engine: antiphon.Engine, test: Test, **settings: float) -> None:
    """Run a test, after which everything it took has to be given back."""

    async def checked() -> None:
        before = engine.stats
        host = host_of(engine, **settings)
        tasks = asyncio.all_tasks()
        await test(host)
        await host.dialogues.close()
        await host.voice_activity.close()
        assert asyncio.all_tasks() == tasks
        after = engine.stats
        assert (after.dialogues, after.turns, after.free_pages) == (before.dialogues, before.turns, before.free_pages)
        assert host.quotas.dialogues.count("everyone") == 0 and len(host.dialogues) == 0

    asyncio.run(checked())


def clip(name: str) -> tuple[np.ndarray, int]:
    pcm, rate = read_audio(golden(f"speech_tokenizer/wav/{name}.wav"))
    return pcm[0], rate


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


# By the caller's voice


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
