"""`rms_norm` as GLM-4-9B calls it: rows of 4,096, beside the residual but for the first layer's."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.rms_norm.cost import rms_norm_cost

_HIDDEN: Final = 4_096
_EPS: Final = 3.90625e-08


def _case(rows: int, dtype: torch.dtype, error: float, residual: bool = True) -> Case:
    def make(device: torch.device) -> Call:
        x, weight, added = (torch.randn(*shape, device=device, dtype=dtype)
                            for shape in ((rows, _HIDDEN), (_HIDDEN,), (rows, _HIDDEN)))  # fmt: skip
        return Call((x, weight, _EPS), {"residual": added} if residual else {})

    name = f"{rows} rows{'' if residual else ' without a residual'}, {str(dtype).removeprefix('torch.')}"
    return Case(name, make, rms_norm_cost(rows, _HIDDEN, dtype.itemsize, residual=residual), tolerance=error)


CASES: Final = (
    _case(1, torch.bfloat16, 1e-2),  # the sum's rounding and the norm's
    _case(64, torch.bfloat16, 1e-2),
    _case(64, torch.bfloat16, 1e-2, residual=False),
    _case(64, torch.float32, 2e-6),
)
