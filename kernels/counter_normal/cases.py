"""`counter_normal` as the vocoder's source calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.counter_normal.cost import counter_normal_cost

_A_FRAME: Final = 256 * 9  # normals: one a sample and sine


def _case(frames: tuple[int, ...]) -> Case:
    rows = sum(frames) * _A_FRAME

    def make(device: torch.device) -> Call:
        offsets = (torch.tensor([0, *frames]).cumsum(0) * _A_FRAME).to(device, torch.int32)
        seeds = torch.arange(len(frames), device=device)
        return Call((seeds, seeds * 1_000, offsets), {"stream": 2, "rows": rows})

    # The draws are the same bits; logarithm, root and cosine are float32 in both.
    name = f"{len(frames)} dialogues, {rows:,} normals"
    return Case(name, make, counter_normal_cost(rows), 1e-6, oracle_in_float64=False)


CASES: Final = (_case((138,)), _case((138,) * 32))
