"""`swiglu` as GLM-4-9B calls it: 13,696 gates a row."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.swiglu.cost import swiglu_cost

_FFN: Final = 13_696


def _case(rows: int, dtype: torch.dtype, error: float) -> Case:
    def make(device: torch.device) -> Call:
        return Call((torch.randn(rows, 2 * _FFN, device=device, dtype=dtype),))

    name = f"{rows} rows, {str(dtype).removeprefix('torch.')}"
    return Case(name, make, swiglu_cost(rows, _FFN, dtype.itemsize), tolerance=error)


CASES: Final = (
    _case(1, torch.bfloat16, 4e-3),  # the last rounding
    _case(64, torch.bfloat16, 4e-3),
    _case(64, torch.float32, 1e-6),
)
