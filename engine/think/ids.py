"""Lists of ids as callers hand them over."""

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from antiphon.engine.errors import TokenError


def as_ids(values: Iterable[Any] | np.ndarray | torch.Tensor, what: str) -> list[int]:
    """`values` (list, array or tensor of integers, one dimension) as ints. Raises TokenError, naming `what`."""
    if isinstance(values, np.ndarray | torch.Tensor):
        values = values.tolist() if values.ndim == 1 else [values]
    try:
        return [operator.index(value) for value in values]
    except TypeError as error:
        raise TokenError(f"{what} holds something that is not an integer ({error}); expected a list of ids.") from error


def check_ids(ids: list[int], vocab_size: int, what: str) -> None:
    """Raise TokenError, naming `what`, when there are no ids or one is outside the vocabulary."""
    if not ids:
        raise TokenError(f"{what} has no ids; expected at least one.")
    for position, token in enumerate(ids):
        if not 0 <= token < vocab_size:
            raise TokenError(f"{what}: id {token} at position {position} is outside 0 to {vocab_size - 1}.")
