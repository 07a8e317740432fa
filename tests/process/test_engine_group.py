"""Several engines behind one frontend: who goes where, and that one engine's loss is its own."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path

import numpy as np
import pytest
from callers import receive
from checkpoints import tiny_checkpoint
from engine_links import ANYONE, engine_behind_a_socket, frontend_of
from engines import exact_engine
from served import until

import antiphon
from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.errors import EngineFullError, SessionClosedError
from antiphon.engine.process.engine_group import EngineGroup
from antiphon.engine.process.engine_messages import ModelNames
from antiphon.engine.session import Session
from antiphon.engine.think.sampling import SamplingParams

GREEDY = SessionConfig(sampling=SamplingParams(temperature=0.0, max_new_tokens=40))
LONG = SessionConfig(sampling=SamplingParams(max_new_tokens=1_000, ignore_eos=True))


@pytest.fixture(autouse=True)
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two engines on a busy machine may well have measured prices that are far from each other."""
    monkeypatch.setattr("antiphon.scheduler.placement._ALIKE", inf)


@pytest.fixture(scope="module")
def engines() -> Iterator[list[antiphon.Engine]]:
    with exact_engine(EngineConfig(max_dialogues=2)) as one, exact_engine(EngineConfig(max_dialogues=2)) as other:
        yield [one, other]


async def said(session: Session, text: str) -> list[int]:
    await session.push_text(text)
    await session.commit()
    return (await receive(session)).answer_ids


def test_dialogues_are_spread_and_answered_as_by_one_engine(engines: list[antiphon.Engine]) -> None:
    async def test() -> None:
        async with engines[0].session(GREEDY) as session:
            expected = await said(session, "Hello.")
        async with AsyncExitStack() as stack:
            behinds = [await stack.enter_async_context(engine_behind_a_socket(engine)) for engine in engines]
            group = await stack.enter_async_context(frontend_of(behinds))
            async with AsyncExitStack() as calls:
                sessions = [await calls.enter_async_context(group.session(GREEDY)) for _ in range(4)]
                assert [engine.occupancy.dialogues for engine in engines] == [2, 2]
                answers = await asyncio.gather(*(said(session, "Hello.") for session in sessions))
                assert answers == 4 * [expected]
                with pytest.raises(EngineFullError):  # none of them has room
                    async with group.session(GREEDY):
                        pass
            codes = [3, 1, 4, 1, 5]
            clips = [await stack.enter_async_context(group.speak(codes)) for _ in range(2)]
            waves = [np.concatenate([piece async for piece in clip.waves()]) for clip in clips]
            assert np.array_equal(*waves) and waves[0].size
            assert all([await behind.is_empty() for behind in behinds])
        assert not group._places, "nothing is remembered of what is over"

    asyncio.run(test())


def test_an_engine_that_is_lost_takes_its_own_dialogues_with_it(engines: list[antiphon.Engine]) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            behinds = [await stack.enter_async_context(engine_behind_a_socket(engine)) for engine in engines]
            group = await stack.enter_async_context(frontend_of(behinds))
            sessions = [await group.session(LONG).__aenter__() for _ in range(2)]
            for session in sessions:
                await session.push_text("Speak on.")
                await session.commit()
            assert {group._places[session.session_id] for session in sessions} == set(group.engines)
            lost, kept = sorted(sessions, key=lambda session: group._places[session.session_id] is group.engines[1])
            group.engines[0].disconnect()
            async with group.session(GREEDY) as new:
                assert engines[1].occupancy.dialogues == 2, "there is one engine to go to"
                with pytest.raises(SessionClosedError, match="the engine was lost"):
                    async for _ in lost.events():
                        pass
                assert lost.is_lost and not kept.is_lost
                assert not group._down.is_set(), "who serves goes on serving"
                assert await said(new, "Hello.")
            await kept.cancel()
            assert (await receive(kept)).completed.failure is None
            await kept.close()
            await lost.close()
            assert all([await behind.is_empty() for behind in behinds])  # also the one whose caller could not tell it
            assert not group._places

    asyncio.run(test())


def test_a_dialogue_is_opened_elsewhere_where_its_engine_is_full_or_lost(engines: list[antiphon.Engine]) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            behinds = [await stack.enter_async_context(engine_behind_a_socket(engine)) for engine in engines]
            one, other = [await stack.enter_async_context(frontend_of(behinds)) for _ in range(2)]
            async with AsyncExitStack() as calls:
                for _ in range(3):  # of the four places, and the other frontend has not been told of them
                    await calls.enter_async_context(one.session(GREEDY))
                await calls.enter_async_context(other.session(GREEDY))
            async with one.session(GREEDY):
                best = one._ranked()[0]
                opening = asyncio.create_task(one.session(GREEDY).__aenter__())
                await asyncio.sleep(0)  # it has been sent
                assert best.n_opening == 1
                best.disconnect()
                session = await opening
                assert one._places[session.session_id] is not best and not session.is_lost
                assert await said(session, "Hello.")
                await session.close()
            assert all([await behind.is_empty() for behind in behinds])

    asyncio.run(test())


def test_doors_open_at_first_when_every_engine_is_there(engines: list[antiphon.Engine], tmp_path: Path) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            behinds = [await stack.enter_async_context(engine_behind_a_socket(engine)) for engine in engines]
            later = tmp_path / "engine-1"  # nobody listens yet
            names = ModelNames(engines[0].codec_id, engines[0].vocabulary_id)
            addresses = [behinds[0].address, later]
            group = EngineGroup(
                "test", addresses, tiny_checkpoint(), names, engines[0].config, 20.0, ANYONE, awaits_all=True
            )
            running = asyncio.create_task(group.run())
            opened = asyncio.create_task(group.warm_up())
            assert await until(lambda: group.engines[0].is_up, 60.0)
            assert not opened.done()
            later.symlink_to(behinds[1].address)
            await opened
            group.engines[1].disconnect()
            await group.warm_up()  # from now on one is enough
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            group.disconnect()

    asyncio.run(test())
