"""`residual_blocks` as the official vocoder calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.packed_conv1d.order import taps_outermost
from antiphon.kernels.residual_blocks.cost import residual_blocks_cost
from antiphon.kernels.residual_blocks.layer import ResidualLayer

_DILATIONS: Final = (1, 3, 5)
_TAPS: Final = (3, 7, 11)
# Six products in TF32 three times over, one after another, and as many of bfloat16's roundings.
_TOLERANCES: Final = {torch.float32: 3e-5, torch.bfloat16: 3e-2}


def _case(
    name: str, dtype: torch.dtype, lengths: tuple[int, ...], channels: int, taps: tuple[int, ...], slope: float
) -> Case:
    def make(device: torch.device) -> Call:
        def vector() -> torch.Tensor:
            return torch.rand(channels, device=device, dtype=dtype) + 0.5

        def layer(taps: int, dilation: int) -> ResidualLayer:
            weights = torch.randn(2, channels, channels, taps, device=device, dtype=dtype) / (channels * taps) ** 0.5
            first, second = (taps_outermost(weight) for weight in weights)
            return ResidualLayer(vector(), first, vector(), dilation, vector(), second, vector())

        x = torch.randn(sum(lengths), channels, device=device, dtype=dtype)
        blocks = [[layer(each, dilation) for dilation in _DILATIONS] for each in taps]
        offsets = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
        return Call((x, blocks, offsets), {"slope": slope})

    return Case(
        f"{name}, {channels} wide, taps {taps}, {sum(lengths):,} rows, {str(dtype).removeprefix('torch.')}",
        make,
        residual_blocks_cost(
            sum(lengths), channels, [(each, each) for each in taps for _ in _DILATIONS], dtype.itemsize
        ),
        _TOLERANCES[dtype],
    )


def _cases() -> tuple[Case, ...]:
    frames = (138, 138)  # of two first chunks
    first, last = tuple(8 * n for n in frames), tuple(64 * n + 1 for n in frames)
    cases = []
    for dtype in (torch.float32, torch.bfloat16):
        cases += [
            _case("first stage", dtype, first, 256, _TAPS, 0.1),
            _case("first stage's source", dtype, first, 256, (7,), 1.0),
            _case("last stage", dtype, last, 128, _TAPS, 0.01),
            _case("last stage's source", dtype, last, 128, (11,), 1.0),
        ]
    return tuple(cases)


CASES: Final = _cases()
