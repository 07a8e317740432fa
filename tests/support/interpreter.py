"""Kernels on the CPU, through Triton's interpreter, and inputs that betray a read they should not make."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import torch

from antiphon.kernels.registry import use_backend
from antiphon.kernels.targets import Target, compiling_for


@contextmanager
def interpreted(tiles_of: Target | None = None) -> Iterator[None]:
    """Within the block operations that have a kernel run it in Triton's interpreter (tests/conftest.py turns it on).

    Their tiles are the interpreter's, small so that few rows have edges, or those of a card: larger, so fewer, and
    whole models are through sooner.
    """
    from triton.runtime.interpreter import InterpreterBuilder

    _patch_once()
    patches = mock.patch.multiple(InterpreterBuilder, create_dot=_dot, cast_impl=_cast)
    tiles = nullcontext() if tiles_of is None else compiling_for(tiles_of)
    with use_backend("triton"), tiles, torch.inference_mode(), patches:
        yield


def among_nans(values: torch.Tensor, rows: int = 3) -> torch.Tensor:
    """The same values as a view between `rows` rows of NaN (or of the dtype's largest number): nobody may read them."""
    poison = torch.nan if values.is_floating_point() else torch.iinfo(values.dtype).max
    around = values.new_full((rows, *values.shape[1:]), poison)
    return torch.cat([around, values, around])[rows : rows + len(values)]


@cache
def _patch_once() -> None:
    """Let the interpreter replace the language's functions at each launch, and not again at each call within it.

    `tl.sum` and its like are such calls, and each would list all members of the language: 5 ms, for nothing.
    """
    import triton.language as tl
    from triton.runtime import interpreter

    patched: set[int] = set()

    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        if any(value is tl.core for value in function.fn.__globals__.values()) and id(tl.core) not in patched:
            interpreter._patch_lang(function.fn)
            patched.add(id(tl.core))
        return function.rewrite()(*args, **kwargs)

    interpreter.InterpretedFunction.__call__ = call


def _dot(builder: Any, a: Any, b: Any, acc: Any, input_precision: Any, max_num_imprecise_acc: Any) -> Any:
    """The product, summed in float64 and rounded: a row's place in the tile must not change its bits, as it does not on
    a card, but does in NumPy's float32. Triton 3.7's own multiplies the bits of bfloat16 as whole numbers."""
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle

    left, right = ((_widened(x.data) if x.dtype.scalar == tl.bfloat16 else x.data) for x in (a, b))
    product = np.matmul(left, right, dtype=np.float64).astype(acc.data.dtype)
    return TensorHandle(product + acc.data, acc.dtype.scalar)


def _cast(builder: Any, source: Any, to: Any) -> Any:
    """A conversion as the card makes it: to the nearest bfloat16, of two the even. Triton 3.7's own cuts bits off."""
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle, _get_np_dtype

    data = _widened(source.data) if source.dtype.scalar == tl.bfloat16 else source.data
    if to.scalar == tl.bfloat16:
        data = torch.from_numpy(np.array(data)).bfloat16().view(torch.uint16).numpy()
    return TensorHandle(data.astype(_get_np_dtype(to), copy=False), to.scalar)


def _widened(bits: np.ndarray[Any, np.dtype[np.uint16]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The float32 values of bfloat16 ones, which NumPy has as their bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
