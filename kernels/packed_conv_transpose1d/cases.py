"""`packed_conv_transpose1d` as the official vocoder calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.packed_conv1d.order import taps_outermost
from antiphon.kernels.packed_conv_transpose1d.cost import packed_conv_transpose1d_cost

_TAPS: Final = 16
_STRIDE: Final = 8
_PADDING: Final = 4
# Of products in TF32 three times over, and of bfloat16's last rounding.
_TOLERANCES: Final = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


def _case(dtype: torch.dtype, lengths: tuple[int, ...], widths: tuple[int, int]) -> Case:
    rows = sum(lengths)

    def make(device: torch.device) -> Call:
        x = torch.randn(rows, widths[0], device=device, dtype=dtype)
        weight = torch.randn(*widths, _TAPS, device=device, dtype=dtype) / (2 * widths[0]) ** 0.5
        bias = torch.randn(widths[1], device=device, dtype=dtype)
        offsets = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
        return Call((x, taps_outermost(weight), bias, offsets), {"stride": _STRIDE, "padding": _PADDING})

    return Case(
        f"{widths[0]} to {widths[1]}, {rows:,} rows, {str(dtype).removeprefix('torch.')}",
        make,
        packed_conv_transpose1d_cost(rows, _STRIDE * rows, *widths, _TAPS, dtype.itemsize),
        _TOLERANCES[dtype],
    )


CASES: Final = tuple(
    _case(dtype, *layer)
    for dtype in (torch.float32, torch.bfloat16)
    for layer in (((138, 138), (512, 256)), ((1_104, 1_104), (256, 128)))
)
