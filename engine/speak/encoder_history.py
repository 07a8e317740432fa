"""What the flow's encoder remembers of one turn, so that tokens need to be encoded but once.

A row sees its own block of tokens and all blocks before it, never one after it. So once a block is full, its keys and
values in every layer stand for good, and later blocks need nothing else of it. The block that is not full yet is
encoded again with the tokens that follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from antiphon.engine.speak.packing import Packing


@dataclass(frozen=True)
class EncoderHistory:
    """Keys and values of a turn's last full blocks. Never changed: a turn can go back to an earlier one."""

    keys: torch.Tensor  # f[layers, tokens, heads, head_dim]
    values: torch.Tensor  # f[layers, tokens, heads, head_dim]

    @property
    def tokens(self) -> int:
        """How many it holds: a multiple of the block."""
        return self.keys.shape[1]

    def extended(self, keys: torch.Tensor, values: torch.Tensor, limit: int) -> Self:
        """With more full blocks, of which the oldest leave beyond `limit` tokens (a multiple of the block)."""
        leaving = max(0, self.tokens + keys.shape[1] - limit)
        kept = (rows[:, leaving:] for rows in (self.keys, self.values))
        coming = (rows[:, max(0, leaving - self.tokens) :] for rows in (keys, values))
        return type(self)(*(torch.cat(pair, dim=1) for pair in zip(kept, coming, strict=True)))


def with_histories(
    histories: Sequence[torch.Tensor],  # f[tokens, heads, head_dim] of each sequence, in one layer
    new: torch.Tensor,  # f[ΣN, heads, head_dim]
    packing: Packing,  # of the new rows
) -> torch.Tensor:
    """Each sequence's history and then its new rows, f[ΣK, heads, head_dim]."""
    rows = torch.split(new, list(packing.lengths))
    return torch.cat([part for pair in zip(histories, rows, strict=True) for part in pair])
