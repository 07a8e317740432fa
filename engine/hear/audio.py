"""What counts as audio: one finite channel, at a rate the resampler can take."""

from typing import Final

import numpy as np
import torch

from antiphon.engine.arrays import as_float32
from antiphon.engine.errors import AudioError
from antiphon.engine.types import ArrayLike, Float32Array

LOWEST_RATE: Final = 1  # Hz
HIGHEST_RATE: Final = 384_000  # Hz
MOST_CHANNELS: Final = 64  # more is a transposed array
LOUDEST: Final = 64.0  # more is integers nobody has scaled; filters and mixers pass 1, never this


def check_audio(pcm: ArrayLike, what: str = "pcm") -> Float32Array:
    """The first channel of `pcm`, f32[n] or f32[channels, n] in [-1, 1], as f32[n].

    The official tokenizer hears channel 0 alone (zai-org/GLM-4-Voice, speech_tokenizer/utils.py).
    Raises AudioError when it is empty, not finite, of another shape, or of integers' size.
    """
    channel = first_channel(pcm, what)
    if channel.size == 0:
        raise AudioError(f"{what} is empty; expected at least one sample.")
    loudest = float(np.abs(channel).max())
    if loudest > LOUDEST:
        raise AudioError(f"{what} goes up to {loudest:g}; expected samples in [-1, 1]. Were integers left unscaled?")
    return channel


def first_channel(pcm: ArrayLike, what: str = "pcm") -> Float32Array:
    """As `check_audio`, but a piece of a stream may be empty, and its loudness is not judged."""
    if isinstance(pcm, torch.Tensor) and not pcm.is_floating_point() or np.asarray(pcm).dtype.kind in "iu":
        raise AudioError(f"{what} holds integers; expected floating point in [-1, 1]: divide by half their range.")
    array = as_float32(pcm, what)
    if array.ndim not in (1, 2):
        raise AudioError(f"{what} has shape {list(array.shape)}; expected [samples] or [channels, samples].")
    if array.ndim == 2:
        if array.shape[0] == 0:
            raise AudioError(f"{what} has no channels: its shape is {list(array.shape)}; expected [channels, samples].")
        if array.shape[0] > MOST_CHANNELS:
            raise AudioError(
                f"{what} has shape {list(array.shape)}; expected at most {MOST_CHANNELS} channels before the samples: "
                "transpose it."
            )
        array = array[0]
    unusable = array.size - int(np.isfinite(array).sum())
    if unusable:
        first = int(np.argmin(np.isfinite(array)))
        raise AudioError(
            f"{what} holds {unusable} samples that are NaN or infinite, the first at index {first}; "
            "expected finite numbers in [-1, 1]."
        )
    return array


def check_rate(rate: int, what: str = "sample rate") -> int:
    """`rate`, a whole number of Hz. Raises AudioError when it is none, or out of range."""
    whole = isinstance(rate, int | np.integer) and not isinstance(rate, bool)
    if not whole or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioError(
            f"{what} is {rate!r}; expected a whole number of Hz from {LOWEST_RATE} to {HIGHEST_RATE}, such as 16000."
        )
    return int(rate)
