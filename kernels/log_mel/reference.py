"""`log_mel` in plain torch, in float64: quiet bins beside loud ones lie below what a float32 transform resolves."""

from typing import Final

import torch

_SMALLEST_POWER: Final = 1e-10


def log_mel(
    samples: torch.Tensor,  # f32[N]
    starts: torch.Tensor,  # i64[T]
    window: torch.Tensor,  # f32[n_fft]
    mel_filters: torch.Tensor,  # f32[n_fft / 2 + 1, mel_bins]
) -> torch.Tensor:
    """f32[T, mel_bins]; differentiable, the definition of correct."""
    if len(starts) == 0:  # which some FFT libraries refuse
        return samples.new_empty(0, mel_filters.shape[1])
    reads = starts[:, None] + torch.arange(len(window), device=starts.device)
    frames = samples.double()[reads] * window.double()
    spectrum = torch.fft.rfft(frames, dim=1)
    power = spectrum.real.square() + spectrum.imag.square()
    mel = torch.matmul(power, mel_filters.double())
    return mel.clamp(min=_SMALLEST_POWER).log10().float()
