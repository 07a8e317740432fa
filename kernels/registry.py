"""Which implementation of an operation runs, and why not the other.

Every operation is one folder: its launcher (`__init__.py`) checks the arguments and asks its `Op` for the
implementation; `reference.py` is plain torch and the definition of correct; `kernel.py`, where it exists, is the only
file that imports triton, and is imported when it is first run. README.md beside this file tells the rest.
"""

import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Generic, Literal, TypeVar, cast, get_args

import torch

Backend = Literal["torch", "triton"]
Implementation = TypeVar("Implementation", bound=Callable[..., Any])

VARIABLE: Final = "ANTIPHON_KERNELS"  # forces a backend from outside: "torch" or "triton"
CAPABILITIES: Final = ((8, 0), (9, 0), (10, 0))  # with 163 KiB of shared memory a block or more: the tiles count on it
_INTERPRETER: Final = "TRITON_INTERPRET"
_PACKAGE: Final = "antiphon.kernels"
_forced: ContextVar[Backend | None] = ContextVar("forced", default=None)


class BackendError(ValueError):
    """A backend was asked for that cannot run here."""


@dataclass(frozen=True)
class Choice:
    """The backend an operation runs on, with the reason in words."""

    backend: Backend
    reason: str


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Within the block, in this context, operations that have a kernel run on `backend`."""
    token = _forced.set(backend)
    try:
        yield
    finally:
        _forced.reset(token)


@dataclass(frozen=True)
class Op(Generic[Implementation]):
    """One operation: its reference and, once written, its Triton kernel.

    `kernel` names the module that holds it: a function of the operation's name and the reference's signature. Where the
    library's own kernels are better than ours would be, `library` says why; where that holds for some calls alone,
    `exceptions` says which, and they run on torch whatever is chosen.
    """

    name: str
    reference: Implementation
    kernel: str | None = None
    library: str | None = None
    exceptions: str | None = None

    def choose(self, device: torch.device) -> Choice:
        """Pick the backend for tensors on `device`. Raises BackendError when a forced one cannot run there."""
        forced = _forced.get() or _from_environment()
        if self.kernel is None:
            return Choice("torch", self.library or "no Triton kernel has been written for this operation")
        if forced == "torch":
            return Choice("torch", "torch was asked for")
        obstacle = _obstacle(device)
        if forced == "triton":
            if obstacle is not None:
                raise BackendError(f"Triton was asked for, but {obstacle}; use torch, or leave the choice open.")
            return self._on_triton("Triton was asked for")
        if device.type != "cuda":
            return Choice("torch", f"tensors are on {device.type!r}; the Triton kernel needs 'cuda'")
        if obstacle is not None:
            return Choice("torch", obstacle)
        if torch.is_grad_enabled():
            return Choice("torch", "gradients are being recorded; the Triton kernel has none")
        return self._on_triton("tensors are on 'cuda'")

    def _on_triton(self, reason: str) -> Choice:
        return Choice("triton", reason if self.exceptions is None else f"{reason}; torch runs {self.exceptions}")

    def implementation(self, device: torch.device) -> Implementation:
        """The callable that runs for tensors on `device`. Raises BackendError as `choose` does."""
        if self.kernel is None or (device.type == "cpu" and _forced.get() is None and not os.environ.get(VARIABLE)):
            return self.reference  # as `choose` says at greater length: a small model asks thousands of times a word
        if self.choose(device).backend == "triton":
            return cast(Implementation, load_kernel(self.kernel, self.name))
        return self.reference


@cache
def load_kernel(module: str, name: str) -> Callable[..., Any]:
    """The kernel `name` of `module`, whose import brings in triton."""
    # Triton 3.10 is to change its default, and the rounding of every kernel with it.
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    return cast(Callable[..., Any], getattr(importlib.import_module(module), name))


def all_ops() -> list[Op[Any]]:
    """Every operation under `kernels/`, by name: each operation's folder defines one `OP`."""
    package = importlib.import_module(_PACKAGE)
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg)
    return [importlib.import_module(f"{_PACKAGE}.{name}").OP for name in names]


def is_interpreting() -> bool:
    """Whether kernels are run by Triton's interpreter, on the CPU."""
    return os.environ.get(_INTERPRETER, "0").lower() in ("1", "true", "on", "yes", "y")


def _from_environment() -> Backend | None:
    value = os.environ.get(VARIABLE) or None
    if value is not None and value not in get_args(Backend):
        raise BackendError(f"{VARIABLE} is {value!r}; expected {' or '.join(map(repr, get_args(Backend)))}.")
    return cast(Backend | None, value)


def _obstacle(device: torch.device) -> str | None:
    """Why Triton cannot run on `device`; None where it can."""
    if not _has_triton():
        return "triton is not installed"
    if device.type == "meta" or is_interpreting():  # launches on 'meta' are recorded, not run
        return None
    if device.type != "cuda":
        return f"tensors are on {device.type!r}, where kernels run under {_INTERPRETER}=1 alone"
    if device.index not in (None, torch.cuda.current_device()):
        return f"tensors are on {str(device)!r} while cuda:{torch.cuda.current_device()} is the current device"
    capability = torch.cuda.get_device_capability(device)
    if capability not in CAPABILITIES:
        known = ", ".join(f"{major}.{minor}" for major, minor in CAPABILITIES)
        return f"the GPU has compute capability {capability[0]}.{capability[1]}; there are tile sizes for {known}"
    return None


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
