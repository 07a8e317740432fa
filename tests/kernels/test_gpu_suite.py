"""The GPU suite without a GPU: its plan is whole, and its comparison tells right from wrong."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from antiphon.kernels.cases import Call, Case, cases_of
from antiphon.kernels.costs import Cost
from antiphon.kernels.registry import Op, all_ops
from benchmarks.gpu_stages import stages
from benchmarks.gpu_suite import Plan, compare, main, run_on

CPU = torch.device("cpu")


def _add(x: torch.Tensor, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    total += x
    return 2 * x, torch.arange(len(x))


def _off(x: torch.Tensor, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    total += x
    return 2.001 * x, torch.arange(len(x))


def _never_written(x: torch.Tensor, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return 2 * x, torch.arange(len(x))


CASE = Case("3 rows", lambda device: Call((torch.ones(3), torch.zeros(3))), Cost(1, 1), tolerance=1e-6, written=(1,))


def test_the_plan_lists_every_case_of_every_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert [op.name for op in all_ops() if op.kernel is not None and f"{op.name} " not in listed] == []


def test_every_oracle_takes_its_arguments() -> None:
    """On tensors without memory, where a reference that goes on to read them stops."""
    meta = torch.device("meta")
    for op in all_ops():
        for case in cases_of(op):
            plan = Plan(op, case)
            call = plan.oracle_call(meta)
            with torch.inference_mode(), suppress(NotImplementedError, RuntimeError):
                run_on("torch", plan.launcher, *call.args, **call.kwargs)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "no CUDA device" in capsys.readouterr().err


@dataclass(frozen=True)
class Own(Plan):
    """A plan whose launcher is the operation's reference."""

    @property
    def launcher(self) -> Callable[..., Any]:
        return _add


def test_a_result_is_right_or_wrong() -> None:
    plan = Own(Op("add", _add), CASE)
    assert compare(plan, _add, CPU).is_right
    assert not compare(plan, _off, CPU).is_right
    assert compare(plan, _off, CPU).error == pytest.approx(5e-4, rel=1e-3)
    assert not compare(plan, _never_written, CPU).is_right
    assert compare(Own(plan.op, replace(CASE, tolerance=1e-3)), _off, CPU).is_right
    assert not compare(plan, lambda x, total: (x * torch.nan, torch.arange(3)), CPU).is_right


def test_every_stage_runs() -> None:
    seen = set()
    with torch.inference_mode():
        for stage in stages("tiny", CPU, torch.float32):
            if stage.name not in seen:  # its smallest case
                stage.run()
            seen.add(stage.name)
    assert seen == {"LM step", "LM step in buckets", "flow", "flow in buckets", "vocoder", "vocoder in buckets"}
