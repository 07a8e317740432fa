"""The judge's ear: features and network."""

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
import torch
from torch import nn

from antiphon.engine.hear.resample import resample
from demo.recipe.spelled import alphabet, read_ctc

RATE: Final = 16_000  # Hz
BINS: Final = 64
_WINDOW: Final = 512
_HOP: Final = 200
_WIDTH: Final = 128
_GRU: Final = 128  # each way
_AT_ONCE: Final = 16


@cache
def _filters() -> torch.Tensor:
    """f32[257, 64]: triangles on the HTK mel scale from 60 Hz to 7.6 kHz."""
    low, high = (2_595.0 * np.log10(1 + hertz / 700.0) for hertz in (60.0, 7_600.0))
    edges = 700.0 * (10 ** (np.linspace(low, high, BINS + 2) / 2_595.0) - 1)
    frequencies = np.linspace(0.0, RATE / 2, _WINDOW // 2 + 1)[:, None]
    rising = (frequencies - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - frequencies) / np.diff(edges)[1:]
    return torch.from_numpy(np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32))


def features(
    sound: np.ndarray,  # f32[n] at 16 kHz
) -> torch.Tensor:
    """f32[⌈n / 200⌉, 64]: log mel less the clip's mean, so that level does not matter."""
    wave = torch.from_numpy(np.ascontiguousarray(sound, np.float32))
    wave = nn.functional.pad(wave, (0, _WINDOW))
    spectrum = torch.stft(wave, _WINDOW, _HOP, window=torch.hamming_window(_WINDOW), center=True, return_complex=True)
    power = spectrum.abs().square().t()[: -(-len(sound) // _HOP)]
    mel = (power @ _filters() + 1e-6).log()
    return mel - mel.mean()


class Judge(nn.Module):
    """Audio to text, spelled in `symbols`, whose first is CTC's blank."""

    def __init__(self, symbols: Sequence[str] | None = None) -> None:
        """By default in the recipe's alphabet."""
        super().__init__()
        self.symbols = tuple(alphabet() if symbols is None else symbols)
        self.convolutions = nn.Sequential(
            nn.Conv1d(BINS, _WIDTH, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(_WIDTH, _WIDTH, 5, stride=2, padding=2),
            nn.GELU(),
        )
        self.norm = nn.LayerNorm(_WIDTH)
        self.gru = nn.GRU(_WIDTH, _GRU, num_layers=2, bidirectional=True, batch_first=True, dropout=0.1)
        self.spelling = nn.Linear(2 * _GRU, len(self.symbols))

    def forward(self, clips: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """CTC scores f[⌈T / 2⌉, symbols] of each clip's features f32[T, 64], 40 a second."""
        # Each clip's convolution alone: padding of a batch would be heard.
        hidden = [self.norm(self.convolutions(clip.t()[None])[0].t()) for clip in clips]
        sequence = nn.utils.rnn.pack_sequence(hidden, enforce_sorted=False)
        padded, lengths = nn.utils.rnn.pad_packed_sequence(self.gru(sequence)[0], batch_first=True)
        scores = self.spelling(padded)
        return [rows[:length] for rows, length in zip(scores, lengths.tolist(), strict=True)]

    @torch.inference_mode()
    def hear(self, sounds: Sequence[tuple[np.ndarray, int]]) -> list[str]:
        """What is said in each (f32[n], rate); nothing in what is shorter than a window."""
        texts = [""] * len(sounds)
        long_enough = [index for index, (sound, rate) in enumerate(sounds) if len(sound) * RATE >= _WINDOW * rate]
        device = self.spelling.weight.device
        for start in range(0, len(long_enough), _AT_ONCE):
            some = long_enough[start : start + _AT_ONCE]
            clips = [features(_at_rate(*sounds[index])).to(device) for index in some]
            for index, scores in zip(some, self(clips), strict=True):
                texts[index] = read_ctc(scores, self.symbols)
        return texts


def _at_rate(sound: np.ndarray, rate: int) -> np.ndarray:
    """f32[n] at the judge's own rate."""
    return sound if rate == RATE else resample(np.asarray(sound, np.float32), rate, RATE)
