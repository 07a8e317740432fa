"""Kernels on the CPU, through Triton's interpreter, and inputs that betray a read they should not make."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from antiphon.kernels.registry import use_backend


@contextmanager
def interpreted() -> Iterator[None]:
    """Within the block operations that have a kernel run it in Triton's interpreter (tests/conftest.py turns it on)."""
    with use_backend("triton"), torch.inference_mode():
        yield


def among_nans(values: torch.Tensor, rows: int = 3) -> torch.Tensor:
    """The same values as a view between `rows` rows of NaN (or of the dtype's largest number): nobody may read them."""
    poison = torch.nan if values.is_floating_point() else torch.iinfo(values.dtype).max
    around = values.new_full((rows, *values.shape[1:]), poison)
    return torch.cat([around, values, around])[rows : rows + len(values)]
