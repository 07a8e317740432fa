"""The rules of scheduler/planning.py, each as a user of a small pool would see it."""

from hypothesis import given
from hypothesis import strategies as st

from antiphon.scheduler.planning import IdleKV, LMPlan, LMRow, LMWork, pages_for, plan_lm


def test_decodes_go_first_and_a_prefill_takes_what_the_token_budget_leaves() -> None:
    work = [LMWork(1, 0, 100), LMWork(2, 40, 1), LMWork(3, 0, 10), LMWork(4, 7, 1)]
    plan = plan_lm(work, [], free_pages=99, page_size=16, batch_tokens=50)
    assert plan == LMPlan((LMRow(2, 1), LMRow(4, 1), LMRow(1, 48)), ())


def test_pages_come_from_the_longest_idle_then_from_the_latest_arrival() -> None:
    work = [LMWork(1, 0, 64), LMWork(2, 16, 20), LMWork(3, 16, 20)]
    plan = plan_lm(work, [IdleKV(8, 16), IdleKV(9, 16)], free_pages=1, page_size=16, batch_tokens=64)
    assert plan == LMPlan((LMRow(1, 64),), (8, 9, 3))


def test_listening_ahead_takes_what_is_left_and_drops_nobody() -> None:
    ahead = [LMWork(5, 16, 40), LMWork(6, 0, 40)]
    idle = [IdleKV(5, 16, ahead=16), IdleKV(7, 64)]
    plan = plan_lm([LMWork(1, 20, 1)], idle, ahead, free_pages=4, page_size=16, batch_tokens=60)
    assert plan == LMPlan((LMRow(1, 1), LMRow(5, 40), LMRow(6, 16)), ())


def test_what_was_prefilled_ahead_gives_way_before_idle_dialogues() -> None:
    idle = [IdleKV(7, 16), IdleKV(5, 64, ahead=30)]  # of 5's four pages the last holds nothing else
    plan = plan_lm([LMWork(1, 32, 1)], idle, free_pages=0, page_size=16, batch_tokens=60)
    assert plan == LMPlan((LMRow(1, 1),), (), ((5, 3),))
    plan = plan_lm([LMWork(1, 32, 33)], idle, free_pages=0, page_size=16, batch_tokens=60)
    assert plan == LMPlan((LMRow(1, 33),), (7, 5))


def test_a_dialogue_larger_than_the_pool_gets_what_there_is() -> None:
    assert plan_lm([LMWork(1, 0, 100)], [], free_pages=2, page_size=16, batch_tokens=512).rows == (LMRow(1, 32),)


@given(
    st.lists(st.tuples(st.integers(0, 70), st.integers(1, 70)), min_size=1, max_size=8),
    st.lists(st.integers(0, 70), max_size=4),
    st.integers(0, 6),
    st.integers(1, 64),
)
def test_budgets_hold_and_the_engine_never_stands_still(
    work: list[tuple[int, int]], idle: list[int], free_pages: int, batch_tokens: int
) -> None:
    page_size = 16
    entries = [LMWork(i, computed, uncomputed) for i, (computed, uncomputed) in enumerate(work)]
    idles = [IdleKV(100 + i, computed) for i, computed in enumerate(idle)]
    plan = plan_lm(entries, idles, free_pages=free_pages, page_size=page_size, batch_tokens=batch_tokens)
    computed = {entry.dialogue: entry.computed for entry in [*entries, *idles]}
    planned = {row.dialogue: row.n_tokens for row in plan.rows}
    assert not planned.keys() & set(plan.dropped)
    assert len(set(plan.dropped)) == len(plan.dropped)
    assert 0 < sum(planned.values()) <= batch_tokens or not planned
    taken = sum(pages_for(computed[d] + n, page_size) - pages_for(computed[d], page_size) for d, n in planned.items())
    assert taken <= free_pages + sum(pages_for(computed[d], page_size) for d in plan.dropped)
    everything = free_pages + sum(pages_for(held, page_size) for held in computed.values())
    first = min(entries, key=lambda entry: entry.uncomputed > 1)
    if pages_for(first.computed + 1, page_size) <= everything:
        assert first.dialogue in planned
