"""`layer_norm_linear` as the flow calls it: 256 channels to the queries, keys and values of 8 heads of 64."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.layer_norm_linear.cost import layer_norm_linear_cost

_CHANNELS: Final = 256
_INNER: Final = 512


def _case(rows: int, what: str, dtype: torch.dtype, error: float) -> Case:
    def make(device: torch.device) -> Call:
        x, gain, offset = (torch.randn(*shape, device=device, dtype=dtype)
                           for shape in ((rows, _CHANNELS), (_CHANNELS,), (_CHANNELS,)))  # fmt: skip
        weights = [torch.randn(_INNER, _CHANNELS, device=device, dtype=dtype) / 16 for _ in range(3)]
        return Call((x, gain, offset, weights), {"eps": 1e-5})

    cost = layer_norm_linear_cost(rows, _CHANNELS, 3 * _INNER, dtype.itemsize)
    return Case(f"{rows:,} rows: {what}, {str(dtype).removeprefix('torch.')}", make, cost, tolerance=error)


CASES: Final = (
    _case(344, "a pair of 172 frames", torch.bfloat16, 1e-2),  # the normalised rows and the result are rounded
    _case(11_008, "32 pairs of 172 frames", torch.bfloat16, 1e-2),
    _case(344, "a pair of 172 frames", torch.float32, 2e-6),
)
