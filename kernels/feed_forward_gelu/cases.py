"""`feed_forward_gelu` as the official flow calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.feed_forward_gelu.cost import feed_forward_gelu_cost

_WIDTH: Final = 256
_INNER: Final = 1_024
# Of two products in TF32 three times over, and of bfloat16's roundings of the inner values.
_TOLERANCES: Final = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


def _case(dtype: torch.dtype, rows: int, what: str) -> Case:
    def make(device: torch.device) -> Call:
        def random(*shape: int, scale: float = 1.0) -> torch.Tensor:
            return torch.randn(*shape, device=device, dtype=dtype) * scale

        up, down = random(_INNER, _WIDTH, scale=_WIDTH**-0.5), random(_WIDTH, _INNER, scale=_INNER**-0.5)
        x, gain, offset = random(rows, _WIDTH), random(_WIDTH), random(_WIDTH)
        return Call((x, gain, offset, up, random(_INNER), down, random(_WIDTH)))

    name = f"{rows:,} rows, {str(dtype).removeprefix('torch.')}: {what}"
    return Case(name, make, feed_forward_gelu_cost(rows, _WIDTH, _INNER, dtype.itemsize), _TOLERANCES[dtype])


CASES: Final = tuple(
    _case(dtype, *size)
    for dtype in (torch.float32, torch.bfloat16)
    for size in ((344, "a first chunk's guidance pair"), (11_008, "32 dialogues'"))
)
