"""`packed_conv1d` as the official tokenizer, flow and vocoder calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.packed_conv1d.activations import Activation
from antiphon.kernels.packed_conv1d.cost import packed_conv1d_cost
from antiphon.kernels.packed_conv1d.order import taps_outermost

# Of products in TF32 three times over, and of bfloat16's last rounding.
_TOLERANCES: Final = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


def _case(
    name: str,
    dtype: torch.dtype,
    lengths: tuple[int, ...],
    widths: tuple[int, int],
    taps: int,
    *,
    stride: int = 1,
    padding: tuple[int, int] | None = None,
    activation: Activation | None = None,
    has_bias: bool = True,
) -> Case:
    around = (taps // 2, taps // 2) if padding is None else padding
    rows_out = sum((length + sum(around) - taps) // stride + 1 for length in lengths)

    def make(device: torch.device) -> Call:
        x = torch.randn(sum(lengths), widths[0], device=device, dtype=dtype)
        weight = torch.randn(widths[1], widths[0], taps, device=device, dtype=dtype) / (widths[0] * taps) ** 0.5
        bias = torch.randn(widths[1], device=device, dtype=dtype) if has_bias else None
        offsets = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
        given = {"stride": stride, "padding": around, "out_rows": rows_out, "activation": activation}
        return Call((x, taps_outermost(weight), bias, offsets), given)

    return Case(
        f"{name}, {widths[0]} to {widths[1]}, {taps} taps, {sum(lengths):,} rows, {str(dtype).removeprefix('torch.')}",
        make,
        packed_conv1d_cost(sum(lengths), rows_out, *widths, taps, dtype.itemsize, has_bias=has_bias),
        _TOLERANCES[dtype],
    )


def _cases() -> tuple[Case, ...]:
    frames = (138, 138)  # of two first chunks
    spectrum = tuple(64 * n + 1 for n in frames)
    cases = []
    for dtype in (torch.float32, torch.bfloat16):
        cases += [
            _case("stem", dtype, (400, 400), (128, 1_280), 3, padding=(2, 0), activation="gelu"),
            _case("stem", dtype, (400, 400), (1_280, 1_280), 3, stride=2, padding=(2, 0), activation="gelu"),
            _case("flow conditions", dtype, frames, (240, 256), 3, has_bias=False),
            _case("flow", dtype, frames, (256, 256), 3),
            _case("flow down", dtype, frames, (256, 256), 3, stride=2),
            _case("vocoder in", dtype, frames, (80, 512), 7),
            _case("source down", dtype, spectrum, (18, 256), 16, stride=8, padding=(4, 4)),
            _case("source", dtype, spectrum, (18, 128), 1),
            _case("vocoder out", dtype, spectrum, (128, 18), 7),
        ]
    return (
        *cases,
        _case("F0 in", torch.float32, frames, (80, 512), 3, activation="elu"),
        _case("F0", torch.float32, frames, (512, 512), 3, activation="elu"),
        _case("F0 out", torch.float32, frames, (512, 1), 1),
        _case("source mix", torch.float32, tuple(256 * n for n in frames), (9, 1), 1),
    )


CASES: Final = _cases()
