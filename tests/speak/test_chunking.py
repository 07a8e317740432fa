"""When buffered tokens become a chunk: the web demo's schedule and its faults."""

import pytest

from antiphon.engine.errors import InputError
from antiphon.engine.speak.chunking import Chunking, TokenChunk, checked_reason


def _sizes(chunks: list[TokenChunk | None]) -> list[tuple[int, bool]]:
    return [(len(chunk.tokens), chunk.final) for chunk in chunks if chunk is not None]


def test_official_schedule() -> None:
    chunking = Chunking()
    chunks = [chunking.take_speech(token) for token in range(740)] + [chunking.finish("stop")]
    assert _sizes(chunks) == [
        (25, False),
        (50, False),
        (100, False),
        (150, False),
        (200, False),
        (200, False),
        (15, True),
    ]
    assert [token for chunk in chunks if chunk for token in chunk.tokens] == list(range(740))


def test_full_buffer_waits_for_any_further_token() -> None:
    chunking = Chunking((3,))
    assert [chunking.take_speech(token) for token in (1, 2, 3)] == [None, None, None]
    assert chunking.take_text() == TokenChunk((1, 2, 3), final=False)
    assert chunking.take_text() is None
    assert [chunking.take_speech(token) for token in (4, 5, 6)] == [None, None, None]
    assert chunking.take_speech(7) == TokenChunk((4, 5, 6), final=False)
    assert chunking.finish("stop") == TokenChunk((7,), final=True)


def test_full_buffer_at_the_stop_is_final() -> None:
    chunking = Chunking((2,))
    assert chunking.take_speech(1) is None and chunking.take_speech(2) is None
    assert chunking.finish("stop") == TokenChunk((1, 2), final=True)


def test_nothing_is_final_at_a_length_stop_or_with_nothing_buffered() -> None:
    chunking = Chunking((2,))
    chunking.take_speech(1)
    assert chunking.finish("length") is None
    flushed = Chunking((1,))
    flushed.take_speech(1)
    assert flushed.take_text() == TokenChunk((1,), final=False)
    assert flushed.finish("stop") is None


@pytest.mark.parametrize("schedule", [(), (0,), (25, -1), (2.5,)])
def test_refuses_a_schedule_without_sizes(schedule: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="whole number of at least 1"):
        Chunking(schedule)


def test_refuses_an_unknown_reason() -> None:
    with pytest.raises(InputError, match="'interrupted' is unknown; expected one of 'stop', 'length'"):
        checked_reason("interrupted")
