"""`residual_block` as the official vocoder calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.packed_conv1d.order import taps_outermost
from antiphon.kernels.residual_block.cost import residual_block_cost
from antiphon.kernels.residual_block.layer import ResidualLayer

_DILATIONS: Final = (1, 3, 5)
# Six products in TF32 three times over, one after another, and as many of bfloat16's roundings.
_TOLERANCES: Final = {torch.float32: 3e-5, torch.bfloat16: 3e-2}


def _case(name: str, dtype: torch.dtype, lengths: tuple[int, ...], channels: int, taps: int) -> Case:
    def make(device: torch.device) -> Call:
        def vector() -> torch.Tensor:
            return torch.rand(channels, device=device, dtype=dtype) + 0.5

        def weight() -> torch.Tensor:
            weight = torch.randn(channels, channels, taps, device=device, dtype=dtype) / (channels * taps) ** 0.5
            return taps_outermost(weight)

        x = torch.randn(sum(lengths), channels, device=device, dtype=dtype)
        layers = [
            ResidualLayer(vector(), weight(), vector(), dilation, vector(), weight(), vector())
            for dilation in _DILATIONS
        ]
        return Call((x, layers, torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)))

    return Case(
        f"{name}, {channels} wide, {taps} taps, {sum(lengths):,} rows, {str(dtype).removeprefix('torch.')}",
        make,
        residual_block_cost(sum(lengths), channels, [(taps, taps)] * len(_DILATIONS), dtype.itemsize),
        _TOLERANCES[dtype],
    )


def _cases() -> tuple[Case, ...]:
    frames = (138, 138)  # of two first chunks
    cases = []
    for dtype in (torch.float32, torch.bfloat16):
        for taps in (3, 7, 11):
            cases.append(_case("first stage", dtype, tuple(8 * n for n in frames), 256, taps))
            cases.append(_case("last stage", dtype, tuple(64 * n + 1 for n in frames), 128, taps))
    return tuple(cases)


CASES: Final = _cases()
