"""`harmonic_source` as the official vocoder calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.harmonic_source.cost import harmonic_source_cost

_HOP: Final = 256
_SINES: Final = 9


def _case(lengths: tuple[int, ...]) -> Case:
    frames = sum(lengths)

    def make(device: torch.device) -> Call:
        f0 = 80 + 200 * torch.rand(frames, device=device)
        phase = torch.rand(len(lengths), _SINES, device=device)
        noise = torch.randn(frames * _HOP, _SINES, device=device)
        offsets = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
        settings = {"hop": _HOP, "sample_rate": 22_050, "amplitude": 0.1, "sigma": 0.003, "voiced_threshold": 10.0}
        return Call((f0, phase, noise, offsets), settings)

    # The reference sums in float64 what is float32 to both; then an angle of up to 10 and a sine in float32.
    name = f"{len(lengths)} dialogues, {frames:,} frames of {_HOP} samples, {_SINES} sines"
    cost = harmonic_source_cost(frames, _HOP, _SINES, len(lengths))
    return Case(name, make, cost, 3e-6, oracle_in_float64=False)


CASES: Final = (_case((138,)), _case((138,) * 32))
