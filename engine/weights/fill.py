"""A module's parameters from a checkpoint's tensors, all checked before any is read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from antiphon.engine.errors import CheckpointError
from antiphon.engine.weights.reader import TensorSource
from antiphon.kernels.packed_conv1d.order import channels_innermost, taps_outermost

Rename = Callable[[str], str | None]  # a tensor's name in the file → the module's; None: a tensor nobody needs

_FLOATING: Final = (torch.float32, torch.float16, torch.bfloat16)
_NAMED_AT_MOST: Final = 10  # in one sentence of an error


@contextmanager
def unfilled() -> Iterator[None]:
    """Modules built inside have their shapes and no values: the way to build what `fill` then fills.

    They lie on torch's meta device, and their initial values are not even drawn: torch would import its compiler for
    that, which takes longer than all else in loading a small model.
    """
    with torch.device("meta"), _WithoutInitialValues():
        yield


def fill(
    module: nn.Module,
    source: TensorSource,
    *,
    rename: Rename | None = None,
    official: Callable[[str], str] | None = None,
    device: torch.device | str,
    dtype: torch.dtype,
) -> None:
    """Give a module built under `unfilled()` its parameters and persistent buffers, on `device`.

    Floating tensors take `dtype`; integer ones keep the module's. Tensors are read one at a time, so memory peaks at
    the module and one tensor. What is computed and not stored must be computed where it is used: a module with
    non-persistent buffers cannot be filled. `rename` turns a tensor's name in the file into the module's, or into None
    where the module has no use for it; `official` is the way back, to name what is missing as the file should have it.
    Raises CheckpointError, before reading any values, that names missing, surplus and misshapen tensors and wrong
    dtypes, with what was expected.
    """
    expected = module.state_dict()
    origins = _origins(source, rename)
    _check(source, origins, expected, official or str)
    for name, wanted in expected.items():
        tensor = source.read(origins[name]).to(device, dtype if wanted.is_floating_point() else wanted.dtype)
        if tensor.ndim == 3:  # a convolution's: laid down as they are read fastest there
            tensor = taps_outermost(tensor) if tensor.is_cuda else channels_innermost(tensor)
        _set(module, name, tensor)
    left = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    if left:
        raise TypeError(f"{type(module).__name__}.{left[0]} is no part of the state dict; compute it where it is used.")


class _WithoutInitialValues(TorchFunctionMode):
    """Leaves out the functions of torch.nn.init."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def _origins(source: TensorSource, rename: Rename | None) -> dict[str, str]:
    """The module's names → the file's."""
    origins: dict[str, str] = {}
    for origin in source.names():
        name = origin if rename is None else rename(origin)
        if name is None:
            continue
        if name in origins:
            raise CheckpointError(f"{source.path}: both {origins[name]} and {origin} stand for {name}; expected one.")
        origins[name] = origin
    return origins


def _check(
    source: TensorSource, origins: dict[str, str], expected: dict[str, torch.Tensor], official: Callable[[str], str]
) -> None:
    """Refuse a source that does not hold exactly the `expected` tensors."""
    missing = [f"{official(name)} {list(wanted.shape)}" for name, wanted in expected.items() if name not in origins]
    surplus = [
        f"{origin} {list(source.spec(origin).shape)}" for name, origin in origins.items() if name not in expected
    ]
    misshapen, mistyped = [], []
    for name, wanted in expected.items():
        if name not in origins:
            continue
        spec = source.spec(origins[name])
        label = f"{origins[name]} in {spec.file.name}"
        if spec.shape != tuple(wanted.shape):
            misshapen.append(f"{label} is {list(spec.shape)}, expected {list(wanted.shape)}")
        allowed = _FLOATING if wanted.is_floating_point() else (wanted.dtype,)
        if spec.dtype not in allowed:
            names = " or ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
            mistyped.append(f"{label} is {str(spec.dtype).removeprefix('torch.')}, expected {names}")
    faults = [
        _listed("missing", missing),
        _listed("not expected", surplus),
        _listed("of another shape", misshapen),
        _listed("of another dtype", mistyped),
    ]
    if any(faults):
        raise CheckpointError(
            f"{source.path} does not hold the tensors that its config describes: "
            f"{'; '.join(filter(None, faults))}. Are config and weights of one model, and complete?"
        )


def _listed(what: str, faults: list[str]) -> str:
    if not faults:
        return ""
    more = f" and {len(faults) - _NAMED_AT_MOST} more" if len(faults) > _NAMED_AT_MOST else ""
    return f"{len(faults)} {what} ({', '.join(faults[:_NAMED_AT_MOST])}{more})"


def _set(module: nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Put `tensor` where the parameter or buffer `name` was."""
    parent, _, leaf = name.rpartition(".")
    owner = module.get_submodule(parent)
    if leaf in owner._parameters:
        old = owner.get_parameter(leaf)
        owner.register_parameter(leaf, nn.Parameter(tensor, requires_grad=old.requires_grad))
    else:
        owner.register_buffer(leaf, tensor)
