"""Every kernel on a GPU: right, then how fast, beside torch.

    python -m benchmarks.gpu_suite [--ops rms_norm swiglu] [--dry-run]

First the card's own copy bandwidth and bf16 speed. Then each case of each operation: its result against the reference
in float64, and its time under graph replay with a cold L2 cache, beside the reference run eagerly and what else the
case names; then, while time is left, beside the reference under torch.compile. Appends to results/kernels.csv. Last,
unless --ops names some, the models' stages with random weights, to results/gpu_stages.csv. Returns 1 when a result is
wrong. A case is not begun after --budget seconds. --dry-run lists the cases, and needs no GPU.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from antiphon.kernels.cases import Call, Case, cases_of, launcher_of
from antiphon.kernels.registry import Backend, Op, all_ops, use_backend
from benchmarks.gpu_stages import stages
from benchmarks.gpu_timing import Card, Stopwatch
from benchmarks.harness import RESULTS, append_rows, environment

SEED = 0
_FIGURES: Final = ("p20_us", "p50_us", "p80_us", "of_roofline", "replayed", "error", "tolerance")


@dataclass(frozen=True)
class Plan:
    """One case of one operation."""

    op: Op[Any]
    case: Case

    def call(self, device: torch.device) -> Call:
        """Its arguments, the same each time."""
        torch.manual_seed(SEED)
        return self.case.make(device)

    def oracle_call(self, device: torch.device) -> Call:
        """What the reference is asked for comparison."""
        call = self.call(device)
        return call.to_float64() if self.case.oracle_in_float64 else call

    @property
    def launcher(self) -> Callable[..., Any]:
        return launcher_of(self.op)


@dataclass(frozen=True)
class Candidate:
    """One way to run a case."""

    what: str
    run: Callable[..., Any]
    is_ours: bool = False  # compared with the oracle, besides being timed


@dataclass(frozen=True)
class Comparison:
    """A result beside the oracle's."""

    error: float  # largest difference over the oracle's largest value; the share that differs where they must be equal
    tolerance: float | None

    @property
    def is_right(self) -> bool:
        return self.error <= (self.tolerance or 0.0)  # never for NaN


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the plan. Returns 0 when every result was right."""
    options = _options(arguments)
    plans = [Plan(op, case) for op in all_ops() for case in cases_of(op) if not options.ops or op.name in options.ops]
    if options.dry_run:
        for plan in plans:
            cost = plan.case.cost
            print(
                f"{plan.op.name:24} {cost.bytes_moved / 1e6:10.2f} MB {cost.flops / 1e9:10.2f} GFLOP  {plan.case.name}"
            )
        return 0
    if not torch.cuda.is_available():
        print("there is no CUDA device here; --dry-run lists what would be run.", file=sys.stderr)
        return 2
    device = torch.device("cuda", torch.cuda.current_device())
    stopwatch = Stopwatch(device, options.runs)
    with torch.inference_mode():
        rows = list(_rows(plans, stopwatch, device, time.monotonic() + options.budget))
    if rows:
        append_rows(options.results, rows)
    if not options.ops:
        with torch.inference_mode():
            timed = list(_stage_rows(stopwatch, device, time.monotonic() + options.stage_budget))
        if timed:
            append_rows(options.results.with_name("gpu_stages.csv"), timed)
    return 0 if all(row["right"] in (True, "") for row in rows) else 1


def _stage_rows(stopwatch: Stopwatch, device: torch.device, deadline: float) -> Iterator[dict[str, object]]:
    """The stages at the published dimensions in bfloat16. What does not fit on the card is told, and left out."""
    where, card = environment(device), stopwatch.measure_card()
    for stage in stages("9b", device, torch.bfloat16):
        if time.monotonic() > deadline:
            print(f"out of time before {stage.name}: {stage.case}", file=sys.stderr)
            return
        try:
            timing = stopwatch.time(stage.run)
        except torch.OutOfMemoryError as error:
            print(f"{stage.name}, {stage.case}: {error}", file=sys.stderr)
            continue
        seconds = timing.seconds
        floor = None if stage.cost is None else card.floor(stage.cost.bytes_moved, stage.cost.flops)
        print(f"{stage.name:24} {stage.case:48.48} {seconds.p50 * 1e3:8.3f} ms")
        yield {
            **where,
            "stage": stage.name,
            "case": stage.case,
            **{f"{name}_ms": round(getattr(seconds, name) * 1e3, 4) for name in ("p20", "p50", "p80")},
            "of_roofline": "" if floor is None else round(floor / seconds.p50, 3),
            "replayed": timing.replayed,
        }


def _rows(
    plans: Sequence[Plan], stopwatch: Stopwatch, device: torch.device, deadline: float
) -> Iterator[dict[str, object]]:
    where = environment(device)
    card = stopwatch.measure_card()
    card_figures = {
        "copy_gb_s": round(card.bytes_per_second / 1e9, 1),
        "bf16_tflop_s": round(card.bf16_flops / 1e12, 1),
    }
    print(f"{where['device']}: {card_figures['copy_gb_s']} GB/s, {card_figures['bf16_tflop_s']} TFLOP/s bf16")
    # torch.compile takes seconds a case: all of it comes after all that is ours.
    for candidates_of in (_ours_and_eager, _compiled):
        for plan in plans:
            if time.monotonic() > deadline:
                print(f"out of time before {plan.op.name}: {plan.case.name}", file=sys.stderr)
                return
            for candidate in candidates_of(plan):
                row = _measure(plan, candidate, stopwatch, card, device)
                print(
                    f"{plan.op.name:24} {plan.case.name:48.48} {row['what']:16} {row['p50_us']:>10} µs "
                    f"{row['of_roofline']:>6} {row['note']}"
                )
                yield {**where, **card_figures, **row}


def _ours_and_eager(plan: Plan) -> list[Candidate]:
    baselines = [Candidate(name, run) for name, run in plan.case.baselines.items()]
    ours = Candidate("triton", partial(run_on, "triton", plan.launcher), is_ours=True)
    return [ours, Candidate("torch eager", partial(run_on, "torch", plan.launcher)), *baselines]


def _compiled(plan: Plan) -> list[Candidate]:
    return [Candidate("torch.compile", partial(run_on, "torch", torch.compile(plan.launcher, dynamic=False)))]


def _measure(
    plan: Plan, candidate: Candidate, stopwatch: Stopwatch, card: Card, device: torch.device
) -> dict[str, object]:
    """One row. What fails gets one with its error."""
    case, run, is_ours = plan.case, candidate.run, candidate.is_ours
    row: dict[str, object] = {"op": plan.op.name, "case": case.name, "what": candidate.what}
    try:
        call = plan.call(device)
        compared = compare(plan, run, device) if is_ours else None
        timing = stopwatch.time(partial(run, *call.args, **call.kwargs))
        note = case.report(*call.args, **call.kwargs) if is_ours and case.report is not None else ""
    except Exception as error:  # a kernel that fails to compile or launch must not end the others' measurement
        right = False if is_ours else ""
        return {**row, **dict.fromkeys(_FIGURES, ""), "right": right, "note": f"{type(error).__name__}: {error}"[:200]}
    seconds = timing.seconds
    figures = (
        *(round(second * 1e6, 2) for second in (seconds.p20, seconds.p50, seconds.p80)),
        round(card.floor(case.cost.bytes_moved, case.cost.flops) / seconds.p50, 3),
        timing.replayed,
        "" if compared is None else f"{compared.error:.3g}",
        "" if compared is None or compared.tolerance is None else compared.tolerance,
    )
    right = "" if compared is None else compared.is_right
    return {**row, **dict(zip(_FIGURES, figures, strict=True)), "right": right, "note": note}


def compare(plan: Plan, run: Callable[..., Any], device: torch.device) -> Comparison:
    """`run` against the operation's reference on the same arguments, in float64 where the case says so."""
    case = plan.case
    call, oracle_call = plan.call(device), plan.oracle_call(device)
    result = _tensors(run(*call.args, **call.kwargs)) + [call.args[place] for place in case.written]
    expected = _tensors(run_on("torch", plan.launcher, *oracle_call.args, **oracle_call.kwargs))
    expected += [oracle_call.args[place] for place in case.written]
    errors = [_error(a, e, case.tolerance is None) for a, e in zip(result, expected, strict=True)]
    worst = max(errors, key=lambda error: float("inf") if error != error else error, default=0.0)
    return Comparison(worst, case.tolerance)


def _error(actual: torch.Tensor, expected: torch.Tensor, must_be_equal: bool) -> float:
    if actual.numel() == 0:
        return 0.0
    if must_be_equal or not expected.is_floating_point():
        return float((actual != expected.to(actual.dtype)).double().mean())
    scale = expected.double().abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return float((actual.double() - expected.double()).abs().max() / scale)


def _tensors(result: Any) -> list[torch.Tensor]:
    """Those of a result, in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    return [tensor for part in result for tensor in _tensors(part)] if isinstance(result, (tuple, list)) else []


def run_on(backend: Backend, launcher: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The launcher's result on one backend."""
    with use_backend(backend):
        return launcher(*args, **kwargs)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Every kernel on a GPU: right, then how fast, beside torch.")
    parser.add_argument("--ops", nargs="*", help="operations (default: all that have a kernel)")
    parser.add_argument("--runs", type=int, default=50, help="timed calls of each (default: %(default)s)")
    parser.add_argument("--budget", type=float, default=420.0, help="seconds (default: %(default)s)")
    parser.add_argument("--stage-budget", type=float, default=120.0, help="likewise, for stages (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS / "kernels.csv")
    parser.add_argument("--dry-run", action="store_true", help="list the cases and what each costs at the least")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
