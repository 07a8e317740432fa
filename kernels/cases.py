"""Calls of an operation at the real model's shapes: what is compiled for the resource table, and timed on a GPU.

Each operation with a kernel lists its own in `cases.py` as `CASES`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch

from antiphon.kernels.costs import Cost
from antiphon.kernels.registry import Op


@dataclass(frozen=True)
class Call:
    """Arguments of the launcher."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def to_float64(self) -> "Call":
        """The same call in float64: the oracle's."""
        return Call(tuple(map(_widen, self.args)), {name: _widen(value) for name, value in self.kwargs.items()})


@dataclass(frozen=True)
class Case:
    """One call. Where only the numbers of rows differ, cases share their compiled kernels."""

    name: str  # shapes in words: "50 vectors of 1,280, 16,384 codes"
    make: Callable[[torch.device], Call]  # on 'meta' too, where values are unknown: nothing may be read back
    cost: Cost
    # Largest difference from the reference in float64 over its largest value; None: the result must be equal.
    tolerance: float | None
    oracle_in_float64: bool = True  # no: the reference is exact on float32, or takes no other
    baselines: Mapping[str, Callable[..., Any]] = field(default_factory=dict)  # of the launcher's signature, by name
    written: tuple[int, ...] = ()  # arguments that the operation writes to: compared too
    report: Callable[..., str] | None = None  # of the launcher's signature: a note for the benchmark's row


def cases_of(op: Op[Any]) -> tuple[Case, ...]:
    """The operation's cases; none where it has no kernel."""
    if op.kernel is None:
        return ()
    cases: tuple[Case, ...] = importlib.import_module(f"antiphon.kernels.{op.name}.cases").CASES
    return cases


def launcher_of(op: Op[Any]) -> Callable[..., Any]:
    """The operation's public function."""
    launcher: Callable[..., Any] = getattr(importlib.import_module(f"antiphon.kernels.{op.name}"), op.name)
    return launcher


def _widen(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_widen, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _widen(getattr(value, each.name)) for each in fields(value)})
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
