"""A session that awaits playback: an answer is under way, and can be cut, until it was heard."""

import asyncio
from collections.abc import Iterator
from fractions import Fraction

import pytest
from checkpoints import tiny_checkpoint

import antiphon
from antiphon.engine.config import SessionConfig
from antiphon.engine.think.sampling import SamplingParams
from antiphon.events import (
    AudioCompleted,
    Event,
    FinishReason,
    Interrupted,
    InterruptionReason,
    ResponseCompleted,
    ResponseStarted,
)

CONFIG = SessionConfig(sampling=SamplingParams(max_new_tokens=80), await_playback=True)


@pytest.fixture(scope="module")
def engine() -> Iterator[antiphon.Engine]:
    with antiphon.Engine.load(tiny_checkpoint(), device="cpu") as engine:
        yield engine


async def until(session: antiphon.Session, kind: type[Event]) -> list[Event]:
    events: list[Event] = []
    async for event in session.events():
        events.append(event)
        if isinstance(event, kind):
            return events
    raise AssertionError(f"no {kind.__name__}")


def test_the_next_answer_waits_until_this_one_was_heard(engine: antiphon.Engine) -> None:
    async def run() -> None:
        async with engine.session(CONFIG) as session:
            for text in ("one", "two"):
                await session.push_text(text)
                await session.commit()
            first = await until(session, AudioCompleted)
            assert not any(isinstance(event, ResponseCompleted) for event in first)
            await asyncio.sleep(0.2)
            await session.played("another")
            await session.played(f"{session.session_id}.0")
            ended, started = await until(session, ResponseStarted)
            assert isinstance(ended, ResponseCompleted) and ended.finish_reason is FinishReason.LENGTH
            assert isinstance(started, ResponseStarted) and started.turn_index == 1

    asyncio.run(run())


def test_an_answer_that_was_made_is_cut_where_it_was_heard(engine: antiphon.Engine) -> None:
    async def run() -> None:
        async with engine.session(CONFIG) as session:
            for text in ("one", "two", "three"):
                await session.push_text(text)
                await session.commit()
            await until(session, AudioCompleted)
            first = f"{session.session_id}.0"
            await session.cancel(Fraction(1), response_id="another", queued=False)
            await session.cancel(
                Fraction(22_049, 22_050), response_id=first, queued=False, reason=InterruptionReason.BARGE_IN
            )
            cut, ended = await until(session, ResponseCompleted)
            assert isinstance(cut, Interrupted) and isinstance(ended, ResponseCompleted)
            assert (cut.heard_samples, cut.reason, cut.estimated) == (22_049, InterruptionReason.BARGE_IN, False)
            kept = ended.history[1].ids or ()
            assert sum(map(engine.lm.vocabulary.is_speech, kept)) == 12 and len(kept) == cut.kept_tokens
            await until(session, AudioCompleted)
            await session.cancel()
            rest = await until(session, ResponseCompleted)
            assert isinstance(rest[-1], ResponseCompleted) and rest[-1].finish_reason is FinishReason.INTERRUPTED
            last = await until(session, ResponseCompleted)
            assert isinstance(last[-1], ResponseCompleted) and not last[-1].history, "dropped before it began"

    asyncio.run(run())
