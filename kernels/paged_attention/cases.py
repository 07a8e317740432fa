"""`paged_attention` as GLM-4-9B calls it: 32 query heads of 128 on 2 KV heads, pages of 64."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.paged_attention.cost import paged_attention_cost

_HEADS: Final = 32
_KV_HEADS: Final = 2
_HEAD_DIM: Final = 128


def _case(
    name: str, query_lens: Sequence[int], context_lens: Sequence[int], page_size: int, dtype: torch.dtype, error: float
) -> Case:
    per_sequence = -(-max(context_lens) // page_size)

    def make(device: torch.device) -> Call:
        pages = len(context_lens) * per_sequence
        shape = (pages, page_size, _KV_HEADS, _HEAD_DIM)
        order = torch.randperm(pages, device="cpu").int().view(len(context_lens), per_sequence)
        offsets = [0, *accumulate(query_lens)]
        return Call(
            (
                torch.randn(offsets[-1], _HEADS, _HEAD_DIM, device=device, dtype=dtype),
                torch.randn(shape, device=device, dtype=dtype),
                torch.randn(shape, device=device, dtype=dtype),
                torch.tensor(offsets, dtype=torch.int32, device=device),
                torch.tensor(context_lens, dtype=torch.int32, device=device),
                order.to(device),
                _HEAD_DIM**-0.5,
            )
        )

    cost = paged_attention_cost(query_lens, context_lens, _HEADS, _KV_HEADS, _HEAD_DIM, dtype.itemsize)
    return Case(f"{name}, pages of {page_size}, {str(dtype).removeprefix('torch.')}", make, cost, tolerance=error)


_HALF: Final = 1e-2  # the weights' and the result's rounding to bfloat16
_FULL: Final = 1e-5  # scores of 128 products, weights of up to 2,000 keys
CASES: Final = (
    _case("1 decode at 1,000", [1], [1_000], 64, torch.bfloat16, _HALF),
    _case("64 decodes at 1,000", [1] * 64, [1_000] * 64, 64, torch.bfloat16, _HALF),
    _case("64 decodes at 1,000", [1] * 64, [1_000] * 64, 16, torch.bfloat16, _HALF),
    _case("a prompt of 500", [500], [500], 64, torch.bfloat16, _HALF),
    _case(
        "8 decodes at 1,000 and 256 more of 1,256", [1] * 8 + [256], [1_000] * 8 + [1_256], 16, torch.bfloat16, _HALF
    ),
    _case("8 decodes at 1,000 and 256 more of 1,256", [1] * 8 + [256], [1_000] * 8 + [1_256], 64, torch.float32, _FULL),
)
