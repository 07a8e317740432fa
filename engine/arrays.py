"""From what a caller hands over to a float32 array."""

import numpy as np
import torch

from antiphon.engine.errors import InputError
from antiphon.engine.types import ArrayLike, Float32Array


def as_float32(values: ArrayLike, what: str) -> Float32Array:
    """`values` (array, tensor or list; any real dtype) as a C-contiguous float32 array of the same shape.

    Raises InputError, naming `what`, when they are not real numbers.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().float().numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(
            f"{what} is no regular array ({error}); expected real numbers in rows of equal length."
        ) from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what} has dtype {array.dtype}; expected real numbers.")
    return np.ascontiguousarray(array, dtype=np.float32)
