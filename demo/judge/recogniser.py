"""The judge's ear: features and network."""

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
import torch
from torch import nn

from antiphon.engine.hear.resample import resample
from demo.judge.lexicon import lexicon, read_words
from demo.recipe.spelled import alphabet

RATE: Final = 16_000  # Hz
BINS: Final = 64
_WINDOW: Final = 512
_HOP: Final = 200
_WIDTH: Final = 160
_TAPS: Final = 9  # of a block's convolution
_DILATIONS: Final = (1, 2, 4, 1, 2, 4)  # of the blocks: 1.4 s each way
_GAP: Final = max(_DILATIONS) * (_TAPS // 2)  # rows between two clips, at the blocks' rate
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


class Block(nn.Module):
    """A convolution of each channel over time, then a feed-forward; normed before, and added."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(_WIDTH)
        self.taps = nn.Parameter(torch.randn(_TAPS, _WIDTH) * _TAPS**-0.5)
        self.feed_forward = nn.Sequential(nn.Linear(_WIDTH, 2 * _WIDTH), nn.GELU(), nn.Linear(2 * _WIDTH, _WIDTH))

    def forward(
        self,
        x: torch.Tensor,  # f[N, width]
        within: torch.Tensor,  # bool[N, 1]: where clips are
    ) -> torch.Tensor:
        """f[N, width]; what lies between clips is not heard."""
        reach, length = self.dilation * (_TAPS // 2), len(x)
        padded = nn.functional.pad(self.norm(x) * within, (0, 0, reach, reach))
        # Tap by tap: on a CPU a depthwise convolution's gradient takes several times as long.
        around = torch.zeros_like(x)
        for number, tap in enumerate(self.taps):
            around = around + padded[number * self.dilation :][:length] * tap
        mixed: torch.Tensor = x + self.feed_forward(around)
        return mixed


class Judge(nn.Module):
    """Audio to text, spelled in `symbols`, whose first is CTC's blank. Convolutions all the way."""

    def __init__(self, symbols: Sequence[str] | None = None) -> None:
        """By default in the recipe's alphabet."""
        super().__init__()
        self.symbols = tuple(alphabet() if symbols is None else symbols)
        self.narrow = nn.Conv1d(BINS, _WIDTH, 5, padding=2)
        self.halve = nn.Conv1d(_WIDTH, _WIDTH, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(Block(dilation) for dilation in _DILATIONS)
        self.norm = nn.LayerNorm(_WIDTH)
        self.spelling = nn.Linear(_WIDTH, len(self.symbols))

    def forward(self, clips: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """CTC scores f[⌈T / 2⌉, symbols] of each clip's features f32[T, 64], 40 a second."""
        lengths = [len(clip) for clip in clips]
        starts, total = [], 0
        for length in lengths:
            starts.append(total)
            total += length + length % 2 + 2 * _GAP
        device = clips[0].device
        rows = _rows(starts, lengths, device)
        x = clips[0].new_zeros(total, BINS)
        x[rows] = torch.cat(list(clips))
        within = torch.zeros(total, 1, dtype=torch.bool, device=device)
        within[rows] = True
        # One after another with gaps, which are zero before every convolution: each clip is heard as if it were alone.
        x = nn.functional.gelu(self.narrow(x.t()[None])) * within.t()
        x = nn.functional.gelu(self.halve(x))[0].t()
        lengths = [(length + 1) // 2 for length in lengths]
        rows = _rows([start // 2 for start in starts], lengths, device)
        within = torch.zeros(len(x), 1, dtype=torch.bool, device=device)
        within[rows] = True
        for block in self.blocks:
            x = block(x, within)
        return list(torch.split(self.spelling(self.norm(x[rows])), lengths))

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
                texts[index] = read_words(scores, self.symbols, lexicon())
        return texts


def _rows(starts: Sequence[int], lengths: Sequence[int], device: torch.device) -> torch.Tensor:
    """i64[Σ lengths]: where each clip's rows stand."""
    return torch.cat([torch.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)]).to(
        device
    )


def _at_rate(sound: np.ndarray, rate: int) -> np.ndarray:
    """f32[n] at the judge's own rate."""
    return sound if rate == RATE else resample(np.asarray(sound, np.float32), rate, RATE)
