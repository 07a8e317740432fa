"""Which library operations run beside our kernels."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes


class _Seen(TorchDispatchMode):
    def __init__(self, calls: Counter[str]) -> None:
        super().__init__()
        self._calls = calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def dispatched() -> Iterator[Counter[str]]:
    """Counts within the block: library operations by name, kernels as 'triton:' and theirs.

    What the interpreter itself does to run a kernel does not count.
    """
    from triton.runtime.interpreter import InterpretedFunction

    calls: Counter[str] = Counter()
    run = InterpretedFunction.run

    def counted(kernel: Any, *args: Any, **kwargs: Any) -> None:
        calls[f"triton:{kernel.fn.__name__}"] += 1
        with _disable_current_modes():
            run(kernel, *args, **kwargs)

    with mock.patch.object(InterpretedFunction, "run", counted), _Seen(calls):
        yield calls
