"""How many speaking callers does this machine carry? Calls that arrive at random, in real time, over the network.

    python -m benchmarks.bench_load --model demo/checkpoint [--rates 5 10 20 40] [--seconds 60] [--streaming seamless]
    python -m benchmarks.bench_load --model demo/checkpoint --against-official CHECKOUT --python ENV/bin/python

A server in processes of its own. Callers arrive at a rate, as a Poisson process that waits for nobody; each speaks
recorded questions as 8 kHz µ-law at their own pace, plays the answers as they come, thinks, sometimes interrupts, and
hangs up (benchmarks/load_caller.py). Rates are tried in ascending order until answers run dry; then the rates between
the last that did not and the first that did are halved `--refine` times. A rate is carried when the 99th percentile of
underruns an answer is 0. A row's utilisation is the part of the steady time (the arrivals' last three quarters) that
the engine spent on each stage, as its log tells it every second (docs/serving.md). The clients run on the same machine:
their CPU time is in nobody's row but takes its share.
Appends to results/load.csv and draws results/load.png (with matplotlib: `pip install -e ".[bench]"`).

`--against-official` measures throughput, first audio and CPU cost beside a checkout of the official repository, in the
same run (benchmarks/official/beside.py says how). Appends to results/official.csv and draws results/official.png.
"""

import argparse
import asyncio
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from antiphon.client import MULAW_8K
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.hear.resample import resample
from antiphon.engine.speak.chunking import DEFAULT_STREAMING, STREAMING_MODES
from benchmarks import load_plot, load_run
from benchmarks.harness import RESULTS, append_rows, environment
from benchmarks.load_caller import Habits
from benchmarks.official import compare
from benchmarks.serving import CARRY_ALL, TELL_UTILISATION, serving

QUESTIONS: Final = Path(__file__).parents[1] / "demo" / "clips" / "questions"


def main() -> int:
    """Measure, print, append the rows, draw. The exit status."""
    options = _options()
    paths = sorted(options.questions.glob("*.flac")) or sorted(options.questions.glob("*.wav"))
    if not paths:
        print(f"bench_load: {options.questions} holds no .flac and no .wav", file=sys.stderr)
        return 1
    where = {
        **environment(torch.device(options.device)),
        "threads": options.threads,
        "engines": options.engines,
        "model": options.model.name,
    }
    if options.against_official is not None:
        rows = compare.measure(options, paths, where)
        results = options.results or RESULTS / "official.csv"
        draw = load_plot.official
    else:
        rows = asyncio.run(_sweep(options, paths, where))
        results = options.results or RESULTS / "load.csv"
        draw = load_plot.load
    append_rows(results, rows)
    print(f"appended {len(rows)} rows to {results}", file=sys.stderr)
    print(load_plot.drawn(draw, rows, results.with_suffix(".png")), file=sys.stderr)
    return 0


async def _sweep(
    options: argparse.Namespace, paths: Sequence[Path], where: dict[str, object]
) -> list[dict[str, object]]:
    """A row for each rate that was tried, and in words what is carried."""
    questions = [_mulaw(path) for path in paths]
    habits = Habits(options.turns, options.think, options.interrupts, max_output_tokens=options.max_output_tokens)
    serve = [*options.serve, *TELL_UTILISATION, *(() if options.refuse else CARRY_ALL)]
    rows: list[dict[str, object]] = []
    outcomes: dict[float, load_run.Outcome] = {}

    async def tried(rate: float) -> bool:
        with serving(
            options.model, options.device, options.streaming, serve, options.threads, options.engines
        ) as server:
            outcome = await load_run.run(server, questions, habits, rate, options.seconds, options.seed)
        outcomes[rate] = outcome
        row = outcome.row()
        rows.append({**where, "streaming": options.streaming, "seconds": options.seconds, "seed": options.seed, **row})
        print(outcome, flush=True)
        return outcome.is_carried

    carried, dry = 0.0, None
    for rate in sorted(options.rates):
        if not await tried(rate):
            dry = rate
            break
        carried = rate
    for _ in range(options.refine):
        if dry is None or not carried:
            break
        middle = (carried + dry) / 2
        carried, dry = (middle, dry) if await tried(middle) else (carried, middle)
    print(_verdict(outcomes.get(carried), dry))
    return rows


def _verdict(best: load_run.Outcome | None, dry: float | None) -> str:
    if best is None:
        return f"at {dry:g} calls a minute, the least that was tried, answers run dry"
    beyond = "no rate that was tried ran dry" if dry is None else f"at {dry:g} a minute they run dry"
    return (
        f"carried without an underrun at p99: {best.rate:g} calls a minute, {best.speaking_mean:.1f} speaking callers "
        f"on average and {best.speaking_most} at most; {beyond}"
    )


def _mulaw(path: Path) -> bytes:
    pcm, rate = read_audio(path)
    return MULAW_8K.encode(np.clip(resample(pcm[0], rate, MULAW_8K.rate), -1.0, 1.0))


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Speaking callers that this machine carries, or both engines compared."
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of each process for one operation")
    parser.add_argument("--engines", type=int, default=1, help="processes of our server that share the device")
    parser.add_argument("--questions", type=Path, default=QUESTIONS, help="a folder of recorded questions")
    parser.add_argument("--max-output-tokens", type=int, default=400)
    parser.add_argument("--results", type=Path, help="a CSV file; the plot lies beside it")
    calls = parser.add_argument_group("calls")
    calls.add_argument("--streaming", choices=STREAMING_MODES, default=DEFAULT_STREAMING)
    calls.add_argument("--rates", type=float, nargs="+", default=[5, 10, 20, 40, 80], help="calls a minute")
    calls.add_argument("--seconds", type=float, default=60.0, help="in which callers arrive, at each rate")
    calls.add_argument("--refine", type=int, default=2, help="rates tried between the last carried and the first not")
    calls.add_argument("--turns", type=int, default=3, help="answers a caller listens to")
    calls.add_argument("--think", type=float, default=2.0, help="seconds between turns, on average")
    calls.add_argument("--interrupts", type=float, default=0.2, help="share of the answers that are spoken into")
    calls.add_argument("--refuse", action="store_true", help="let the server refuse calls that it cannot carry")
    calls.add_argument("--serve", type=shlex.split, default=[], help="more options of antiphon serve, in one argument")
    calls.add_argument("--seed", type=int, default=0)
    beside = parser.add_argument_group("beside the official pipeline")
    beside.add_argument("--against-official", type=Path, metavar="CHECKOUT")
    beside.add_argument("--python", type=Path, default=Path(sys.executable), help="of the checkout's environment")
    beside.add_argument("--official-threads", type=int, help="its own (default: as many as all our engines have)")
    beside.add_argument("--callers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32], help="that come at once")
    beside.add_argument("--runs", type=int, default=3, help="of each system, in turn")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
