"""The two small tokenizers of the parity data, and its clips."""

import json
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from goldens import golden

from antiphon import SpeechTokenizer
from antiphon.engine.hear.codec import read_audio

BLOCKS = (20, 200)
CLIPS = (
    "en_speech",
    "exact_multiple",
    "long_30s_exact",
    "long_30s_plus",
    "long_two_segments",
    "multiple_minus1",
    "multiple_plus1",
    "noise",
    "one_sample",
    "rate_44100",
    "rate_8000",
    "short_0p3s",
    "silence",
    "stereo",
    "zh_speech",
)


@cache
def tokenizer(block: int) -> SpeechTokenizer:
    """The one whose attention has blocks of `block` frames."""
    return SpeechTokenizer.load(golden(f"speech_tokenizer/block{block}"))


@cache
def expected(block: int) -> dict[str, Any]:
    """What the official code makes of the clips and batches."""
    loaded: dict[str, Any] = json.loads(golden(f"speech_tokenizer/block{block}/expected.json").read_text())
    return loaded


def clip(name: str) -> tuple[npt.NDArray[np.float32], int]:
    """One clip, f32[channels, n], and its rate."""
    entry = expected(200)["clips"][name]
    pcm, rate = read_audio(golden(f"speech_tokenizer/wav/{entry['wav']}"))
    return pcm[:, slice(*entry["wav_slice"])] if "wav_slice" in entry else pcm, rate
