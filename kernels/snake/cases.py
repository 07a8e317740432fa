"""`snake` as a convolution that does not follow another calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.snake.cost import snake_cost

_TOLERANCES: Final = {torch.float32: 1e-6, torch.bfloat16: 1e-2}


def _case(dtype: torch.dtype, rows: int, channels: int) -> Case:
    def make(device: torch.device) -> Call:
        x = torch.randn(rows, channels, device=device, dtype=dtype)
        return Call((x, torch.rand(channels, device=device, dtype=dtype) + 0.5))

    name = f"{rows:,} rows of {channels}, {str(dtype).removeprefix('torch.')}"
    return Case(name, make, snake_cost(rows, channels, dtype.itemsize), _TOLERANCES[dtype])


CASES: Final = tuple(
    _case(dtype, *shape) for dtype in (torch.float32, torch.bfloat16) for shape in ((2_208, 256), (17_666, 128))
)
