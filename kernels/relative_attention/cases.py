"""`relative_attention` as the flow's encoder calls it: 8 heads of 64, blocks of 10 tokens, a history behind a chunk."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.relative_attention.cost import relative_attention_cost

_HEADS: Final = 8
_HEAD_DIM: Final = 64
_BLOCK: Final = 10


def _case(name: str, lengths: Sequence[int], histories: Sequence[int], dtype: torch.dtype, error: float) -> Case:
    keys = [length + history for length, history in zip(lengths, histories, strict=True)]

    def make(device: torch.device) -> Call:
        def rows(count: int) -> torch.Tensor:
            return torch.randn(count, _HEADS, _HEAD_DIM, device=device, dtype=dtype)

        def offsets(of: Sequence[int]) -> torch.Tensor:
            return torch.tensor([0, *accumulate(of)], dtype=torch.int32, device=device)

        tensors = (rows(sum(lengths)), rows(sum(keys)), rows(sum(keys)), rows(max(lengths) + max(keys) - 1))
        biases = torch.randn(2, _HEADS, _HEAD_DIM, device=device, dtype=dtype)
        longest = {"max_seqlen": max(lengths), "max_seqlen_k": max(keys)}
        given = {"cu_seqlens_k": offsets(keys), "block": _BLOCK, "dropout": 0.0, **longest}
        return Call((*tensors, *biases, offsets(lengths)), given)

    cost = relative_attention_cost(lengths, _HEADS, _HEAD_DIM, _BLOCK, dtype.itemsize, histories=histories)
    return Case(f"{name}, {str(dtype).removeprefix('torch.')}", make, cost, tolerance=error)


_HALF: Final = 1.6e-2  # queries with their biases, the weights and the result are rounded to bfloat16
CASES: Final = (
    _case("25 tokens behind 100", [25], [100], torch.bfloat16, _HALF),
    _case("32 dialogues' 25 tokens behind 100", [25] * 32, [100] * 32, torch.bfloat16, _HALF),
    _case("25 tokens behind 100", [25], [100], torch.float32, 1e-5),
)
