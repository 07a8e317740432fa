"""`packed_stft` as the official vocoder calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.packed_stft.cost import packed_stft_cost

_N_FFT: Final = 16
_HOP: Final = 4


def _case(lengths: tuple[int, ...]) -> Case:
    rows = sum(n // _HOP + 1 for n in lengths)

    def make(device: torch.device) -> Call:
        offsets = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
        samples = torch.randn(sum(lengths), device=device)
        return Call((samples, offsets), {"n_fft": _N_FFT, "hop": _HOP, "out_rows": rows})

    name = f"{len(lengths)} dialogues, {sum(lengths):,} samples"
    return Case(name, make, packed_stft_cost(sum(lengths), rows, _N_FFT), 3e-6)  # sums of 16 products


CASES: Final = (_case((35_328,)), _case((35_328,) * 32))
