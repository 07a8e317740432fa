"""The committed figures of every compiled kernel belong to the code as it is, and fit the cards.

In a process of its own: here kernels are interpreted, there they are prepared for the compiler.
"""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from antiphon.kernels.registry import all_ops

MODULE = "antiphon.kernels.resources"


def _resources(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run([sys.executable, "-m", MODULE, *arguments], env=environment, capture_output=True, text=True)


def test_the_tables_hold_what_the_launchers_launch_and_all_of_it_fits() -> None:
    ran = _resources("--check")
    assert ran.returncode == 0, ran.stderr


def test_the_compiler_gives_the_committed_figures_again() -> None:
    ran = _resources("--check", "--recompile", "swiglu")
    assert ran.returncode == 0, ran.stderr


def test_every_kernel_has_a_table() -> None:
    from antiphon.kernels.resources import read, table_of

    assert [op.name for op in all_ops() if op.kernel is not None and not read(table_of(op))] == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"spill_stores": 3}, "spills: 3 stores"),
        ({"stack": 8}, "8 bytes of stack"),
        ({"shared": 232_449}, "232449 bytes of shared memory; 232448 fit"),
        ({"needs_matrix": True, "matrix": ""}, "without tensor-core instructions"),
    ],
)
def test_what_does_not_fit_is_told(change: dict[str, object], fault: str) -> None:
    from antiphon.kernels.resources import Row

    row = Row("3.7.1", "sm_90", "_k", "x:*fp32", 4, 3, "0", "one row")
    assert row.faults() == []
    assert fault in " ".join(replace(row, **change).faults())  # type: ignore[arg-type]
