"""Which rows of a pack belong to which sequence: what the model files hand to the operations.

Rows of several sequences lie one after another, channels last, with no padding. The lengths are known on the host too,
so that nothing has to be read back from the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch


@dataclass(frozen=True)
class Packing:
    """The lengths of the sequences of one pack, on the host and as offsets on the device."""

    lengths: tuple[int, ...]  # rows of each sequence, each at least 1
    cu_seqlens: torch.Tensor  # i32[S + 1]: where each sequence starts, then the row count

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> "Packing":
        """The pack of sequences of these lengths, in this order."""
        offsets = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        return cls(tuple(lengths), offsets)

    @property
    def rows(self) -> int:
        return sum(self.lengths)

    @property
    def max_length(self) -> int:
        return max(self.lengths)

    def rates(self, count: int) -> "tuple[Rate, ...]":
        """The pack's own rate, half of it, and so on: `count` of them."""
        packings = [self]
        while len(packings) < count:
            packings.append(packings[-1].halved())
        return tuple(Rate(packing.cu_seqlens, packing.rows, packing.max_length) for packing in packings)

    def halved(self) -> "Packing":
        """The pack after a convolution of stride 2: each sequence starts at its own phase, an odd length rounds up."""
        return Packing.of([(length + 1) // 2 for length in self.lengths], self.cu_seqlens.device)

    def paired(self) -> "Packing":
        """The pack in which every sequence stands twice, one after the other."""
        return Packing.of([length for length in self.lengths for _ in range(2)], self.cu_seqlens.device)


@dataclass(frozen=True)
class Rate:
    """What operations on rows are told of a pack at one rate. Both numbers may be more than its lengths come to."""

    cu_seqlens: torch.Tensor  # i32[S + 1]
    rows: int  # of its tensors
    max_length: int  # rows of a sequence, at most
