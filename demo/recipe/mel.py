"""The mel spectrogram that the flow makes and the vocoder takes, and the pitch of a wave.

Source: jik876/hifi-gan, meldataset.py, with the settings of zai-org/GLM-4-Voice's decoder: 80 bins up to 8 kHz, window
1,024, hop 256 at 22.05 kHz, natural logarithm; the bins have Slaney's scale and unit area.
"""

from functools import cache
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F

from antiphon.engine.units import MEL_BINS, OUTPUT_HOP, OUTPUT_RATE

WINDOW: Final = 1_024
_TOP: Final = 8_000.0  # Hz
_SMALLEST: Final = 1e-5
_PITCH_RANGE: Final = (70.0, 420.0)  # Hz
_VOICED: Final = 0.55  # of the autocorrelation at no lag
_OCTAVE_SHARE: Final = 0.88  # a shorter lag wins with this share of the highest peak


@cache
def _filters() -> torch.Tensor:
    """f32[513, 80]."""
    top = 15.0 + np.log(_TOP / 1_000.0) * 27.0 / np.log(6.4)
    mels = np.linspace(0.0, top, MEL_BINS + 2)
    edges = np.where(mels < 15.0, mels * 200.0 / 3.0, 1_000.0 * np.exp((mels - 15.0) * np.log(6.4) / 27.0))
    frequencies = np.linspace(0.0, OUTPUT_RATE / 2, WINDOW // 2 + 1)[:, None]
    rising = (frequencies - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - frequencies) / np.diff(edges)[1:]
    weights = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (edges[2:] - edges[:-2])
    return torch.from_numpy(weights.astype(np.float32))


def log_mel(
    wave: torch.Tensor,  # f32[..., n] at 22.05 kHz
) -> torch.Tensor:
    """f32[..., n // 256, 80]; differentiable."""
    margin = (WINDOW - OUTPUT_HOP) // 2
    padded = F.pad(wave.reshape(1, -1, wave.shape[-1]), (margin, margin), "reflect").view(*wave.shape[:-1], -1)
    window = torch.hann_window(WINDOW, device=wave.device)
    spectrum = torch.stft(padded, WINDOW, OUTPUT_HOP, window=window, center=False, return_complex=True)
    magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-9)
    mel = magnitude.transpose(-1, -2) @ _filters().to(wave.device)
    return mel.clamp(min=_SMALLEST).log()


def pitch(
    wave: torch.Tensor,  # f32[n] at 22.05 kHz, clean
) -> torch.Tensor:
    """f32[n // 256] in Hz, 0 where unvoiced: the highest peak of the normalised autocorrelation, frame by frame."""
    frames = len(wave) // OUTPUT_HOP
    margin = (WINDOW - OUTPUT_HOP) // 2
    pieces = F.pad(wave, (margin, margin + WINDOW)).unfold(0, WINDOW, OUTPUT_HOP)[:frames]
    pieces = pieces - pieces.mean(dim=1, keepdim=True)
    shortest, longest = int(OUTPUT_RATE / _PITCH_RANGE[1]), int(OUTPUT_RATE / _PITCH_RANGE[0])
    spectrum = torch.fft.rfft(pieces, 2 * WINDOW)
    correlation = torch.fft.irfft(spectrum.abs().square(), 2 * WINDOW)[:, : longest + 2]
    overlap = 1.0 - torch.arange(longest + 2) / WINDOW  # fewer products at a longer lag
    power = correlation[:, :1].clamp(min=1e-6)
    normalised = correlation / overlap / power
    inner = normalised[:, shortest : longest + 1]
    before, after = normalised[:, shortest - 1 : longest], normalised[:, shortest + 1 : longest + 2]
    peaks = torch.where((inner >= before) & (inner >= after), inner, inner.new_zeros(()))
    highest = peaks.amax(dim=1, keepdim=True)
    lag = (peaks >= _OCTAVE_SHARE * highest).float().argmax(dim=1)
    rows = torch.arange(frames)
    left, middle, right = before[rows, lag], inner[rows, lag], after[rows, lag]
    bend = (left - 2 * middle + right).clamp(max=-1e-6)
    refined = shortest + lag + (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    loud = pieces.square().mean(dim=1).sqrt() > 0.01
    voiced = (highest[:, 0] > _VOICED) & loud
    hertz = torch.where(voiced, OUTPUT_RATE / refined, torch.zeros(()))
    around = F.pad(hertz, (1, 1)).unfold(0, 3, 1)
    return around.median(dim=1).values if frames else hertz
