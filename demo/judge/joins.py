"""What is to be heard at the joins of streamed speech, measured against the same speech decoded in one shot.

Chunks are made one after the other of tokens that come one by one, as in a turn; where a chunk's samples end is a join.
The one-shot decode knows no joins, so a figure at the same places in it is what no join at all would have. The official
scheme loses mel frames, so "the same place" is found for each stretch between two joins by the shift that fits best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch

from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.units import OUTPUT_HOP, OUTPUT_RATE
from demo.recipe.mel import log_mel, pitch

_WINDOW: Final = 256  # samples: short, so that a click stands out
_HOP: Final = 64
_APART: Final = _WINDOW // _HOP  # spectra that share no sample
_FLOOR: Final = 1e-3  # of a magnitude: below, nothing is heard
_NEAR: Final = 4  # spectra on either side of a join
_HIGH: Final = 6_000.0  # Hz
_MOST_SHIFT: Final = 3  # mel frames from one stretch to the next
_SIDE: Final = 6  # mel frames of pitch on either side


@dataclass(frozen=True)
class Joined:
    """A streamed wave beside the same speech in one shot."""

    wave: np.ndarray  # f32[n] at 22.05 kHz
    joins: Sequence[int]  # samples of `wave` at which a new chunk begins
    whole: np.ndarray  # f32[m]


@dataclass(frozen=True)
class JoinFigures:
    """Means over all joins of all answers; 1 or 0 is what no join at all would have."""

    joins: int
    flux: float  # spectral flux over that of the one-shot decode: 1
    high_band: float  # dB above 6 kHz over the one-shot decode: 0
    pitch_jump: float  # semitones across a join, less those of the one-shot decode: 0
    mel_distance: float  # mean L1 of the log-mels between joins; the decodes draw other noise, so never quite 0
    length: float  # seconds over the one-shot decode's: 1


def decode_both_ways(decoder: SpeechDecoder, codes: Sequence[int], mode: str) -> Joined:
    """The speech of `codes` streamed in `mode`, and in one shot."""
    stream = decoder.stream(mode=mode, keep_chunks=False)
    pieces = [stream.push([code]) for code in codes]
    pieces = [piece for piece in [*pieces, stream.finish()] if piece.size]
    alone = decoder.stream(mode="reference", schedule=(len(codes) + 1,), keep_chunks=False)
    whole = np.concatenate([alone.push(codes), alone.finish()])
    return Joined(np.concatenate(pieces), np.cumsum([piece.size for piece in pieces])[:-1].tolist(), whole)


def measure(answers: Sequence[Joined]) -> JoinFigures:
    """The figures over several answers. Raises ValueError when none of them has a join."""
    flux, flux_whole, high, jumps, distances = [], [], [], [], []
    for one in answers:
        edges = [0, *one.joins, len(one.wave)]
        mel, mel_whole = _mel(one.wave), _mel(one.whole)
        hertz, hertz_whole = (pitch(torch.from_numpy(wave)).numpy() for wave in (one.wave, one.whole))
        shift = 0
        for index, (start, stop) in enumerate(pairwise(edges)):
            if index:
                there = start + shift * OUTPUT_HOP
                flux.append(_flux(one.wave, start))
                flux_whole.append(_flux(one.whole, there))
                high.append(_high_band(one.wave, start) - _high_band(one.whole, there))
                jump = _jump(hertz, start // OUTPUT_HOP), _jump(hertz_whole, there // OUTPUT_HOP)
                if jump[0] is not None and jump[1] is not None:
                    jumps.append(jump[0] - jump[1])
            shift, distance = _fit(mel[start // OUTPUT_HOP : stop // OUTPUT_HOP], mel_whole, start // OUTPUT_HOP, shift)
            distances.append(distance)
    if not flux:
        raise ValueError(f"none of {len(answers)} answers has a join; expected speech of more than one chunk.")
    return JoinFigures(
        joins=len(flux),
        flux=float(np.sum(flux) / np.sum(flux_whole)),
        high_band=float(np.mean(high)),
        pitch_jump=float(np.mean(jumps)) if jumps else 0.0,
        mel_distance=float(np.mean(distances)),
        length=sum(len(one.wave) for one in answers) / sum(len(one.whole) for one in answers),
    )


def _mel(wave: np.ndarray) -> np.ndarray:
    return log_mel(torch.from_numpy(np.pad(wave, (0, max(0, 2 * OUTPUT_HOP * 2 - len(wave)))))).numpy()


def _fit(stretch: np.ndarray, whole: np.ndarray, start: int, before: int) -> tuple[int, float]:
    """(the shift against `whole`, the L1 there) at which a stretch beginning at frame `start` fits best."""
    best = (before, np.inf)
    for shift in sorted(range(before - _MOST_SHIFT, before + _MOST_SHIFT + 1), key=lambda one: abs(one - before)):
        there = whole[max(0, start + shift) : max(0, start + shift) + len(stretch)]
        count = min(len(there), len(stretch))
        if count:
            distance = float(np.abs(stretch[:count] - there[:count]).mean())
            best = (shift, distance) if distance < best[1] else best
    return best if np.isfinite(best[1]) else (before, 0.0)


def _flux(wave: np.ndarray, at: int) -> float:
    """The largest change between spectra that share no sample, near the sample `at`."""
    margin = (_NEAR + _APART) * _HOP + _WINDOW
    spectra = np.log(_FLOOR + _spectra(_around(wave, at, margin)))
    changes = np.abs(spectra[_APART:] - spectra[:-_APART]).mean(axis=1)
    return float(changes.max())


def _high_band(wave: np.ndarray, at: int) -> float:
    """dB above 6 kHz in the window around the sample `at`."""
    spectrum = _spectra(_around(wave, at, _WINDOW // 2))[0]
    high = spectrum[np.fft.rfftfreq(_WINDOW, 1 / OUTPUT_RATE) >= _HIGH]
    return float(20 * np.log10(_FLOOR + np.sqrt(np.square(high).mean())))


def _spectra(piece: np.ndarray) -> np.ndarray:
    """Magnitudes f32[windows, bins]."""
    windows = np.lib.stride_tricks.sliding_window_view(piece, _WINDOW)[::_HOP]
    magnitudes: np.ndarray = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), axis=1))
    return magnitudes


def _around(wave: np.ndarray, at: int, margin: int) -> np.ndarray:
    padded = np.pad(wave, (margin, margin))
    start = min(max(at, 0), len(wave))
    piece: np.ndarray = padded[start : start + 2 * margin]
    return piece


def _jump(hertz: np.ndarray, frame: int) -> float | None:
    """Semitones between the median pitches before and after a frame; None where either side is unvoiced."""
    before, after = hertz[max(0, frame - _SIDE) : frame], hertz[frame : frame + _SIDE]
    before, after = before[before > 0], after[after > 0]
    if not before.size or not after.size:
        return None
    return float(abs(12 * np.log2(np.median(after) / np.median(before))))
