"""The scheduler's rules, each as its user sees it, on the C++ core."""

import threading
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.scheduler._core import Plan, Scheduler
from antiphon.scheduler.buffers import PlanBuffers
from antiphon.scheduler.hearing import Hearing
from antiphon.scheduler.settings import Costs, Settings


class Bench:
    """A core, its buffers, and the shortest words for what tests do with them."""

    def __init__(self, n_pages: int = 100, page_size: int = 4, costs: Costs | None = None, **limits: object) -> None:
        self.settings = Settings(n_pages, page_size, **limits)  # type: ignore[arg-type]
        self.buffers = PlanBuffers.allocate(self.settings)
        self.core = Scheduler(self.settings, self.buffers)
        self.core.set_costs(costs or Costs())

    def ask(self, dialogue: int, ids: int, at: float = 0.0) -> None:
        """A dialogue whose turn of so many ids was committed."""
        self.core.open(dialogue, at)
        self.core.extend(dialogue, ids)
        self.core.commit(dialogue, at)

    def lm(self, now: float = 0.0) -> list[tuple[int, int]]:
        """(dialogue, ids) of the next LM forward's rows, which then succeeds."""
        plan = self.core.plan(now)
        rows = self.rows(plan)
        self.core.lm_done()
        return rows

    def rows(self, plan: Plan) -> list[tuple[int, int]]:
        lengths = np.diff(self.buffers.cu_seqlens[: plan.lm_rows + 1])
        return list(zip(self.buffers.lm_dialogues[: plan.lm_rows].tolist(), lengths.tolist(), strict=True))

    def solves(self, now: float = 0.0) -> list[int]:
        """The rows of the next Euler steps, which then succeed."""
        plan = self.core.plan(now, lm=False)
        rows: list[int] = self.buffers.solves[: plan.solves].tolist()
        self.core.solves_done()
        return rows

    def voice(self, dialogue: int, kind: Hearing, frames: int = 100, since: float = 0.0) -> None:
        """A dialogue whose audio waits for the encoder."""
        self.core.open(dialogue, since)
        self.core.encode(dialogue, kind, frames, since)

    def encodes(self) -> list[int]:
        """The dialogues of the next encoder pass, which then succeeds."""
        plan = self.core.plan(0.0, lm=False, speech=False)
        rows: list[int] = self.buffers.encodes[: plan.encodes].tolist()
        self.core.encodes_done()
        return rows


def test_the_first_due_is_served_first_and_decodes_do_not_wait_for_prompts() -> None:
    bench = Bench(max_tokens=10)
    for dialogue, ids, at in ((1, 30, 3.0), (2, 1, 2.0), (3, 30, 1.0), (4, 1, 4.0)):
        bench.ask(dialogue, ids, at)
    assert bench.lm() == [(3, 8), (2, 1), (4, 1)], "the head of the line, then all that decode"


def test_a_batch_tells_where_every_key_and_value_goes() -> None:
    bench = Bench(page_size=4)
    bench.ask(1, 3)
    assert bench.lm() == [(1, 3)]
    bench.ask(2, 2)
    bench.core.extend(1, 3)
    plan = bench.core.plan(0.0)
    assert (plan.lm_rows, plan.lm_tokens, plan.lm_pages) == (2, 5, 2)
    assert bench.buffers.positions[:5].tolist() == [3, 4, 5, 0, 1]
    assert bench.core.pages(1) == [0, 1] and bench.core.pages(2) == [2]
    assert bench.buffers.slots[:5].tolist() == [3, 4, 5, 8, 9]
    assert bench.buffers.context_lens[:2].tolist() == [6, 2]
    assert bench.buffers.block_tables[0, :2].tolist() == [0, 1]
    assert bench.buffers.lm_ends[:2].tolist() == [1, 1]


def test_what_is_heard_is_computed_ahead_at_nobodys_cost_and_gives_way_first() -> None:
    bench = Bench(n_pages=5, page_size=4)
    bench.ask(1, 8)
    bench.lm()
    bench.core.finish(1, now=1.0)  # idle, with two pages
    bench.core.open(2, 2.0)
    bench.core.listen(2, 2.0)
    bench.core.extend(2, 20)
    with pytest.raises(ValueError, match="at most 20"):
        bench.core.extend(2, 1)
    assert bench.lm(2.0) == [(2, 12)] and bench.core.positions(1) == (8, 8)
    bench.ask(3, 6, at=3.0)
    plan = bench.core.plan(3.0)
    assert bench.rows(plan) == [(3, 6)]
    assert bench.buffers.dropped[: plan.dropped].tolist() == [2] and bench.core.positions(1) == (8, 8)


def test_idle_kv_goes_longest_idle_first_then_those_due_last() -> None:
    bench = Bench(n_pages=6, page_size=4)
    for dialogue in (1, 2, 3):
        bench.ask(dialogue, 8, at=float(dialogue))
    bench.lm()
    bench.core.finish(2, now=5.0)
    bench.core.finish(1, now=6.0)
    bench.core.extend(3, 1)
    bench.ask(4, 16, at=0.0)  # due before 3
    plan = bench.core.plan(8.0)
    assert bench.buffers.dropped[: plan.dropped].tolist() == [2, 1], "3, though it waits behind, keeps its KV"
    assert bench.rows(plan) == [(4, 16)]


def test_a_barge_in_frees_pages_rows_and_the_solve_at_once() -> None:
    bench = Bench(n_pages=8, page_size=4)
    bench.ask(1, 20)
    bench.core.plan(0.0)  # a forward is under way
    bench.core.chunk(1, 100, 50)
    bench.core.cancel(1, 6, now=1.0)
    bench.core.lm_done()
    assert bench.core.positions(1) == (6, 6) and bench.core.free_pages == 6
    plan = bench.core.plan(1.0)
    assert (plan.lm_rows, plan.solves, plan.vocodes) == (0, 0, 0)


def test_a_first_chunk_does_not_wait_behind_a_long_row_but_does_not_starve_it() -> None:
    costs = Costs(solve_frame=1e-3)
    bench = Bench(costs=costs, solve_seconds=0.1, solve_steps=4)
    for dialogue in (1, 2, 3):
        bench.ask(dialogue, 1, at=float(dialogue))
    bench.core.sent(1, 0.5, now=1.0)
    bench.core.chunk(1, 250, 100)  # a step of 0.25 s, due at 1.5
    assert bench.solves(1.1) == [1]
    bench.core.chunk(2, 60, 50)  # due at 3
    assert [bench.solves(1.2) for _ in range(4)] == [[2]] * 4, "joins between steps, and goes ahead"
    assert bench.solves(1.3) == [1]
    bench.core.chunk(3, 90, 50)
    rows = [bench.solves(1.4) for _ in range(5)]
    assert rows == [[3], [3], [3], [1], [3]], "passed over for 0.27 s, the long row has its step of 0.25 s"


def test_several_euler_steps_run_in_one_go_as_far_as_time_allows() -> None:
    bench = Bench(costs=Costs(solve_frame=1e-3), solve_seconds=0.25, solve_steps=4)
    bench.ask(1, 1)
    bench.core.chunk(1, 100, 50)
    assert bench.core.plan(0.0).solve_repeats == 2
    bench.core.solves_done()
    bench.ask(2, 1)
    bench.core.chunk(2, 140, 50)
    plan = bench.core.plan(0.0)
    assert (plan.solves, plan.solve_repeats) == (2, 1)
    assert bench.buffers.solve_steps[:2].tolist() == [2, 0], "one goes on while the other starts"


def test_no_plan_asks_for_more_euler_steps_than_it_may() -> None:
    bench = Bench(max_repeats=3, solve_steps=4)
    bench.ask(1, 1)
    bench.core.chunk(1, 100, 50)
    assert bench.core.plan(0.0).solve_repeats == 3
    bench.core.solves_done()
    assert bench.core.plan(0.0).solve_repeats == 1


def test_a_chunk_without_frames_to_solve_goes_to_the_vocoder_at_once() -> None:
    bench = Bench()
    bench.ask(1, 1)
    bench.core.chunk(1, 0, 40)
    plan = bench.core.plan(0.0)
    assert (plan.solves, plan.vocodes) == (0, 1)


def test_committed_turns_are_heard_first_then_closed_blocks_and_guesses_where_nothing_else_waits() -> None:
    bench = Bench()
    bench.voice(1, Hearing.GUESS, since=0.0)
    bench.voice(2, Hearing.CLOSED, since=2.0)
    bench.voice(3, Hearing.COMMITTED, since=5.0)
    bench.voice(4, Hearing.CLOSED, since=1.0)
    bench.voice(5, Hearing.COMMITTED, since=4.0)
    assert [bench.encodes() for _ in range(4)] == [[5, 3], [4, 2], [1], []]
    bench.core.encode(1, Hearing.GUESS, 50, 6.0)
    bench.core.encode(2, Hearing.CLOSED, 50, 6.0)
    bench.core.encode(2, Hearing.CLOSED, 0, 6.0)
    assert bench.encodes() == [1], "the other's audio waits no more"


def test_an_encoder_pass_keeps_to_its_time_and_frames_but_for_the_first() -> None:
    bench = Bench(costs=Costs(encode_frame=1e-3), encode_seconds=0.25, max_encode_frames=220)
    for dialogue, frames in ((1, 900), (2, 100), (3, 200), (4, 110), (5, 20)):
        bench.voice(dialogue, Hearing.CLOSED, frames, since=float(dialogue))
    passes = [bench.encodes() for _ in range(4)]
    assert passes == [[1], [2, 4], [3, 5], []], "the long one by itself, and what fits beside those that come first"


def test_audio_that_was_not_encoded_well_is_planned_again_and_what_replaced_it_too() -> None:
    bench = Bench()
    bench.voice(1, Hearing.CLOSED)
    bench.voice(2, Hearing.CLOSED)
    bench.core.plan(0.0)
    bench.core.encode(2, Hearing.COMMITTED, 30, 1.0)  # while the pass is under way
    bench.core.encodes_done(np.array([1], np.int32))
    assert [bench.encodes() for _ in range(3)] == [[2], [1], []]


def test_who_is_far_ahead_of_playback_pauses_until_the_time_the_plan_names() -> None:
    bench = Bench(max_lead_seconds=5.0, max_unread_seconds=20.0)
    bench.ask(1, 4)
    bench.core.sent(1, 8.0, now=1.0)  # runs out at 9
    plan = bench.core.plan(2.0)
    assert (plan.lm_rows, plan.paused, plan.wake) == (0, 1, 4.0)
    assert bench.lm(4.0) == [(1, 4)]
    bench.core.extend(1, 1)
    bench.core.sent(1, 13.0, now=4.0)  # 21 seconds, none of them read
    plan = bench.core.plan(100.0)
    assert (plan.lm_rows, plan.paused, plan.wake) == (0, 1, inf)
    bench.core.read(1, 2.0)
    assert bench.lm(100.0) == [(1, 1)]


def test_playback_follows_the_clock_and_believes_reports_within_bounds() -> None:
    bench = Bench(heard_slack_seconds=0.5)
    bench.ask(1, 1)
    assert bench.core.sent(1, 2.0, now=10.0) == 0.0
    assert bench.core.playback(1, 10.5) == (2.0, 0.5, 1.5)
    bench.core.heard(1, 0.2, now=10.5)  # playback began late
    assert bench.core.playback(1, 10.5) == pytest.approx((2.0, 0.2, 1.8))
    bench.core.heard(1, 99.0, now=10.5)
    assert bench.core.playback(1, 10.5) == pytest.approx((2.0, 0.7, 1.3))
    assert bench.core.sent(1, 1.0, now=12.0) == pytest.approx(0.2), "it had run dry at 11.8"


def test_an_answer_that_ran_dry_lets_those_pass_that_can_be_saved() -> None:
    bench = Bench(costs=Costs(solve_frame=1e-3), solve_seconds=0.05, solve_steps=1, patience_seconds=10.0)
    for dialogue, runs_out in ((1, 5.0), (2, 8.0), (3, 17.0)):
        bench.ask(dialogue, 1)
        bench.core.sent(dialogue, runs_out, now=0.0)
        bench.core.chunk(dialogue, 50, 50)
    assert [bench.solves(6.0) for _ in range(3)] == [[2], [1], [3]]


def test_a_pinned_prefix_is_shared_never_written_and_never_dropped() -> None:
    bench = Bench(n_pages=6, page_size=4)
    bench.ask(1, 10)
    bench.lm()
    assert bench.core.pin(7, 1, 10) == 8, "the full pages of ten positions"
    bench.core.open(2, 0.0, prefix=7)
    assert bench.core.positions(2) == (8, 8) and bench.core.pages(2) == bench.core.pages(1)[:2]
    bench.core.finish(1, 1.0)
    bench.core.extend(2, 7)
    bench.core.commit(2, 1.0)
    assert bench.lm(1.0) == [(2, 7)]
    assert set(bench.buffers.slots[:7].tolist()).isdisjoint(range(8))
    bench.core.drop(1)
    assert bench.core.positions(1) == (8, 10)
    bench.core.cancel(2, 5, 2.0)  # within the second shared page
    assert bench.core.positions(2) == (4, 5) and len(bench.core.pages(2)) == 1
    with pytest.raises(ValueError, match="serves 2 open dialogues"):
        bench.core.unpin(7)
    bench.core.close(1)
    bench.core.close(2)
    assert bench.core.free_pages == 4
    bench.core.unpin(7)
    assert bench.core.free_pages == 6


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(3, 6), st.integers(1, 9))
def test_at_a_minimum_pool_everything_completes(prompts: list[int], n_pages: int, max_tokens: int) -> None:
    """Answers of three ids each, in a pool that holds hardly one dialogue."""
    bench = Bench(n_pages=n_pages, page_size=5, max_tokens=max_tokens)
    left = {}
    for dialogue, ids in enumerate(prompts):
        bench.ask(dialogue, ids)
        left[dialogue] = 3
    for _ in range(2_000):
        plan = bench.core.plan(0.0)
        ended = bench.buffers.lm_dialogues[: plan.lm_rows][bench.buffers.lm_ends[: plan.lm_rows] == 1].tolist()
        assert plan.lm_rows > 0, "the first in order is always served"
        bench.core.lm_done()
        for dialogue in ended:
            left[dialogue] -= 1
            if left[dialogue] > 0:
                bench.core.extend(dialogue, 1)
            else:
                bench.core.finish(dialogue, 0.0)
                del left[dialogue]
        if not left:
            return
    raise AssertionError(f"still to come: {left}")


def test_other_threads_run_and_may_call_while_a_plan_is_made() -> None:
    bench = Bench(n_pages=2_000, max_dialogues=512, max_rows=512)
    for dialogue in range(500):
        bench.ask(dialogue, 9)
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            bench.core.sent(3, 0.1, now=0.0)
            bench.core.positions(3)

    caller = threading.Thread(target=call)
    caller.start()
    plans = [bench.core.plan(0.0).lm_rows for _ in range(200)]
    stop.set()
    caller.join()
    assert set(plans) == {228}, "2,048 ids are 227 prompts of 9, and a part"


def test_buffers_of_another_shape_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="lm_dialogues has shape"):
        Scheduler(Settings(4, max_rows=3), PlanBuffers.allocate(Settings(4)))
    with pytest.raises(ValueError, match="n_pages is 0"):
        Settings(0)
