"""One round of the scheduler, its inputs included, beside its Python twin.

    python -m benchmarks.bench_plan [--dialogues 8 32 128 512 1024 4096] [--runs 200]

Every dialogue speaks: a round takes in one sampled id of each, plans the LM forward that computes them all (page
tables, slots and positions written) and the Euler steps of the sixteenth part that has a chunk, and counts both as
done. The twin, an oracle and no planner for serving, is timed in the same run, at few rounds and up to --most-twin
dialogues. Appends to results/plan.csv.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from antiphon.scheduler import reference
from antiphon.scheduler._core import Scheduler
from antiphon.scheduler.buffers import PlanBuffers
from antiphon.scheduler.settings import Costs, Settings
from benchmarks.harness import RESULTS, Spread, append_rows, environment

POSITIONS = 1_024  # of every dialogue
PAGE_SIZE = 64
CHUNK_EVERY = 16  # so many dialogues have one chunk among them


def main() -> None:
    """Measure, print, append the rows."""
    options = _options()
    where = environment(torch.device("cpu"))
    rows: list[dict[str, object]] = []
    for dialogues in options.dialogues:
        core = Spread.of(_rounds(Scheduler, dialogues, options.runs))
        timed_twin = dialogues <= options.most_twin
        twin = Spread.of(_rounds(reference.Scheduler, dialogues, 3)) if timed_twin else None
        print(
            f"{dialogues:5} dialogues: {1e6 * core.p50:8.1f} µs ({1e6 * core.p20:.1f} to {1e6 * core.p80:.1f}), "
            f"{1e9 * core.p50 / dialogues:.0f} ns each; twin " + (f"{1e6 * twin.p50:.0f} µs" if twin else "not timed")
        )
        rows.append(
            {
                **where,
                "dialogues": dialogues,
                "positions": POSITIONS,
                "runs": options.runs,
                **{f"core_{name}_us": round(1e6 * getattr(core, name), 2) for name in ("p20", "p50", "p80")},
                "twin_p50_us": round(1e6 * twin.p50, 1) if twin else "",
            }
        )
    append_rows(options.results, rows)
    print(f"appended {len(rows)} rows to {options.results}", file=sys.stderr)


def _rounds(kind: type[Scheduler] | type[reference.Scheduler], dialogues: int, runs: int) -> list[float]:
    """Seconds of each of `runs` rounds, after a warm-up."""
    settings = Settings(
        n_pages=dialogues * (POSITIONS // PAGE_SIZE + math.ceil((runs + 5) / PAGE_SIZE) + 1),
        page_size=PAGE_SIZE,
        max_dialogues=dialogues,
        max_rows=dialogues,
        max_tokens=dialogues * POSITIONS,
        max_solves=64,
        solve_steps=1_000_000,  # no solve ends
        solve_seconds=0.05,
    )
    buffers = PlanBuffers.allocate(settings)
    scheduler = kind(settings, buffers)
    scheduler.set_costs(Costs(solve_frame=1e-6, solve_frame_squared=1e-9))
    random = np.random.default_rng(0)
    for dialogue in range(dialogues):
        scheduler.open(dialogue, 0.0)
        scheduler.extend(dialogue, POSITIONS)
        scheduler.commit(dialogue, 0.0)
        scheduler.sent(dialogue, float(random.uniform(1, 20)), 0.0)
        if dialogue % CHUNK_EVERY == 0:
            scheduler.chunk(dialogue, 500, 344)
    scheduler.plan(0.0)
    scheduler.lm_done()
    sampled = np.arange(dialogues, dtype=np.int32)
    seconds = []
    for run in range(runs + 3):
        begun = time.perf_counter()
        scheduler.extend_each(sampled)
        plan = scheduler.plan(0.01 * run)
        scheduler.lm_done()
        scheduler.solves_done()
        seconds.append(time.perf_counter() - begun)
        assert plan.lm_rows == dialogues, "every dialogue has its row"
    return seconds[3:]


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plan time, inputs included, beside the Python twin.")
    parser.add_argument("--dialogues", type=int, nargs="+", default=[8, 32, 128, 512, 1_024, 4_096])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--most-twin", type=int, default=512)
    parser.add_argument("--results", type=Path, default=RESULTS / "plan.csv")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
