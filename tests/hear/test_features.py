"""The log-mel spectrogram: the same in pieces, and raised by a segment's loudest moment wherever that comes."""

import numpy as np
import pytest
import torch
from compare import assert_close
from goldens import golden
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.engine.hear.features import (
    LogMelExtractor,
    StreamingLogMel,
    mel_filters,
    padded_length,
    segments_of,
    whole_log_mel,
)
from antiphon.engine.hear.requests import encoder_frames, segment_frames
from antiphon.engine.types import Float32Array

EXTRACTOR = LogMelExtractor(128)


def _noise(samples: int, loudness: float = 0.1, seed: int = 0) -> Float32Array:
    return (loudness * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def _formula(pcm: Float32Array, padded: int) -> torch.Tensor:
    """The official recipe in float64: f64[frames, 128]."""
    x = torch.zeros(padded, dtype=torch.float64)
    x[: pcm.size] = torch.from_numpy(pcm)
    window = torch.hann_window(400, dtype=torch.float64)
    power = torch.stft(x, 400, 160, window=window, return_complex=True)[:, :-1].abs().square()
    frames = (torch.from_numpy(mel_filters(128)).double().T @ power).clamp(min=1e-10).log10()
    return ((frames.clamp(min=frames.max() - 8) + 4) / 4).T


def test_filters_are_the_official_ones() -> None:
    with np.load(golden("speech_tokenizer/logmel.npz")) as logmel:
        assert_close(mel_filters(128), logmel["mel_filters"], 1e-7)


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.sampled_from([0, 1, 7, 159, 160, 200, 201, 1_280, 5_000]), min_size=1, max_size=12))
def test_pieces_equal_the_whole(pieces: list[int]) -> None:
    pcm = _noise(sum(pieces) + 1)
    stream = StreamingLogMel(EXTRACTOR)
    for piece in np.split(pcm, np.cumsum(pieces)):
        stream.push(piece)
    stream.finish()
    [whole] = whole_log_mel(EXTRACTOR, pcm)
    assert stream.ready == whole.ready
    assert_close(stream.read(0, stream.ready), whole.read(0, whole.ready), 1e-6)


@pytest.mark.parametrize("samples", [1, 200, 201, 1_279, 1_280, 1_281, 6_400])
@pytest.mark.parametrize("extra", [0, 1_280, 12_800])
def test_a_click_at_the_end_counts_as_in_the_official_padding(samples: int, extra: int) -> None:
    pcm = _noise(samples, loudness=1e-5)
    pcm[-1] = 0.9
    padded = padded_length(samples) + extra
    stream = StreamingLogMel(EXTRACTOR)
    stream.push(pcm)
    stream.finish(padded)
    assert_close(stream.read(0, stream.ready), _formula(pcm, padded), 1e-5)


def test_a_later_loud_sound_raises_earlier_frames() -> None:
    stream = StreamingLogMel(EXTRACTOR)
    stream.push(_noise(3_200, loudness=1e-4))
    before, floor = stream.read(0, 10), stream.floor
    assert stream.first_below(floor, 10) == 10
    stream.push(np.tile(np.float32([0.9, -0.9]), 1_600))
    assert stream.floor > floor
    assert stream.first_below(stream.floor, 10) == 0
    assert stream.read(0, 10).min() > before.min()


def test_segments_of_a_long_clip_are_padded_to_the_longest() -> None:
    first, second = whole_log_mel(EXTRACTOR, _noise(480_001))
    assert (first.ready, first.received) == (3_000, 480_000)
    assert (second.ready, second.received) == (3_000, 1)
    assert [segment.size for segment in segments_of(_noise(960_000))] == [480_000, 480_000]


def test_frames_that_hold_audio_are_those_of_the_official_mask() -> None:
    with np.load(golden("speech_tokenizer/logmel.npz")) as logmel:
        masks = {name: logmel[name][0] for name in logmel.files if name.endswith("attention_mask")}
    samples = {"en_speech": 48_000, "short_0p3s": 4_800, "one_sample": 1, "silence": 24_000}
    samples |= {"exact_multiple": 32_000, "multiple_plus1": 32_001}
    for name, count in samples.items():
        mask = masks[f"{name}/attention_mask"]
        assert (encoder_frames(count), segment_frames(count)) == (mask[::2].sum(), mask[::2].size), name
