"""`rope_paged_write` as GLM-4-9B calls it: 32 query heads and 2 KV heads of 128, the first half of each turned."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.rope_paged_write.cost import rope_paged_write_cost

_HEADS: Final = 32
_KV_HEADS: Final = 2
_HEAD_DIM: Final = 128
_PAIRS: Final = 32
_PAGE_SIZE: Final = 64


def _case(rows: int, dtype: torch.dtype, error: float) -> Case:
    def make(device: torch.device) -> Call:
        qkv = torch.randn(rows, _HEADS + 2 * _KV_HEADS, _HEAD_DIM, device=device, dtype=dtype)
        q, k, v = torch.split(qkv, [_HEADS, _KV_HEADS, _KV_HEADS], dim=1)
        angles = 1_000 * torch.rand(rows, _PAIRS, device=device)
        pages = torch.zeros(2, 2 * rows, _PAGE_SIZE, _KV_HEADS, _HEAD_DIM, device=device, dtype=dtype)
        slots = torch.randperm(2 * rows * _PAGE_SIZE, device="cpu")[:rows].to(device)
        return Call((q, k, v, torch.stack((angles.cos(), angles.sin()), dim=-1), *pages, slots))

    name = f"{rows} rows, {str(dtype).removeprefix('torch.')}"
    cost = rope_paged_write_cost(rows, _HEADS, _KV_HEADS, _HEAD_DIM, _PAIRS, dtype.itemsize)
    return Case(name, make, cost, tolerance=error, written=(4, 5))


CASES: Final = (
    _case(1, torch.bfloat16, 4e-3),  # the last rounding
    _case(64, torch.bfloat16, 4e-3),
    _case(64, torch.float32, 1e-6),
)
