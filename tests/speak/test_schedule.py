"""When a chunk is due and how large it is."""

import pytest

from antiphon.engine.speak.pace import ChunkSpeed, Pace
from antiphon.engine.speak.schedule import StageTimes, first_chunk, next_chunk

SIZES = (10, 15, 25, 50)
FAST = StageTimes(token=0.02, chunk=0.2)  # 0.43 s with margin and head room


def _due(at_hand: int, chunks: int = 1, *, ended: bool = False, **clock: object) -> int:
    return next_chunk(at_hand, chunks, ended=ended, sizes=SIZES, least=5, **clock)  # type: ignore[arg-type]


def test_without_a_clock_the_sizes_come_in_order_and_the_last_repeats() -> None:
    for chunks, size in enumerate((*SIZES, 50, 50)):
        assert [_due(at_hand, chunks) for at_hand in (0, size - 1, size, size + 1, 500)] == [0, 0, size, size, size]


@pytest.mark.parametrize(
    ("at_hand", "chunks", "size"),
    [(0, 0, 0), (1, 0, 1), (19, 0, 19), (20, 0, 10), (24, 1, 24), (25, 1, 15), (7, 3, 7), (59, 3, 59), (60, 3, 50)],
)
def test_at_the_end_a_short_remainder_joins_its_neighbour(at_hand: int, chunks: int, size: int) -> None:
    assert _due(at_hand, chunks, ended=True) == size
    assert _due(at_hand, chunks, ended=True, lead=0.0, times=FAST) == size


def test_what_is_at_hand_is_spoken_when_the_lead_would_run_out() -> None:
    assert _due(8, lead=0.5, times=FAST) == 0
    assert _due(8, lead=0.4, times=FAST) == _due(8, lead=-2.0, times=FAST) == 8
    assert _due(4, lead=-2.0, times=FAST) == 0  # too little to be worth a solve
    assert _due(500, lead=-2.0, times=FAST) == 15  # never larger than the schedule
    assert _due(8, lead=None, times=FAST) == 0  # nothing is being played yet
    assert (_due(8, lead=0.11), _due(8, lead=0.09)) == (0, 8)


def test_an_lm_slower_than_playback_is_not_made_slower_by_small_chunks() -> None:
    assert _due(8, lead=0.0, times=StageTimes(token=0.05, chunk=0.2)) == 8
    assert _due(8, lead=0.0, times=StageTimes(token=0.06, chunk=0.2)) == 0


def test_a_chunk_that_takes_long_to_make_is_not_made_small() -> None:
    slow = StageTimes(token=0.02, chunk=0.4)  # half of what ten tokens play
    assert (_due(9, lead=0.0, times=slow), _due(10, lead=0.0, times=slow)) == (0, 10)


def test_the_pace_is_what_ids_and_chunks_took_lately() -> None:
    pace = Pace()
    for now in (1.0, 1.1, 1.2):
        assert pace.times is None
        pace.id_came(now)
    pace.chunk_is_due(1.2)
    pace.chunk_is_due(1.4)  # the same chunk
    pace.chunk_came(1.5)
    assert pace.times is not None
    assert (pace.times.token, pace.times.chunk) == pytest.approx((0.1, 0.3))
    pace.id_came(1.8)
    assert pace.times.token == pytest.approx(0.1 + 0.05 * 0.5)


def _first(at_hand: int, frame_seconds: float | None) -> int:
    return first_chunk(
        at_hand, least=10, most=25, following=15, prompt_tokens=25, withheld=19, frame_seconds=frame_seconds
    )


def test_the_first_chunk_is_large_enough_to_play_until_the_next_one_is_there() -> None:
    assert [_first(at_hand, None) for at_hand in (9, 10, 30)] == [0, 10, 10]
    assert (_first(10, 1e-4), _first(30, 1e-4)) == (10, 10)  # 49 frames play 0.57 s, the next chunk takes 0.02 s
    assert [_first(at_hand, 0.004) for at_hand in (10, 11, 30)] == [0, 11, 11]  # 56 frames play 0.65 s, 179 take 0.72 s
    assert [_first(at_hand, 0.0068) for at_hand in (24, 25, 30)] == [0, 25, 25]  # it waits for no more


def test_no_first_chunk_waits_where_speech_is_made_more_slowly_than_it_is_played() -> None:
    assert _first(10, 1 / 86) == 10


def test_the_speed_is_that_of_the_latest_chunks() -> None:
    speed = ChunkSpeed()
    speed.chunk_came(100, 9.0)  # the first compiles and allocates
    assert speed.frame_seconds is None
    speed.chunk_came(100, 1.0)
    speed.chunk_came(200, 1.0)
    assert speed.frame_seconds == pytest.approx((0.8 * 1.0 + 1.0) / (0.8 * 100 + 200))
