"""Log lines: JSON, and never a word of a dialogue or a key."""

import asyncio
import contextlib
import io
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon.engine.service.log_writer import LogWriter
from antiphon.engine.service.logs import JsonFormatter, configure_logging, log_event

SECRET = "hello, my PIN is 1234"
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    for handler in before:
        root.removeHandler(handler)
    configure_logging(stream)
    yield stream
    root.handlers[:], root.level = before, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    logging.getLogger().handlers[0].flush()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json(stream: io.StringIO) -> None:
    log = logging.getLogger("antiphon.test")
    log_event(
        log, logging.INFO, "dialogue_ended", session="d-1", key="alice", seconds=1.5, turns=3, peer="ipv6:[::1]:5"
    )
    log_event(log, logging.DEBUG, "too_detailed")
    (line,) = lines(stream)
    time = line.pop("time")
    assert time.endswith("Z") and len(time) == len("2026-11-22T19:00:00.000Z")
    assert line == {
        "level": "info",
        "logger": "antiphon.test",
        "event": "dialogue_ended",
        "session": "d-1",
        "key": "alice",
        "seconds": 1.5,
        "turns": 3,
        "peer": "ipv6:[::1]:5",
    }


@pytest.mark.parametrize(
    "forbidden",
    [
        {"text": SECRET},
        {"audio": b"\x01\x02"},
        {"tokens": [1, 2, 3]},
        {"api_key": KEY},
        {"key": KEY},
        {"session": SECRET},
        {"session": ["d-1"]},
        {"reason": "a\nb"},
        {"peer": "x" * 129},
        {"turns": "3"},
        {"turns": True},
        {"seconds": float("nan")},
        {SECRET: 1},
    ],
)
def test_what_is_not_allowed_is_left_out_and_counted(stream: io.StringIO, forbidden: dict[str, Any]) -> None:
    log_event(logging.getLogger("antiphon.test"), logging.INFO, "spoken", count=1, **forbidden)
    (line,) = lines(stream)
    assert set(line) == {"time", "level", "logger", "event", "count", "dropped_fields"}
    assert (line["count"], line["dropped_fields"]) == (1, 1)
    assert SECRET not in stream.getvalue() and KEY not in stream.getvalue()


def test_an_exception_tells_its_class_and_places_alone(stream: io.StringIO) -> None:
    def hear(text: str) -> None:
        raise ValueError(text)

    try:
        hear(SECRET)
    except ValueError as error:
        log_event(logging.getLogger("antiphon.test"), logging.ERROR, "incident", error, incident="ab12")
    (line,) = lines(stream)
    assert line["exception"] == "builtins.ValueError"
    assert [place.split(":")[0] for place in line["through"]] == ["service/test_logs.py"] * 2
    assert line["through"][-1].endswith(" hear")
    assert SECRET not in stream.getvalue()


def test_of_other_records_the_place_alone_is_told(stream: io.StringIO) -> None:
    logging.getLogger("elsewhere").warning("heard %s", SECRET)
    logging.getLogger("antiphon.test").error(f"heard {SECRET}", exc_info=True)
    log_event(logging.getLogger("antiphon.test"), logging.INFO, SECRET, count=1)

    async def lose_an_exception() -> None:
        async def fail() -> None:
            raise RuntimeError(SECRET)

        task = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task

    asyncio.run(lose_an_exception())
    told = lines(stream)
    assert [line["event"] for line in told] == ["message"] * 4
    assert [line["logger"] for line in told] == ["elsewhere", "antiphon.test", "antiphon.test", "asyncio"]
    assert told[0]["at"].startswith("service/test_logs.py:")
    assert told[3]["exception"] == "builtins.RuntimeError"
    assert SECRET not in stream.getvalue()


def test_a_pipe_that_nobody_reads_delays_nobody_and_what_it_missed_is_counted() -> None:
    reading, writing = os.pipe()
    log = logging.getLogger("antiphon.test.pipe")
    log.propagate = False
    read: list[dict[str, Any]] = []
    with os.fdopen(reading) as reader, contextlib.suppress(BrokenPipeError), os.fdopen(writing, "w") as pipe:
        writer = LogWriter(pipe, waiting=10)
        writer.setFormatter(JsonFormatter("server"))
        log.addHandler(writer)
        try:
            for turns in range(2_000):  # more than a pipe holds
                log_event(log, logging.WARNING, "dialogue_ended", turns=turns)
            while not turns_of(read) or turns_of(read)[-1] < 2_000:  # until one comes that finds room again
                turns += 1
                log_event(log, logging.WARNING, "dialogue_ended", turns=turns)
                read.append(json.loads(reader.readline()))
        finally:
            log.removeHandler(writer)
            log.propagate = True
            reader.close()
            writer.flush()
    written, dropped = turns_of(read), [line["count"] for line in read if line["event"] == "log_lines_dropped"]
    assert written == sorted(written)
    assert len(written) + sum(dropped) == written[-1] + 1
    assert sum(dropped) > 1_000
    assert all(line["process"] == "server" for line in read)


def turns_of(read: list[dict[str, Any]]) -> list[int]:
    return [line["turns"] for line in read if "turns" in line]
