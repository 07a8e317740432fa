"""At 120 % load, on one trace and a virtual clock: deadlines against what peers do."""

from dataclasses import replace
from math import inf

import pytest
from simulated_calls import ByArrival, RoundRobin, Simulation, offered_load, trace

from antiphon.scheduler._core import Scheduler
from antiphon.scheduler.settings import Costs, Settings

COSTS = Costs(lm_row=5e-4, prefill_token=5e-5, solve_frame=3e-5, solve_frame_squared=1.5e-8, vocode_frame=1e-4)
SETTINGS = Settings(
    n_pages=10_000,
    max_row_pages=40,
    lm_seconds=0.05,
    solve_seconds=0.1,
    vocode_seconds=0.1,
    max_lead_seconds=20.0,
)


@pytest.mark.parametrize("seed", [1, 3])
def test_deadlines_beat_arrival_order_and_round_robin(seed: int) -> None:
    calls = trace(seconds=30, rate=1.6, seed=seed)
    assert 1.15 < offered_load(calls, COSTS) < 1.3
    ours = Simulation(Scheduler, SETTINGS, COSTS, calls).run()
    assert len(ours.first_audio) == len(calls)
    peers = replace(SETTINGS, max_lead_seconds=inf)  # they know no playback, so they never pause
    for policy in (ByArrival, RoundRobin):
        theirs = Simulation(policy, peers, COSTS, calls).run()
        assert ours.underruns < theirs.underruns, policy.__name__
        assert ours.dry_seconds < theirs.dry_seconds, policy.__name__
        assert ours.p95() < 0.9 * theirs.p95(), policy.__name__


def test_a_machine_with_room_serves_all_in_time() -> None:
    calls = trace(seconds=60, rate=0.5, seed=0)
    assert offered_load(calls, COSTS) < 0.5
    ours = Simulation(Scheduler, SETTINGS, COSTS, calls).run()
    assert ours.underruns == 0 and max(ours.first_audio) < 1.0
