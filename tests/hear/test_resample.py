"""The resampler: the official filter, the same to the last bit in whatever pieces."""

import numpy as np
import pytest
from compare import assert_close
from goldens import golden
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOLERANCE

from antiphon.engine.errors import AudioError
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.hear.resample import StreamingResampler, resample
from antiphon.engine.types import Float32Array


def _noise(samples: int, seed: int = 0) -> Float32Array:
    return np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_equals_the_official_resampling(rate: int) -> None:
    pcm, file_rate = read_audio(golden(f"speech_tokenizer/wav/rate_{rate}.wav"))
    with np.load(golden("speech_tokenizer/resampled_16k.npz")) as expected:
        assert_close(resample(pcm[0], file_rate, 16_000), expected[f"rate_{rate}"], TOLERANCE["resampled"])


@settings(max_examples=40, deadline=None)
@given(
    rates=st.sampled_from(
        [(8_000, 16_000), (44_100, 16_000), (22_050, 8_000), (16_000, 8_000), (12_345, 16_000), (7, 3)]
    ),
    pieces=st.lists(st.sampled_from([0, 1, 2, 3, 17, 160, 441, 1_001]), max_size=30),
)
def test_pieces_equal_the_whole_bit_for_bit(rates: tuple[int, int], pieces: list[int]) -> None:
    pcm = _noise(sum(pieces))
    resampler = StreamingResampler(*rates)
    parts = [resampler.push(piece) for piece in np.split(pcm, np.cumsum(pieces))]
    parts.append(resampler.finish())
    assert np.array_equal(np.concatenate(parts), resample(pcm, *rates))


def test_few_outputs_of_many_taps_sum_in_the_same_order() -> None:
    pcm = _noise(12_000)
    resampler = StreamingResampler(384_000, 1_000)
    parts = [resampler.push(piece) for piece in np.split(pcm, 60)] + [resampler.finish()]
    assert np.array_equal(np.concatenate(parts), resample(pcm, 384_000, 1_000))


@pytest.mark.parametrize(
    ("source", "target", "lookahead"), [(8_000, 16_000, 7), (22_050, 8_000, 17), (16_000, 16_000, 0)]
)
def test_output_waits_for_its_lookahead_and_no_longer(source: int, target: int, lookahead: int) -> None:
    resampler = StreamingResampler(source, target)
    assert resampler.lookahead == lookahead
    assert resampler.push(_noise(lookahead)).size == 0
    assert resampler.push(_noise(1)).size == -(-target // source)


@pytest.mark.parametrize(("source", "target"), [(8_000, 16_000), (22_050, 8_000), (48_000, 16_000)])
def test_a_tone_stays_a_tone(source: int, target: int) -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(source) / source).astype(np.float32)
    expected = np.sin(2 * np.pi * 500 * np.arange(target) / target)
    assert_close(resample(tone, source, target)[200:-200], expected[200:-200], 2e-3)


def test_equal_rates_change_nothing() -> None:
    pcm = _noise(33)
    resampler = StreamingResampler(16_000, 16_000)
    assert np.array_equal(resample(pcm, 16_000, 16_000), pcm)
    assert np.array_equal(np.concatenate([resampler.push(pcm), resampler.finish()]), pcm)


def test_the_next_stream_starts_afresh() -> None:
    resampler = StreamingResampler(8_000, 16_000)
    first, second = (np.concatenate([resampler.push(_noise(50)), resampler.finish()]) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("samples", "length"),
    [(1, 1), (441, 160), (442, 161), (180_697, 65_559)],  # the last is 65,559.0023: the official float32 loses the rest
)
def test_length_is_the_official_one(samples: int, length: int) -> None:
    assert resample(np.zeros(samples, np.float32), 44_100, 16_000).size == length


@pytest.mark.parametrize("rate", [0, -8_000, 384_001, 16_000.0, True])
def test_refuses_rates_out_of_range(rate: int) -> None:
    with pytest.raises(AudioError, match=f"source rate is {rate!r}; expected a whole number of Hz from 1 to 384000"):
        StreamingResampler(rate, 16_000)
