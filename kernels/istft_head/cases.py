"""`istft_head` as the official vocoder calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.istft_head.cost import istft_head_cost

_N_FFT: Final = 16
_HOP: Final = 4


def _case(dtype: torch.dtype, frames: tuple[int, ...]) -> Case:
    rows = sum(frames)

    def make(device: torch.device) -> Call:
        offsets = torch.tensor([0, *frames]).cumsum(0).to(device, torch.int32)
        return Call(
            (torch.randn(rows, _N_FFT + 2, device=device, dtype=dtype), offsets),
            {"n_fft": _N_FFT, "hop": _HOP, "magnitude_limit": 100.0, "audio_limit": 0.99},
        )

    name = f"{len(frames)} dialogues, {rows:,} rows, {str(dtype).removeprefix('torch.')}"
    # Sums of 36 terms in float32, whatever the rows' own dtype.
    return Case(name, make, istft_head_cost(rows, len(frames), _N_FFT, _HOP, dtype.itemsize), 3e-6)


CASES: Final = tuple(_case(dtype, (8_833,) * n) for dtype in (torch.float32, torch.bfloat16) for n in (1, 32))
