"""One thread for the tests' tiny models, Triton's interpreter for the kernels, and files handed out in their order.

A second thread gains nothing on them, and where the cores are shared it spins for its turn: twelve times as long was
measured. `OMP_NUM_THREADS`, when set, is kept.

Triton reads its variable when it is first imported, so it is set before anything can; nothing on the CPU's own path
imports triton. On a machine with a GPU, TRITON_INTERPRET=0 runs the same tests' kernels compiled.
"""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, and by the tests' child processes
os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_configure(config: pytest.Config) -> None:
    """xdist would leave the files of fewest tests for last: one long test would end the run beside an idle core."""
    config.option.loadscopereorder = False
