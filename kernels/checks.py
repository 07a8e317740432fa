"""Refusals before a launch: one sentence that shows the numbers.

`kernels` knows no other package of ours, so its error is its own. A caller's bad input is refused long before, by
`antiphon.engine.errors`.
"""

from typing import Final

import torch

KERNEL_FLOATS: Final = (torch.float32, torch.bfloat16, torch.float16)  # float64 is the references' alone


class KernelArgumentError(ValueError):
    """Arguments an operation refuses before it is launched."""


def check_shape(name: str, tensor: torch.Tensor, expected: tuple[int | None, ...]) -> None:
    """Refuse `tensor` unless its shape is `expected`, where None stands for any length."""
    shape = tensor.shape
    if len(shape) == len(expected):
        for length, wanted in zip(shape, expected, strict=True):
            if length != wanted and wanted is not None:
                break
        else:
            return
    lengths = ", ".join("any" if wanted is None else str(wanted) for wanted in expected)
    raise KernelArgumentError(f"{name} has shape {list(shape)}; expected [{lengths}].")


def check_dtype(name: str, tensor: torch.Tensor, *expected: torch.dtype) -> None:
    """Refuse `tensor` unless its dtype is one of `expected`."""
    if tensor.dtype not in expected:
        raise KernelArgumentError(f"{name} is {tensor.dtype}; expected {' or '.join(map(str, expected))}.")


def check_unit_stride(**tensors: torch.Tensor) -> None:
    """Refuse tensors whose last dimension's values do not lie side by side; their other strides may be any."""
    for name, tensor in tensors.items():
        if tensor.stride(-1) != 1 and tensor.shape[-1] > 1:
            raise KernelArgumentError(
                f"{name} has strides {list(tensor.stride())}; expected 1 for the last. Make it contiguous."
            )


def check_contiguous(**tensors: torch.Tensor) -> None:
    """Refuse tensors that are not contiguous."""
    for name, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise KernelArgumentError(
                f"{name} of shape {list(tensor.shape)} has strides {list(tensor.stride())}; expected it contiguous."
            )


def check_same_device(**tensors: torch.Tensor) -> None:
    """Refuse tensors that do not all live on one device."""
    if len({tensor.device for tensor in tensors.values()}) > 1:
        where = ", ".join(f"{name} on {tensor.device}" for name, tensor in tensors.items())
        raise KernelArgumentError(f"all tensors must be on one device; got {where}.")


def check(condition: bool, sentence: str) -> None:
    """Refuse with `sentence` unless `condition` holds."""
    if not condition:
        raise KernelArgumentError(sentence)
