"""Where a random checkpoint's numbers come from, and in what portions."""

import hashlib
from collections.abc import Iterator
from math import prod
from typing import Final

import torch

_BLOCK_ELEMENTS: Final = 1 << 24  # made at once


def generator(seed: int, name: str) -> torch.Generator:
    """The randomness of the tensor `name`: its own, so that no other tensor moves it."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def row_blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First and last-plus-one row of each block in which a tensor is made."""
    rows = max(1, _BLOCK_ELEMENTS // max(1, prod(shape[1:])))
    for start in range(0, shape[0], rows):
        yield start, min(start + rows, shape[0])
