"""Names of devices and dtypes, checked against this machine."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch

from antiphon.engine.errors import DeviceError, InputError

_counting: Final = threading.Lock()
DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(name: str | torch.device) -> torch.device:
    """The device called `name`: "auto" (a CUDA device where there is one, else the CPU), "cpu", "cuda" or "cuda:N".

    Raises DeviceError when the name is unknown or the device is not in this machine.
    """
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(f"unknown device {str(name)!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'.") from error
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"device {str(name)!r} is not supported; expected 'auto', 'cpu', 'cuda' or 'cuda:N'.")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise DeviceError(
                f"device {str(name)!r} was asked for, but this machine has {count} CUDA devices; use 'cpu'."
            )
    return device


def share_cores(device: str, devices: Sequence[str]) -> None:
    """Have an operation of this process, which computes on `device`, take its part of the CPU's threads, where several
    of `devices`, itself among them, are the CPU and OMP_NUM_THREADS does not say how many each takes."""
    sharers = sum(map(_is_cpu, devices))
    if _is_cpu(device) and sharers > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // sharers))


def _is_cpu(name: str) -> bool:
    """Whatever else is wrong with a name, another device of the server, is told by the engine that is to have it."""
    return name == "cpu" or (name == "auto" and not torch.cuda.is_available())


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch computes with one thread, wherever in the process it is asked to for the first time.

    OpenMP keeps a team of threads for every thread that ever computed with several. As soon as there are more of them
    than cores, GNU's lets each sleep at once instead of waiting for the next operation, which on a CPU is never far:
    with a team of the loading thread's beside it, an engine of two threads was as slow as one of one.
    """
    with _counting:  # the number is the process's: who came between would put the wrong one back
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def resolve_dtype(name: str | torch.dtype) -> torch.dtype:
    """The dtype called `name`: "float32" (the definition of correct) or "bfloat16". Raises InputError for another."""
    if isinstance(name, torch.dtype) and name in DTYPES.values():
        return name
    if isinstance(name, str) and name in DTYPES:
        return DTYPES[name]
    raise InputError(f"dtype {name!r} is not supported; expected one of {', '.join(DTYPES)}.")
