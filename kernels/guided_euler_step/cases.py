"""`guided_euler_step` as the official flow calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.guided_euler_step.cost import guided_euler_step_cost

_MEL_BINS: Final = 80


def _case(dtype: torch.dtype, lengths: tuple[int, ...]) -> Case:
    rows = sum(lengths)

    def make(device: torch.device) -> Call:
        x = torch.randn(rows, _MEL_BINS, device=device)
        velocity = torch.randn(2 * rows, _MEL_BINS, device=device, dtype=dtype)
        dt = torch.full((len(lengths),), 0.1, device=device)
        offsets = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
        return Call((x, velocity, dt, offsets), {"guidance": 0.7})

    name = f"{len(lengths)} dialogues, {rows:,} rows, velocity in {str(dtype).removeprefix('torch.')}"
    # The reference takes float32 alone; its four roundings are the same.
    cost = guided_euler_step_cost(rows, _MEL_BINS, len(lengths), dtype.itemsize)
    return Case(name, make, cost, 1e-6, oracle_in_float64=False)


CASES: Final = tuple(_case(dtype, (172,) * n) for dtype in (torch.float32, torch.bfloat16) for n in (1, 32))
