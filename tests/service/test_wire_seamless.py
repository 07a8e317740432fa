"""Calls in seamless mode, which is how a server speaks unless it is told otherwise: all that was generated is heard."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from checkpoints import tiny_checkpoint
from wire import GREEDY, HANGS, MANUAL, UNPACED, answer_in, check_order, serving, spoken, target

import antiphon
from antiphon.client import AudioOutput, Event, FinishReason, Interrupted, ResponseCompleted
from antiphon.engine.timeline import mel_frames_of, wave_samples_of

CALLS = 3
# An answer that is cut off in its second run of speech, in the middle of a chunk.
CUT_OFF = spoken(MANUAL, sampling=GREEDY)


def with_client(test: Callable[[antiphon.Client, antiphon.Engine], Awaitable[None]]) -> None:
    async def run() -> None:
        with antiphon.Engine.load(tiny_checkpoint(), device="cpu") as engine:
            async with serving(engine, UNPACED) as server, antiphon.Client(target(server)) as client:
                await test(client, engine)

    asyncio.run(asyncio.wait_for(run(), HANGS))


async def one_call(client: antiphon.Client, text: str) -> list[Event]:
    async with client.call(CUT_OFF) as call:
        await call.push_text(text)
        seen: list[Event] = []
        async for event in call.events():
            seen.append(event)
            if isinstance(event, ResponseCompleted):
                await call.finish()
        return seen


def test_every_speech_token_of_an_answer_is_heard_to_its_last_sample() -> None:
    async def test(client: antiphon.Client, engine: antiphon.Engine) -> None:
        texts = [f"question number {number}" for number in range(CALLS)]
        for events, text in zip(await asyncio.gather(*(one_call(client, text) for text in texts)), texts, strict=True):
            check_order(events)
            answer = await answer_in(events)
            ids = list(answer.completed.history[1].ids or ())
            alone = engine.lm.generate(engine.lm.chat_prompt([text]), max_new_tokens=GREEDY.max_output_tokens or 0)
            assert ids == alone and answer.completed.finish_reason is FinishReason.LENGTH
            spoken_tokens = sum(map(engine.lm.vocabulary.is_speech, ids))
            assert len(answer.audio.samples) == wave_samples_of(mel_frames_of(spoken_tokens))

    with_client(test)


@pytest.mark.parametrize("messages", [1, 3])
def test_an_interrupted_answer_leaves_what_was_heard(messages: int) -> None:
    async def test(client: antiphon.Client, engine: antiphon.Engine) -> None:
        async with client.call(CUT_OFF) as call:
            await call.push_text("question number 0")
            seen: list[Event] = []
            async for event in call.events():
                seen.append(event)
                outputs = [one for one in seen if isinstance(one, AudioOutput)]
                if isinstance(event, AudioOutput) and len(outputs) == messages:
                    await call.cancel()
                if isinstance(event, ResponseCompleted):
                    await call.finish()
        check_order(seen)
        [cut] = [event for event in seen if isinstance(event, Interrupted)]
        completed = next(event for event in seen if isinstance(event, ResponseCompleted))
        alone = engine.lm.generate(engine.lm.chat_prompt(["question number 0"]), max_new_tokens=80)
        kept = list(completed.history[1].ids or ())
        assert kept == alone[: len(kept)] and completed.finish_reason is FinishReason.INTERRUPTED
        assert wave_samples_of(mel_frames_of(sum(map(engine.lm.vocabulary.is_speech, kept)))) <= cut.heard_samples

    with_client(test)
