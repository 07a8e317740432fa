"""The C++ scheduler against its Python twin under random traces: plans, buffers, refusals and state are the same."""

import random
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_pair import SchedulerPair

from antiphon.scheduler.hearing import Hearing
from antiphon.scheduler.settings import Costs, Settings

DIALOGUES = 5
number = st.integers(0, DIALOGUES)  # one more than may be open
time = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 3.0, 7.0, nan])
seconds = st.sampled_from([0.0, 0.1, 0.7, 2.0, 9.0, -1.5, inf])
few = st.integers(-1, 13)
rows = st.one_of(st.none(), st.lists(st.integers(-1, 4), max_size=4))
one_call = st.one_of(
    st.tuples(st.just("open"), number, time),
    st.tuples(st.just("open"), number, time, st.integers(0, 1)),
    st.tuples(st.just("close"), number),
    st.tuples(st.just("pin"), st.integers(0, 1), number, few),
    st.tuples(st.just("unpin"), st.integers(0, 1)),
    st.tuples(st.just("extend"), number, few),
    st.tuples(st.just("extend_each"), st.lists(number, max_size=4)),
    st.tuples(st.just("truncate"), number, few),
    st.tuples(st.just("drop"), number),
    st.tuples(st.just("listen"), number, time),
    st.tuples(st.just("encode"), number, st.integers(-1, 3), few, time),
    st.tuples(st.just("commit"), number, time),
    st.tuples(st.just("chunk"), number, st.sampled_from([0, 1, 7, 40, 90]), st.sampled_from([0, 3, 50, 400, -2])),
    st.tuples(st.just("end"), number),
    st.tuples(st.just("finish"), number, time),
    st.tuples(st.just("cancel"), number, few, time),
    st.tuples(st.just("sent"), number, seconds, time),
    st.tuples(st.just("heard"), number, seconds, time),
    st.tuples(st.just("read"), number, seconds),
    st.tuples(st.just("lm_done"), rows),
    st.tuples(st.just("solves_done"), rows),
    st.tuples(st.just("vocodes_done"), rows),
    st.tuples(st.just("encodes_done"), rows),
    st.tuples(st.just("plan"), time, st.booleans(), st.booleans(), st.booleans()),
)
# What a loop does after a plan: everything comes out well, and every finished row gets its next id.
step = st.tuples(st.just("step"), time)
# Audio that waits, so that traces come to where it competes.
voice = st.tuples(
    st.just("voice"), number, st.sampled_from(Hearing), st.integers(1, 9), st.sampled_from([0.0, 0.25, 1.0])
)
# A turn as it goes, so that traces come to where KV is dropped and chunks are solved.
turn = st.tuples(st.just("turn"), number, time, st.integers(1, 9), st.sampled_from(["listen", "commit"]))

budgets = st.builds(
    Settings,
    n_pages=st.integers(1, 9),
    page_size=st.sampled_from([1, 4]),
    max_dialogues=st.just(DIALOGUES),
    max_row_pages=st.integers(2, 6),
    max_rows=st.integers(1, 4),
    max_tokens=st.integers(1, 12),
    max_solves=st.integers(1, 3),
    max_solve_frames=st.sampled_from([1, 60, 2**31 - 1]),
    max_encodes=st.integers(1, 3),
    max_encode_frames=st.sampled_from([1, 8, 2**31 - 1]),
    solve_steps=st.integers(1, 3),
    max_repeats=st.integers(1, 3),
    lm_seconds=st.sampled_from([0.0, 0.3, inf]),
    solve_seconds=st.sampled_from([0.0, 0.4, inf]),
    vocode_seconds=st.sampled_from([0.0, 0.5, inf]),
    encode_seconds=st.sampled_from([0.0, 0.5, inf]),
    max_lead_seconds=st.sampled_from([0.0, 1.0, 5.0, inf]),
    max_unread_seconds=st.sampled_from([1.0, inf]),
)
costs = st.builds(
    Costs,
    lm_row=st.sampled_from([0.0, 0.1]),
    prefill_token=st.sampled_from([0.0, 0.07]),
    solve_frame=st.sampled_from([0.0, 0.003]),
    solve_frame_squared=st.sampled_from([0.0, 0.0001]),
    vocode_frame=st.sampled_from([0.0, 0.01]),
    encode_frame=st.sampled_from([0.0, 0.1]),
)


@settings(max_examples=300, deadline=None)
@given(budgets, costs, st.lists(st.one_of(one_call, step, step, voice, voice, turn), max_size=50))
def test_core_equals_its_twin(budget: Settings, cost: Costs, calls: list[tuple]) -> None:  # type: ignore[type-arg]
    pair = SchedulerPair(budget)
    pair.call("set_costs", cost)
    for name, *arguments in calls:
        if name == "turn":
            dialogue, now, ids, begin = arguments
            pair.call("open", dialogue, now)
            pair.call(begin, dialogue, now)
            pair.call("extend", dialogue, ids)
            pair.call("chunk", dialogue, 30, 40)
        elif name == "voice":
            dialogue, kind, frames, since = arguments
            pair.call("open", dialogue, since)
            pair.call("encode", dialogue, kind, frames, since)
        elif name == "step":
            pair.step(*arguments)
        else:
            pair.call(name, *arguments)
    for dialogue in list(pair.open):
        pair.call("close", dialogue)
    assert pair.core.free_pages == budget.n_pages - pair.core.pinned_pages


@pytest.mark.parametrize("seed", range(5))
def test_long_conversations_keep_both_equal(seed: int) -> None:
    """Callers who mostly do what makes sense, at a pool that is too small, with cuts while a forward is under way."""
    chance = random.Random(seed)
    pair = SchedulerPair(
        Settings(
            n_pages=chance.choice([12, 30]),
            page_size=4,
            max_dialogues=12,
            max_row_pages=10,
            max_rows=chance.choice([3, 8]),
            max_tokens=24,
            max_solves=4,
            solve_steps=3,
            lm_seconds=0.05,
            solve_seconds=0.02,
            vocode_seconds=0.01,
            encode_seconds=0.05,
            max_lead_seconds=chance.choice([0.5, 2.0]),
            max_unread_seconds=2.0,
        )
    )
    pair.call("set_costs", Costs(0.005, 0.002, 5e-5, 2e-6, 2e-4, 1e-4))
    now = 0.0
    for dialogue in range(9):
        pair.call("open", dialogue, now)
    for _ in range(150):
        now += chance.choice([0.01, 0.03, 0.1])
        plan = pair.call("plan", now)
        for dialogue in chance.sample(range(9), 3):
            _behave(pair, dialogue, now, chance)
        pair.finish(plan, now)


def _behave(pair: SchedulerPair, dialogue: int, now: float, chance: random.Random) -> None:
    """One caller's next act. Those that do not fit his phase are refused by both."""
    computed, total = pair.core.positions(dialogue)
    match chance.choice(
        ["listen", "commit", "commit", "extend", "chunk", "chunk", "end", "cancel", "cut", "pin", "away"]
    ):
        case "listen":
            pair.call("listen", dialogue, now)
            pair.call("extend", dialogue, chance.randint(1, 9))
            pair.call("encode", dialogue, chance.choice(list(Hearing)), chance.randint(0, 400), now)
        case "commit":
            pair.call("extend", dialogue, chance.randint(1, 6))
            pair.call("commit", dialogue, now)
        case "extend":
            pair.call("extend", dialogue, chance.randint(1, 6))
        case "chunk":
            pair.call("chunk", dialogue, chance.choice([20, 80, 170]), chance.randint(1, 99))
        case "end":
            pair.call(chance.choice(["end", "finish"]), dialogue, *([] if chance.random() < 0.5 else [now]))
        case "cancel":
            pair.call("cancel", dialogue, chance.randint(0, total), now)
        case "cut":
            pair.call("truncate", dialogue, chance.choice([computed, max(0, total - 3), total]))
        case "pin":
            pair.call("pin", dialogue % 3, dialogue, computed)
        case "away":
            pair.call("close", dialogue)
            pair.call("open", dialogue, now, chance.choice([None, 0, 1, 2]))
            pair.call("open", dialogue, now)
            pair.call("unpin", chance.randint(0, 2))
