"""Who is let in, over loopback: by what the engine's forwards have taken lately, before any work for the call."""

import asyncio
from collections.abc import Iterator

import pytest
from engines import exact_engine
from google.rpc import error_details_pb2
from wire import HANGS, MANUAL, nothing_left, raw_call, serving, target

import antiphon
from antiphon.engine.meter import Meter
from antiphon.engine.service.door import Door
from antiphon.engine.service.refusals import RefusalError
from antiphon.engine.service.server import Server
from antiphon.engine.service.settings import ServiceSettings
from antiphon.scheduler.admission import Occupancy

LIMITED = ServiceSettings(port=0, max_output_lead=600.0, max_utilisation=0.85)


@pytest.fixture(scope="module")
def engine() -> Iterator[antiphon.Engine]:
    with exact_engine() as engine:
        yield engine


def forwards(engine: antiphon.Engine) -> tuple[int, int, int]:
    stats = engine.stats
    return stats.hear_batches, stats.lm_batches, stats.speak_batches


def test_the_next_call_is_refused_when_the_engine_is_too_slow_for_two(
    engine: antiphon.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Meter, "load", 0.6)  # so much of its time each dialogue takes

    async def act(server: Server) -> None:
        async with antiphon.Client(target(server)) as client, client.call(MANUAL) as first:
            done = forwards(engine)
            async with raw_call(server) as second:
                await second.send(config={})
                ended = await second.ending()
            assert (ended.code, ended.reason) == (
                "RESOURCE_EXHAUSTED",
                "SERVER_FULL",
            ) and "limit is 85%" in ended.message
            assert ended.detail(error_details_pb2.RetryInfo).retry_delay.seconds == 60
            with pytest.raises(antiphon.errors.LimitError) as told:
                async for _ in client.respond("one more?", MANUAL):
                    pass
            assert told.value.reason == "SERVER_FULL" and told.value.retry_after == 60.0
            assert forwards(engine) == done, "nothing was done for them"
            await first.push_text("how are you?")
            answer = await first.answer()
            assert answer.completed.error is None and answer.audio.data, "the first goes on unharmed"
        await nothing_left(server)
        async with antiphon.Client(target(server)) as client, client.call(MANUAL) as third:
            await third.push_text("and now?")
            assert (await third.answer()).completed.error is None, "an engine with nobody in it lets anyone in"

    async def run() -> None:
        async with serving(engine, LIMITED) as server:
            await act(server)

    asyncio.run(asyncio.wait_for(run(), HANGS))


def test_those_on_their_way_in_count_and_the_limit_may_be_off() -> None:
    door = Door(0.5)
    first = door.enter([Occupancy(0, 0.3)])
    with pytest.raises(RefusalError, match="1 dialogues are open"):
        door.enter([Occupancy(0, 0.3)])
    first.release()
    door.enter([Occupancy(0, 0.3)]).release()
    door.enter([None]).release()
    door.enter([Occupancy(500, 0.0)]).release()
    Door(0.0).enter([Occupancy(500, 0.3)]).release()


def test_of_several_engines_one_with_time_is_enough() -> None:
    door = Door(0.5)
    door.enter([Occupancy(1, 0.3), Occupancy(0, 0.6)]).release()  # nobody is there: whatever it measured last
    door.enter([None, Occupancy(0, 0.3)]).release()
    engines = [Occupancy(0, 0.3), Occupancy(0, 0.3)]
    leases = [door.enter(engines) for _ in engines]
    with pytest.raises(RefusalError, match="1 dialogues are open on the freest engine"):
        door.enter(engines)
    leases[0].release()
    door.enter(engines).release()
