"""Which implementation of an operation runs, and why not the other.

Every operation is one folder: its launcher (`__init__.py`) checks the arguments and asks its `Op` for the
implementation; `reference.py` is plain torch and the definition of correct; `kernel.py`, where it exists, is the only
file that imports triton.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

import torch

Backend = Literal["torch", "triton"]
Implementation = TypeVar("Implementation", bound=Callable[..., Any])


@dataclass(frozen=True)
class Choice:
    """The backend an operation runs on, with the reason in words."""

    backend: Backend
    reason: str


@dataclass(frozen=True)
class Op(Generic[Implementation]):
    """One operation: its reference and, once written, its Triton kernel (same signature as the reference)."""

    name: str
    reference: Implementation
    kernel: Implementation | None = None

    def choose(self, device: torch.device) -> Choice:
        """Pick the backend for tensors on `device`."""
        if self.kernel is None:
            return Choice("torch", "no Triton kernel has been written for this operation")
        if device.type != "cuda":
            return Choice("torch", f"tensors are on {device.type!r}; the Triton kernel needs 'cuda'")
        return Choice("triton", "tensors are on 'cuda'")

    def implementation(self, device: torch.device) -> Implementation:
        """The callable that runs for tensors on `device`."""
        if self.kernel is not None and self.choose(device).backend == "triton":
            return self.kernel
        return self.reference


_PACKAGE: Final = "antiphon.kernels"


def all_ops() -> list[Op[Any]]:
    """Every operation under `kernels/`, by name: each operation's folder defines one `OP`."""
    package = importlib.import_module(_PACKAGE)
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg)
    return [importlib.import_module(f"{_PACKAGE}.{name}").OP for name in names]
