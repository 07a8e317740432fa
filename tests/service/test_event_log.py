"""Events on their way: numbered when taken, withdrawn before, kept for a resume as far as there is room."""

import asyncio

import pytest

from antiphon.engine.service import wire_events
from antiphon.engine.service.event_log import FULL_BYTES, EventLog
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.v1.dialogue_pb2 import ConverseResponse


def event(n: int, size: int = 10) -> ConverseResponse:
    return wire_events.audio_output("a", bytes(size), n)


async def take_all(log: EventLog) -> list[ConverseResponse]:
    taken = []
    while not log.is_drained:
        taken.append(await log.take())
    return taken


def test_a_second_call_gets_what_follows_each_once_and_as_it_was() -> None:
    async def test() -> None:
        log = EventLog(kept_bytes=10_000)
        log.open()
        for n in range(5):
            log.append(event(n))
        first = await take_all(log)
        assert [one.event_sequence for one in first] == [1, 2, 3, 4, 5]
        log.close()
        log.append(event(5))
        log.open(3)
        again = await take_all(log)
        assert again[:2] == first[3:] and [one.event_sequence for one in again] == [4, 5, 6]
        log.open(6)
        assert log.is_drained
        for lost in (2, 7, -1):
            with pytest.raises(RefusalError) as refused:
                log.open(lost)
            assert refused.value.reason is Reason.EVENTS_LOST

    asyncio.run(test())


def test_what_is_kept_is_bounded() -> None:
    async def test() -> None:
        log = EventLog(kept_bytes=1_000)
        log.open()
        for n in range(50):
            log.append(event(n, 90))
        taken = await take_all(log)
        sizes = taken[-1].ByteSize()
        first = next(n for n in range(51) if not refuses(log, n))
        assert (50 - first) * sizes <= 1_000 < (51 - first) * sizes + sizes
        nothing = EventLog(kept_bytes=0)
        nothing.open()
        nothing.append(event(0))
        await nothing.take()
        assert refuses(nothing, 0) and not refuses(nothing, 1)

    def refuses(log: EventLog, last: int) -> bool:
        try:
            log.check(last)
        except RefusalError:
            return True
        return False

    asyncio.run(test())


def test_what_was_withdrawn_leaves_no_gap_and_what_was_taken_stays() -> None:
    async def test() -> None:
        log = EventLog(kept_bytes=10_000)
        log.open()
        log.append(event(0))
        first = await log.take()
        log.append(wire_events.text_delta("a", "late", 0))
        log.append(wire_events.text_delta("b", "another answer's", 0))
        log.append(event(1))
        log.append(wire_events.audio_completed("a", 2))
        log.append(wire_events.response_started("a", 0))
        log.withdraw("a")
        rest = await take_all(log)
        assert first.event_sequence == 1 and [one.event_sequence for one in rest] == [2, 3]
        assert [one.WhichOneof("response") for one in rest] == ["text_delta", "response_started"]

    asyncio.run(test())


def test_a_reader_that_falls_behind_is_waited_for() -> None:
    async def test() -> None:
        log = EventLog(kept_bytes=0)
        told = []
        log.on_room = lambda: told.append(log.has_room)
        assert not log.has_room, "nobody reads"
        log.open()
        assert log.has_room and told == [True]
        log.append(event(0, FULL_BYTES))
        assert not log.has_room
        waiting = asyncio.create_task(log.wait_for_room())
        await asyncio.sleep(0)
        assert not waiting.done()
        await log.take()
        await waiting
        assert told == [True, True]

    asyncio.run(test())
