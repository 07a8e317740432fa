"""The assistant's clips as the decoder's training takes them: wave, mel and pitch, of whole speech tokens."""

from dataclasses import dataclass

import numpy as np
import torch

from antiphon.engine.units import OUTPUT_HOP
from demo.recipe.clips import Clip, ClipSet
from demo.recipe.mel import log_mel, pitch


@dataclass(frozen=True)
class Spoken:
    """One answer, or a part of it."""

    wave: torch.Tensor  # f32[frames · 256]
    mel: torch.Tensor  # f32[frames, 80]
    f0: torch.Tensor  # f32[frames] Hz, 0 where unvoiced


def spoken(clip: Clip) -> Spoken:
    """A whole clip."""
    wave = torch.from_numpy(clip.samples.astype(np.float32) / 32_768)
    frames = len(wave) // OUTPUT_HOP
    wave = wave[: frames * OUTPUT_HOP]
    return Spoken(wave, log_mel(wave), pitch(wave))


def crop(clips: ClipSet, frames: int, random: np.random.Generator) -> Spoken:
    """`frames` mel frames of one clip; the mel is that of the whole clip. The clip is repeated where it is shorter."""
    clip = clips[int(random.integers(len(clips)))]
    samples = clip.samples
    while len(samples) < (frames + 1) * OUTPUT_HOP:
        samples = np.concatenate([samples, clip.samples])
    whole = spoken(Clip(clip.line, samples, clip.labels))
    start = int(random.integers(len(whole.mel) - frames + 1))
    stop = start + frames
    return Spoken(whole.wave[start * OUTPUT_HOP : stop * OUTPUT_HOP], whole.mel[start:stop], whole.f0[start:stop])
