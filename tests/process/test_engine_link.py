"""The engine behind a socket: the same answers as embedded, and frontends that cannot harm each other."""

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from callers import Received, ask, receive
from engine_links import Behind, engine_behind_a_socket, stop_reading
from engines import exact_engine
from served import until

import antiphon
from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.errors import EngineFullError, SessionClosedError
from antiphon.engine.messages import OpenDialogue
from antiphon.engine.process import link as links
from antiphon.engine.process.engine_group import EngineGroup
from antiphon.engine.process.pulse import Pulse
from antiphon.engine.think.sampling import SamplingParams
from antiphon.events import ResponseStarted

GREEDY = SessionConfig(sampling=SamplingParams(max_new_tokens=60))
LONG = SessionConfig(sampling=SamplingParams(max_new_tokens=1_000, ignore_eos=True))


@pytest.fixture(scope="module")
def engine() -> Iterator[antiphon.Engine]:
    with exact_engine(EngineConfig(max_dialogues=3)) as engine:
        yield engine


def question() -> np.ndarray:
    return np.random.default_rng(3).normal(scale=0.1, size=12_000).astype(np.float32)


async def answered(engine: antiphon.Engine | EngineGroup) -> list[Received]:
    """A spoken turn, and a written one."""
    async with engine.session(GREEDY) as session:
        spoken = await ask(session, question(), 8_000, cuts=[5_000])
        await session.push_text("And then?")
        await session.commit()
        return [spoken, await receive(session)]


def test_answers_and_clips_are_those_of_the_embedded_engine(engine: antiphon.Engine) -> None:
    async def test() -> None:
        expected = await answered(engine)
        async with engine.encode(question(), 8_000) as clip:
            ids = await clip.ids()
        async with engine.speak(ids) as clip:
            wave = np.concatenate([piece async for piece in clip.waves()])
        async with engine_behind_a_socket(engine) as behind, behind.frontend() as remote:
            got = await answered(remote)
            for one, other in zip(got, expected, strict=True):
                assert (one.heard_ids, one.answer_ids, one.text) == (other.heard_ids, other.answer_ids, other.text)
                assert np.array_equal(one.wave, other.wave) and one.wave.size
                assert [type(event) for event in one.events] == [type(event) for event in other.events]
            async with remote.encode(question(), 8_000) as clip:
                assert await clip.ids() == ids
            async with remote.speak(ids) as clip:
                assert np.array_equal(np.concatenate([piece async for piece in clip.waves()]), wave)
            assert await behind.is_empty()

    asyncio.run(test())


def test_frontends_share_one_engine_and_no_names(engine: antiphon.Engine) -> None:
    async def test() -> None:
        async with engine_behind_a_socket(engine) as behind, behind.frontend() as one, behind.frontend() as other:
            first, second = await asyncio.gather(answered(one), answered(other))
            assert [answer.answer_ids for answer in first] == [answer.answer_ids for answer in second]

            async with one.session() as mine, other.session() as theirs:
                assert mine.session_id == theirs.session_id
                assert await until(lambda: engine.stats.dialogues == 2, 60.0)
                async with other.session():
                    with pytest.raises(EngineFullError):  # over all frontends
                        async with one.session():
                            pass
                # A second dialogue of a name that is open is not opened, and the first lives.
                one.submit(OpenDialogue(mine.session_id, GREEDY))
                await mine.push_text("Hello.")
                await mine.commit()
                await receive(mine)
            assert await behind.is_empty()

    asyncio.run(test())


def test_frontends_know_how_full_the_engine_is(engine: antiphon.Engine) -> None:
    async def test() -> None:
        async with engine_behind_a_socket(engine) as behind, behind.frontend() as one, behind.frontend() as other:

            def seen(remote: EngineGroup) -> int:
                (occupancy,) = remote.occupancies
                return -1 if occupancy is None else occupancy.dialogues

            async with one.session():
                assert seen(one) == 1, "of its own it need not be told"
                assert await until(lambda: seen(other) == 1, 60.0)
            assert seen(one) == 0
            assert await until(lambda: seen(other) == 0, 60.0)
            assert await behind.is_empty()

    asyncio.run(test())


def test_a_frontend_that_ends_leaves_nothing_and_harms_nobody(engine: antiphon.Engine) -> None:
    async def test() -> None:
        async with engine_behind_a_socket(engine) as behind, behind.frontend() as stays:
            async with behind.frontend() as goes:
                session = await goes.session(LONG).__aenter__()
                await session.push_text("Speak on.")
                await session.commit()
                clip = await goes.encode(question(), 8_000).__aenter__()
                async for event in session.events():
                    if isinstance(event, ResponseStarted):
                        break
            with pytest.raises(SessionClosedError):
                async for _ in session.events():
                    pass
            with pytest.raises(SessionClosedError):
                await clip.ids()
            await answered(stays)
            assert await behind.is_empty()

    asyncio.run(test())


def test_a_frontend_that_stops_reading_is_dropped(engine: antiphon.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_UNSENT_BYTES", 300_000)

    async def test() -> None:
        async with engine_behind_a_socket(engine) as behind, behind.frontend() as healthy:
            async with behind.frontend() as deaf:
                session = await deaf.session(LONG).__aenter__()
                stop_reading(deaf)
                await session.push_text("Speak on.")
                await session.commit()
                assert await until(lambda: engine.stats.turns > 0, 60.0)
                assert await behind.is_empty(120.0)  # its dialogue was closed
                await answered(healthy)

    asyncio.run(test())


def test_a_long_step_is_no_death_and_is_told(engine: antiphon.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    enough, step = threading.Event(), engine._loop.step

    def slow() -> bool:
        enough.wait()
        return step()

    async def a_step_of_three_seconds(behind: Behind) -> None:
        while not any(isinstance(one, Pulse) and (one.in_step or 0.0) >= 3.0 for one in behind.told):
            await asyncio.sleep(0.05)

    async def test() -> None:
        # Silence for this long would be a death; the step is longer, and is not silent.
        async with engine_behind_a_socket(engine) as behind, behind.frontend(patience=2.5) as remote:
            async with remote.session(GREEDY) as session:
                monkeypatch.setattr(engine._loop, "step", slow)
                await session.push_text("Hello.")
                await session.commit()
                await a_step_of_three_seconds(behind)
                enough.set()
                await receive(session)

    try:
        asyncio.run(test())
    finally:
        enough.set()


def test_silence_is_death(engine: antiphon.Engine) -> None:
    async def test() -> None:
        async with engine_behind_a_socket(engine) as behind, behind.frontend(patience=3.0) as remote:
            async with remote.session(GREEDY) as session:
                stop_reading(remote)  # as good as an engine that says nothing
                with pytest.raises(SessionClosedError, match="the engine was lost"):
                    async for _ in session.events():
                        pass
            await remote.warm_up()  # it connects again
            assert await behind.is_empty()

    asyncio.run(test())
