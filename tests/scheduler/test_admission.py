"""Who is admitted, and which turns a dialogue forgets: plain functions of numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.scheduler.admission import Admission, Demand, Occupancy, dialogues_of, most_at_once
from antiphon.scheduler.capacity import turns_to_drop
from antiphon.scheduler.settings import Costs
from antiphon.scheduler.stage_times import BatchTime, StageTimes


def measured(**seconds: float) -> StageTimes:
    times = StageTimes()
    for stage, each in seconds.items():
        times.observe(stage, 10, 10 * each)  # type: ignore[arg-type]
    return times


DEMAND = Demand.of_speech(speaking_share=0.5, solve_units=1_000)


def test_calls_are_admitted_until_the_machine_is_as_full_as_it_may_be() -> None:
    times = measured(lm_row=0.004, solve_frame=1e-4)  # half of 18.75 rows and of 1,000 frames: 87.5 ms a second
    admission = Admission(most=0.85)
    decisions = [admission.decide(Occupancy(dialogues, DEMAND.load(times))) for dialogues in range(7)]
    assert [one.admitted for one in decisions] == [True] * 4 + [False] * 3
    assert decisions[3].utilisation == pytest.approx(4 * 0.175), "four may well speak at once, each for 175 ms a second"
    waits = [one.retry_after for one in decisions[4:]]
    assert waits == [45.0, 60.0, 60.0], "one of four ends in 45 s, two of five in 72"


@given(st.integers(1, 300))
def test_rarely_do_more_speak_at_once_than_are_counted(dialogues: int) -> None:
    most = most_at_once(dialogues)
    assert dialogues / 2 < most <= dialogues
    assert dialogues_of(most + 1e-6) == dialogues
    more = sum(math.comb(dialogues, speaking) for speaking in range(math.floor(most) + 1, dialogues + 1))
    assert more * 50 <= 2**dialogues, "in one of 50 moments, the normal bound's own error included"


def test_on_two_streams_the_fuller_one_counts() -> None:
    times = measured(lm_row=0.004, solve_frame=1e-4)
    assert DEMAND.load(times, parallel=True) == pytest.approx(0.05)


def test_a_machine_that_measured_nothing_or_carries_nobody_admits() -> None:
    assert Admission().decide(Occupancy(500, DEMAND.load(StageTimes()))).admitted
    assert Admission().decide(Occupancy(0, DEMAND.load(measured(lm_row=10.0)))).admitted


def test_times_follow_what_is_measured_and_become_the_planners_costs() -> None:
    times = StageTimes(weight=0.5, squared_share=0.01)
    times.observe("solve_frame", times.solve_units(100), 4.0)  # 100 + 0.01 · 100² = 200 units
    times.observe("solve_frame", 200, 8.0)
    times.observe("solve_frame", 0, 3.0)
    assert times.seconds == {"solve_frame": pytest.approx(0.03)}
    assert times.costs() == Costs(solve_frame=0.03, solve_frame_squared=0.0003)
    with pytest.raises(ValueError, match="-1"):
        times.observe("lm_row", 5, -1.0)


def test_a_hiccup_is_no_trend() -> None:
    times = measured(vocode_frame=0.01)
    times.observe("vocode_frame", 1, 60.0)
    assert times.seconds["vocode_frame"] == pytest.approx(0.01 * (1 + 0.05 * 3)), "it counts as four times as slow"


def test_what_a_row_adds_is_told_from_what_every_batch_takes() -> None:
    batch = BatchTime()
    for _ in range(50):
        batch.observe(1, 0.031)
    assert batch.each == 0.0 and batch.of(1) == pytest.approx(0.031), "of one size alone nothing is known"
    for size in [2, 5, 8, 3, 7, 1, 6, 4] * 20:
        batch.observe(size, 0.03 + 0.001 * size)
    assert batch.each == pytest.approx(0.001, rel=1e-3)
    assert batch.of(20) == pytest.approx(0.05, rel=1e-3)
    for _ in range(100):
        batch.observe(1, 0.0)
    assert 0 <= batch.each and batch.of(0) >= 0


def test_an_overflow_drops_the_oldest_turns_until_half_is_free() -> None:
    assert turns_to_drop([300, 300, 300], context=1_000) == 0
    assert turns_to_drop([300, 300, 300, 99], context=1_000) == 0
    assert turns_to_drop([300, 300, 300, 100], context=1_000) == 2
    assert turns_to_drop([300, 300, 300, 100], context=1_000, opening=50) == 2
    assert turns_to_drop([10, 900, 50], context=950) == 2
    assert turns_to_drop([500, 700], context=1_000) == 1, "the last turn stays, though it is more than half"
    with pytest.raises(ValueError, match="1200"):
        turns_to_drop([300, 1200], context=1_000)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=9), st.integers(0, 20), st.integers(81, 200))
def test_what_is_left_fits_and_no_turn_goes_without_need(turns: list[int], opening: int, context: int) -> None:
    dropped = turns_to_drop(turns, context=context, opening=opening)
    left = opening + sum(turns[dropped:])
    assert left < context and dropped < len(turns)
    if dropped:
        assert opening + sum(turns) >= context
        assert left <= context // 2 or dropped == len(turns) - 1
        assert left + turns[dropped - 1] > context // 2
