"""Which library operations run beside our kernels."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

BOOKKEEPING: Final = 16  # values: offsets, lengths and settings of a few sequences are no more
_NOTHING_COMPUTED: Final = {"empty", "empty_like", "new_empty", "detach_"}


class _Seen(TorchDispatchMode):
    def __init__(self, calls: Counter[str], rows_only: bool) -> None:
        super().__init__()
        self._calls = calls
        self._rows_only = rows_only

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not self._rows_only or (name not in _NOTHING_COMPUTED and _makes_rows(func, made, (args, kwargs))):
            self._calls[name] += 1
        return made


@contextmanager
def dispatched(rows_only: bool = False) -> Iterator[Counter[str]]:
    """Counts within the block: library operations by name, kernels as 'triton:' and theirs.

    With `rows_only` what makes nothing new (views, memory without values) and what makes no more than BOOKKEEPING
    values does not count. What the interpreter itself does to run a kernel never does.
    """
    from triton.runtime.interpreter import InterpretedFunction

    calls: Counter[str] = Counter()
    run = InterpretedFunction.run

    def counted(kernel: Any, *args: Any, **kwargs: Any) -> None:
        calls[f"triton:{kernel.fn.__name__}"] += 1
        with _disable_current_modes():
            run(kernel, *args, **kwargs)

    with mock.patch.object(InterpretedFunction, "run", counted), _Seen(calls, rows_only):
        yield calls


def _makes_rows(func: Any, made: Any, given: Any) -> bool:
    """Whether more than a few values were computed: views of what was given are not, what was written in place is."""
    rows = [leaf for leaf in _tensors(made) if leaf.numel() > BOOKKEEPING]
    held = {leaf.untyped_storage().data_ptr() for leaf in _tensors(given)}
    return bool(rows) and (
        func._schema.is_mutable or any(leaf.untyped_storage().data_ptr() not in held for leaf in rows)
    )


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
