"""An answer is cut: by the caller's voice, by the client, by a player that stops; what was heard is what stays."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from wire import HANGS, PACED, check_order, mulaw_question, serving, spoken, target, tiny_engine

import antiphon
from antiphon.client import (
    AudioCompleted,
    AudioOutput,
    Call,
    Event,
    FinishReason,
    Interrupted,
    InterruptionReason,
    ResponseCompleted,
    ResponseStarted,
    Sampling,
    SpeechStarted,
    TurnDetection,
)

LONG = Sampling(temperature=0.0, max_output_tokens=200)  # an answer of 4.2 s
SILENCE = b"\xff" * 160
LISTENS = spoken(
    sampling=LONG,
    turn_detection=TurnDetection(end_silence=0.3, min_barge_in_speech=0.2, no_barge_in_window=0.0),
)


def with_client(test: Callable[[antiphon.Client], Awaitable[None]]) -> None:
    async def run() -> None:
        async with serving(tiny_engine(), PACED) as server, antiphon.Client(target(server)) as client:
            await test(client)

    asyncio.run(asyncio.wait_for(run(), HANGS))


class Listener:
    """A call's events, kept."""

    def __init__(self, call: Call) -> None:
        self.seen: list[Event] = []
        self._events: AsyncIterator[Event] = call.events()

    async def until(self, kind: type[Event]) -> Event:
        async for event in self._events:
            self.seen.append(event)
            if isinstance(event, kind):
                return event
        raise AssertionError(f"the call ended before {kind}: {self.seen}")

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.seen if isinstance(event, kind)]


async def speak(call: Call, seconds_of_silence: float, speech: bytes = b"") -> None:
    """A question, 20 ms at a time, and silence behind it."""
    line = (speech or mulaw_question()) + SILENCE * round(seconds_of_silence * 50)
    for start in range(0, len(line), 160):
        await call.push_audio(line[start : start + 160])


def ids(item: antiphon.HistoryItem) -> list[int]:
    return list(item.ids or item.speech or ())


def check_what_stays(cut: ResponseCompleted, interrupted: Interrupted, following: ResponseCompleted) -> None:
    """History is a prefix of the uncut answer, up to the last token heard in full, and the next prompt holds it."""
    lm = tiny_engine().lm
    question, kept = (ids(item) for item in cut.history)
    uncut = lm.generate(lm.chat_prompt([question]), max_new_tokens=200)
    assert kept == uncut[: len(kept)] and len(kept) == interrupted.kept_tokens < len(uncut) - 1
    spoken_ids = sum(map(lm.vocabulary.is_speech, kept))
    tokens_heard = interrupted.heard_samples / 22_050 * 12.5
    assert tokens_heard - 1 <= spoken_ids <= tokens_heard + 1e-6
    assert not kept or lm.vocabulary.is_speech(kept[-1])
    next_question, answer = (ids(item) for item in following.history)
    prompt = lm.chat_prompt([question, kept, next_question])
    assert answer == lm.generate(prompt, max_new_tokens=200)[: len(answer)]


def test_whoever_speaks_into_an_answer_interrupts_it() -> None:
    async def test(client: antiphon.Client) -> None:
        async with client.call(LISTENS) as call:
            listener = Listener(call)
            await speak(call, 0.7)
            await listener.until(AudioOutput)
            await asyncio.sleep(0.5)
            await speak(call, 0.7)
            interrupted = await listener.until(Interrupted)
            first = await listener.until(ResponseCompleted)
            await call.finish()
            following = await listener.until(ResponseCompleted)
            async for event in call.events():
                listener.seen.append(event)
        assert isinstance(interrupted, Interrupted) and isinstance(first, ResponseCompleted)
        assert isinstance(following, ResponseCompleted)
        assert interrupted.reason is InterruptionReason.BARGE_IN and interrupted.estimated
        assert first.finish_reason is FinishReason.INTERRUPTED
        assert following.finish_reason is FinishReason.STOP
        check_order(listener.seen)
        cut_at = listener.seen.index(interrupted)
        assert any(isinstance(event, SpeechStarted) for event in listener.seen[:cut_at][-20:])
        late = [
            event for event in listener.seen[cut_at + 1 :] if getattr(event, "response_id", "") == first.response_id
        ]
        assert late == [first], "no old audio after the interruption"
        check_what_stays(first, interrupted, following)

    with_client(test)


def test_a_sound_of_listening_or_one_in_the_window_does_not_interrupt() -> None:
    async def test(client: antiphon.Client) -> None:
        for settings in (
            TurnDetection(end_silence=0.3, min_barge_in_speech=3_600, no_barge_in_window=0),
            TurnDetection(end_silence=0.3, min_barge_in_speech=0.1, no_barge_in_window=3_600),
        ):
            short = Sampling(temperature=0.0, max_output_tokens=60)
            async with client.call(spoken(turn_detection=settings, sampling=short)) as call:
                listener = Listener(call)
                await speak(call, 0.7)
                await listener.until(AudioOutput)
                await speak(call, 0.7)
                await call.finish()
                async for event in call.events():
                    listener.seen.append(event)
            assert not listener.of(Interrupted)
            check_order(listener.seen)

    with_client(test)


def test_a_player_that_stops_says_where() -> None:
    async def test(client: antiphon.Client) -> None:
        async with client.call(spoken(sampling=LONG)) as call:
            listener = Listener(call)
            await call.push_audio(mulaw_question())
            await call.commit()
            await listener.until(AudioOutput)
            await asyncio.sleep(0.8)
            played = 11_025 + 1_000
            await call.report_playback(played // 2)
            await call.report_playback(played, stopped=True)
            interrupted = await listener.until(Interrupted)
            first = await listener.until(ResponseCompleted)
            await call.push_audio(mulaw_question()[:4_000])
            await call.commit()
            await call.finish()
            following = await listener.until(ResponseCompleted)
        assert isinstance(interrupted, Interrupted) and isinstance(first, ResponseCompleted)
        assert isinstance(following, ResponseCompleted)
        assert interrupted.reason is InterruptionReason.CLIENT_CANCELLED and not interrupted.estimated
        assert interrupted.heard_samples == played
        check_what_stays(first, interrupted, following)
        check_order(listener.seen)

    with_client(test)


def test_a_cancel_stops_the_answer_and_drops_the_turns_behind_it() -> None:
    async def test(client: antiphon.Client) -> None:
        async with client.call(spoken(sampling=LONG)) as call:
            listener = Listener(call)
            for text in ("tell me a story", "and another", "and a third"):
                await call.push_text(text)
            started = await listener.until(ResponseStarted)
            await listener.until(AudioOutput)
            await call.cancel()
            completed = [await listener.until(ResponseCompleted) for _ in range(3)]
            await call.push_text("hello?")
            late = await listener.until(ResponseStarted)
            assert isinstance(started, ResponseStarted) and isinstance(late, ResponseStarted)
            await call.cancel(started.response_id)
            await call.finish()
            last = await listener.until(ResponseCompleted)
        reasons = [event.finish_reason for event in completed if isinstance(event, ResponseCompleted)]
        assert reasons == [FinishReason.INTERRUPTED] * 3
        assert isinstance(last, ResponseCompleted) and last.finish_reason is FinishReason.STOP, "a late cancel is late"
        assert all(not event.history for event in completed[1:] if isinstance(event, ResponseCompleted))
        check_order(listener.seen)

    with_client(test)


def test_an_answer_heard_to_its_end_is_over() -> None:
    async def test(client: antiphon.Client) -> None:
        short = Sampling(temperature=0.0, max_output_tokens=40)
        async with client.call(spoken(sampling=short)) as call:
            listener = Listener(call)
            await call.push_text("hello")
            completed = await listener.until(AudioCompleted)
            assert isinstance(completed, AudioCompleted)
            assert not listener.of(ResponseCompleted), "sent, but not heard"
            began = asyncio.get_running_loop().time()
            done = await listener.until(ResponseCompleted)
            assert asyncio.get_running_loop().time() - began > 0.3, "the clock tells when it was heard"
            assert isinstance(done, ResponseCompleted) and done.finish_reason is FinishReason.LENGTH
            timing = done.timing
            assert timing.total is not None and timing.first_audio is not None
            assert timing.total - timing.first_audio == pytest.approx(completed.sample_count / 22_050, abs=0.2)
        check_order(listener.seen)

    with_client(test)


def test_audio_is_sent_no_further_ahead_than_allowed() -> None:
    """Measured at the client: what has come never runs ahead of what can have been played by more than the lead."""

    async def test(client: antiphon.Client) -> None:
        async with client.call(spoken(sampling=LONG, output_chunk=0.1)) as call:
            await call.push_text("hello")
            await call.finish()
            first, received, ahead = None, 0.0, []
            async for event in call.events():
                if isinstance(event, AudioOutput):
                    now = asyncio.get_running_loop().time()
                    first = now if first is None else first
                    received += event.seconds
                    ahead.append(received - (now - first))
        assert received > 4 and max(ahead) <= PACED.max_output_lead + 0.1 + 0.05

    with_client(test)


def test_nothing_heard_leaves_nothing() -> None:
    """An answer that is cut before any of it could be heard leaves the question alone, or nothing."""

    async def test(client: antiphon.Client) -> None:
        async with client.call(spoken(sampling=LONG)) as call:
            listener = Listener(call)
            await call.push_text("tell me a story")
            await listener.until(ResponseStarted)
            await call.report_playback(0, stopped=True)
            interrupted = await listener.until(Interrupted)
            done = await listener.until(ResponseCompleted)
            assert isinstance(interrupted, Interrupted) and isinstance(done, ResponseCompleted)
            assert interrupted.heard_samples == 0 and interrupted.kept_tokens == 0

    with_client(test)
