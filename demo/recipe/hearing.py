"""Clips as the speech tokenizer takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from antiphon.engine.hear.encoder import Span
from antiphon.engine.hear.features import LogMelExtractor, whole_log_mel
from antiphon.engine.hear.requests import whole_segment_request
from antiphon.engine.hear.resample import resample
from antiphon.engine.units import MODEL_INPUT_RATE, SAMPLES_PER_SPEECH_TOKEN, SEGMENT_SAMPLES
from demo.recipe.augment import Strength, augmented
from demo.recipe.clips import LABELS_PER_SECOND, Clip

LABELS_PER_TOKEN: int = LABELS_PER_SECOND * SAMPLES_PER_SPEECH_TOKEN // MODEL_INPUT_RATE


@dataclass(frozen=True)
class Heard:
    """One clip on its way into the tokenizer."""

    sound: np.ndarray  # f32[n] at 16 kHz
    labels: np.ndarray  # i64[4 · tokens]
    text: str  # empty where it is in no language of ours


def hear(clips: Sequence[Clip], rate: int, random: np.random.Generator, strength: Strength) -> Heard:
    """One or several clips, one after another with a pause between, augmented alike."""
    pause = int(random.integers(1, 25)) * (MODEL_INPUT_RATE // LABELS_PER_SECOND)
    sounds, labels = [], []
    for index, clip in enumerate(clips):
        if index:
            sounds.append(np.zeros(pause, np.int16))
            labels.append(np.zeros(pause * LABELS_PER_SECOND // MODEL_INPUT_RATE, np.int64))
        sounds.append(at_model_rate(clip.samples, rate))
        labels.append(clip.labels)
    sound, lead = augmented(np.concatenate(sounds), random, strength)
    all_labels = np.concatenate([np.zeros(lead * LABELS_PER_SECOND // MODEL_INPUT_RATE, np.int64), *labels])
    sound = sound[:SEGMENT_SAMPLES]
    tokens = -(-len(sound) // SAMPLES_PER_SPEECH_TOKEN)
    fitted = np.zeros(tokens * LABELS_PER_TOKEN, np.int64)
    kept = all_labels[: len(fitted)]
    fitted[: len(kept)] = kept
    return Heard(sound, fitted, " ".join(clip.line.text for clip in clips))


def at_model_rate(samples: np.ndarray, rate: int) -> np.ndarray:
    """i16 at 16 kHz."""
    if rate == MODEL_INPUT_RATE:
        return samples
    pcm = resample(samples.astype(np.float32) / np.float32(32_768), rate, MODEL_INPUT_RATE)
    return np.clip(np.round(pcm * 32_768), -32_768, 32_767).astype(np.int16)


def encoder_inputs(extractor: LogMelExtractor, heard: Sequence[Heard]) -> tuple[torch.Tensor, list[Span]]:
    """(log-mel rows f32[Σ frames, mel_bins], the spans): what `SpeechEncoder` takes."""
    requests = [whole_segment_request(whole_log_mel(extractor, one.sound)[0]) for one in heard]
    features = torch.from_numpy(np.concatenate([request.features for request in requests]))
    return features, [request.span for request in requests]
