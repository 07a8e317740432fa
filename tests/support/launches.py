"""What a forward launches, on tensors without memory: no value of theirs can be read back, so nothing hangs on one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from antiphon.kernels.registry import use_backend


class _OnMetaAlone(TorchDispatchMode):
    """Notes the operations' names; refuses tensors that are made in the host's memory, as a graph would keep them."""

    def __init__(self, launches: list[str]) -> None:
        super().__init__()
        self._launches = launches

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, torch.Tensor) and leaf.device.type != "meta":
                raise AssertionError(f"{func} takes or makes a tensor of shape {list(leaf.shape)} on {leaf.device}")
        self._launches.append(func.overloadpacket.__name__)
        return result


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Within the block kernels are not run but noted, with their grid, among the library's operations.

    Reading a value of a tensor on 'meta' raises torch's own error.
    """
    from triton.runtime.interpreter import InterpretedFunction

    launches: list[str] = []

    def noted(kernel: Any, *args: Any, grid: Any, **kwargs: Any) -> None:
        launches.append(f"triton:{kernel.fn.__name__}{tuple(grid)}")

    with (
        use_backend("triton"),
        torch.inference_mode(),
        mock.patch.object(InterpretedFunction, "run", noted),
        _OnMetaAlone(launches),
    ):
        yield launches
