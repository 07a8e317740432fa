"""For which machine tile sizes are looked up: a key of the tables in the operations' `tuned.py`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch

from antiphon.kernels.registry import is_interpreting

Target = Literal["sm_80", "sm_90", "interpreter"]
_compiling_for: ContextVar[Target | None] = ContextVar("compiling_for", default=None)


def target_of(device: torch.device) -> Target:
    """Cards newer than sm_90 take its sizes. The interpreter has sizes of its own: small, so that tests have edges."""
    compiling_for = _compiling_for.get()
    if compiling_for is not None:
        return compiling_for
    if device.type == "cuda" and not is_interpreting():
        return "sm_80" if torch.cuda.get_device_capability(device) < (9, 0) else "sm_90"
    return "interpreter"


@contextmanager
def compiling_for(target: Target) -> Iterator[None]:
    """Within the block, `target_of` answers `target` for every device."""
    token = _compiling_for.set(target)
    try:
        yield
    finally:
        _compiling_for.reset(token)
