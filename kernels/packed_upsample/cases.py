"""`packed_upsample` as the official flow calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.packed_conv1d.order import taps_outermost
from antiphon.kernels.packed_upsample.cost import packed_upsample_cost

_WIDTH: Final = 256
# Of products in TF32 three times over, and of bfloat16's last rounding.
_TOLERANCES: Final = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


def _case(dtype: torch.dtype, wanted: tuple[int, ...]) -> Case:
    lengths = [(n + 1) // 2 for n in wanted]

    def make(device: torch.device) -> Call:
        x = torch.randn(sum(lengths), _WIDTH, device=device, dtype=dtype)
        weight = torch.randn(_WIDTH, _WIDTH, 4, device=device, dtype=dtype) / (2 * _WIDTH) ** 0.5
        bias = torch.randn(_WIDTH, device=device, dtype=dtype)
        offsets, doubled = (
            torch.tensor([0, *sizes]).cumsum(0).to(device, torch.int32) for sizes in (lengths, list(wanted))
        )
        sizes = {"max_seqlen": max(lengths), "out_rows": sum(wanted)}
        return Call((x, taps_outermost(weight), bias, offsets, doubled), sizes)

    return Case(
        f"{len(wanted)} sequences, {sum(wanted):,} rows of {_WIDTH}, {str(dtype).removeprefix('torch.')}",
        make,
        packed_upsample_cost(sum(lengths), sum(wanted), _WIDTH, _WIDTH, dtype.itemsize),
        _TOLERANCES[dtype],
    )


CASES: Final = tuple(
    _case(dtype, wanted) for dtype in (torch.float32, torch.bfloat16) for wanted in ((172, 171), (172,) * 64)
)
