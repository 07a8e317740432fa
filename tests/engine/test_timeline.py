"""Positions and their conversions: what the stages really make is what the timeline says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.hear.resample import resample
from antiphon.engine.timeline import (
    InputSample,
    MelFrame,
    WaveSample,
    mel_frames_of,
    resampled_length,
    speech_tokens_heard,
    speech_tokens_played,
    token_of_mel_frame,
    wave_sample_of,
    wave_samples_of,
    wire_sample_of,
)

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000])


def test_mel_frames_are_counted_in_float32_as_the_official_code_does() -> None:
    tokens = np.arange(1, 5_000)
    official = (torch.tensor(tokens, dtype=torch.int32) / 12.5 * 22_050 / 256).int().tolist()
    assert [mel_frames_of(int(n)) for n in tokens] == official
    short = [int(n) for n in tokens if official[n - 1] < int(n) * 441 // 64]
    assert short == [3_392, 3_776, 4_160]


@given(st.integers(1, 20_000), RATES, RATES)
def test_a_resampled_clip_is_as_long_as_the_timeline_says(samples: int, source: int, target: int) -> None:
    assert resample(np.zeros(samples, np.float32), source, target).size == resampled_length(samples, source, target)


@pytest.mark.parametrize(
    ("samples", "rate", "tokens"), [(1, 16_000, 1), (1_280, 16_000, 1), (641, 8_000, 2), (480_001, 16_000, 376)]
)
def test_speech_tokens_heard(samples: int, rate: int, tokens: int) -> None:
    assert speech_tokens_heard(InputSample(samples), rate) == tokens


@given(st.integers(0, 2_000))
def test_a_token_is_heard_in_full_when_its_last_frame_is(token: int) -> None:
    frames = next(frame for frame in range(token * 441 // 64, 10**6) if token_of_mel_frame(MelFrame(frame)) > token)
    assert speech_tokens_played(wave_samples_of(MelFrame(frames))) >= token + 1
    assert speech_tokens_played(WaveSample(int(token * 441 / 64 * 256))) <= token


@given(st.integers(0, 10**7), RATES)
def test_what_was_played_on_the_wire_never_claims_more_of_the_wave(position: int, rate: int) -> None:
    wire = wire_sample_of(WaveSample(position), rate)
    assert wave_sample_of(wire, rate) >= position - 1
    assert wire_sample_of(wave_sample_of(wire, rate), rate) <= wire
