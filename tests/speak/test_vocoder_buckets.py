"""The vocoder in buckets: stretches of nobody change nothing, and the forwards read nothing back."""

import random
from collections.abc import Sequence

import pytest
import torch
from compare import assert_close
from interpreter import interpreted
from launches import recorded
from tolerances import TOLERANCE
from vocoders import DEEP, NARROW, ODD, SHORT, random_mel, random_vocoder

from antiphon.engine.speak import frame_bucket
from antiphon.engine.speak.continuous_source import SourceState
from antiphon.engine.speak.filter_buckets import BucketedFilter, FilterInputs
from antiphon.engine.speak.filter_layers import spans_of
from antiphon.engine.speak.frame_bucket import FrameBucket
from antiphon.engine.speak.reach import FilterSpans, Reach, Span
from antiphon.engine.speak.source_buckets import BucketedSource, SourceInputs
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.speak.vocoder_buckets import BucketedVocoder
from antiphon.engine.speak.vocoder_passes import SourceWindow, VocoderPasses
from antiphon.engine.speak.vocoder_stream import ContinuousVocoder, VocoderJob
from antiphon.engine.speak.vocoder_window import FilterWindow
from antiphon.engine.weights.configs import VocoderConfig


def _spans(config: VocoderConfig, first: int, end: int, frames: int) -> FilterSpans:
    return FilterSpans.of(config, Span(first * config.hop, end * config.hop), frames)


def _windows(config: VocoderConfig, frames: Sequence[tuple[int, int, int]]) -> list[FilterWindow]:
    """Stretches (first, end, frames of the turn), of random mel and source."""
    drawn = torch.Generator().manual_seed(7)
    spans = [_spans(config, *one) for one in frames]
    return [
        FilterWindow(
            own,
            torch.randn(len(own.mel), config.mel_bins, generator=drawn),
            0.1 * torch.randn(len(own.samples), generator=drawn),
        )
        for own in spans
    ]


@pytest.mark.parametrize("config", [VocoderConfig(), NARROW, ODD, DEEP, SHORT], ids=lambda c: str(c.upsample_rates))
def test_a_bucket_holds_whatever_it_was_chosen_for(config: VocoderConfig) -> None:
    drawn = random.Random(0)
    with torch.device("meta"):
        filters = BucketedFilter(HiFT(config))
    for _ in range(20):
        windows = []
        for _ in range(drawn.randint(1, 12)):
            frames = drawn.randint(1, 120)
            first = drawn.choice((0, drawn.randrange(frames)))
            windows.append(_spans(config, first, drawn.choice((frames, drawn.randint(first + 1, frames))), frames))
        bucket = FrameBucket.of([len(window.wave) // config.hop for window in windows])
        sizes, rows = filters._sizes(bucket), filters._spans(bucket, windows)
        assert bucket.stretches > len(windows)
        for size, spans in zip(sizes, rows, strict=True):
            assert len(spans) == bucket.stretches
            assert all(len(span) >= 1 for span in spans) and sum(map(len, spans)) <= size
        for down, stage in zip(filters._vocoder.source_downs, sizes.stages, strict=True):
            assert down.stride * stage.lowered <= stage.spectrum


def test_lengths_that_differ_little_share_a_bucket() -> None:
    assert FrameBucket.of([86] * 3) == FrameBucket.of([80, 86, 90]) == FrameBucket(4, 384)
    assert FrameBucket.of([5]) == FrameBucket.of([20]) == FrameBucket(2, 32)
    assert FrameBucket(4, 384).filled([100, 90]) == [100, 90, 1, 193]


@pytest.mark.parametrize("frames", [50, 64, 86, 172])
def test_little_more_than_a_third_of_a_bucket_is_nobodys(frames: int) -> None:
    """Of the rows at the last stage's rate, where nearly all of the arithmetic is."""
    config = VocoderConfig()
    with torch.device("meta"):
        filters = BucketedFilter(HiFT(config))
    for turns in range(1, 65):
        spans = [_spans(config, 200, 200 + frames, 400 + frames)] * turns
        held = sum(map(len, spans_of(config, spans).stages[-1].joined))
        size = filters._sizes(FrameBucket.of([frames] * turns)).stages[-1].joined
        assert held >= 0.65 * size, f"{turns} turns of {frames} frames: {held} of {size} rows"


def _poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let buffers begin with NaN wherever a number may stand."""
    allocate_filter, allocate_source = BucketedFilter.allocate, BucketedSource.allocate

    def of_filter(self: BucketedFilter, bucket: FrameBucket) -> FilterInputs:
        inputs = allocate_filter(self, bucket)
        inputs.mel.fill_(torch.nan)
        inputs.samples.fill_(torch.nan)
        return inputs

    def of_source(self: BucketedSource, bucket: FrameBucket) -> SourceInputs:
        inputs = allocate_source(self, bucket)
        for values in (inputs.mel, inputs.turns, inputs.offsets):
            values.fill_(torch.nan)
        return inputs

    monkeypatch.setattr(BucketedFilter, "allocate", of_filter)
    monkeypatch.setattr(BucketedSource, "allocate", of_source)


@pytest.mark.parametrize("config", [NARROW, ODD, DEEP, SHORT], ids=["narrow", "odd", "deep", "short"])
def test_turns_in_buckets_equal_turns_without(config: VocoderConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    _poisoned(monkeypatch)
    vocoder = random_vocoder(config)
    plain, bucketed = ContinuousVocoder(vocoder), ContinuousVocoder(vocoder, passes=BucketedVocoder(vocoder))
    mels, sizes = [random_mel(config, frames, seed=frames) for frames in (3, 70, 41)], (2, 20, 9)
    states = [(plain.begin(seed), bucketed.begin(seed)) for seed in range(len(mels))]
    for step in range(1 + max(-(-mel.shape[1] // size) for mel, size in zip(mels, sizes, strict=True))):
        running = [i for i, (state, _) in enumerate(states) if not state.ended]
        pieces = [mels[i][:, step * sizes[i] : (step + 1) * sizes[i]] for i in running]
        expected, made = (
            run.run(
                [
                    VocoderJob(states[i][which], piece, piece[:, :0], last=not piece.shape[1])
                    for i, piece in zip(running, pieces, strict=True)
                ]
            )
            for which, run in enumerate((plain, bucketed))
        )
        for i, one, other in zip(running, expected, made, strict=True):
            assert_close(other.wave, one.wave, TOLERANCE["wave-in-pieces"], f"wave of turn {i} in step {step}")
            assert_close(other.after.source, one.after.source, TOLERANCE["wave-in-pieces"], "source that is kept")
            assert_close(other.after.source_state.turns, one.after.source_state.turns, 1e-6, "turns")
            states[i] = one.after, other.after


def test_a_stretch_is_the_same_bits_in_a_bucket_on_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_bucket, "_LEAST_FRAMES", 1)  # the interpreter takes its time
    _poisoned(monkeypatch)
    vocoder = random_vocoder(SHORT)
    windows = _windows(SHORT, [(0, 3, 40), (9, 11, 40), (38, 40, 40)])  # at a turn's begin, within, and at its end
    with torch.inference_mode():
        expected = VocoderPasses(vocoder).waves(windows)
    with interpreted("sm_90"):
        without, inside = VocoderPasses(vocoder).waves(windows), BucketedVocoder(vocoder).waves(windows)
    for on_torch, one, other in zip(expected, without, inside, strict=True):
        assert_close(other, on_torch, TOLERANCE["wave-from-mel"], "wave")
        assert torch.equal(other, one)


def test_a_source_in_a_bucket_on_the_kernels_equals_one_without_on_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_bucket, "_LEAST_FRAMES", 1)
    _poisoned(monkeypatch)
    vocoder = random_vocoder(SHORT)
    states = [SourceState.begin(seed, SHORT.harmonics + 1, torch.device("cpu")) for seed in (3, 2**40)]
    mel = random_mel(SHORT, 30).t()
    windows = [SourceWindow(states[0], mel[:14], Span(0, 9), 7), SourceWindow(states[1], mel[3:22], Span(5, 14), 9)]
    with torch.inference_mode():
        expected = VocoderPasses(vocoder).sources(windows)
    with interpreted():
        made = BucketedVocoder(vocoder).sources(windows)
    for (source, after), (other, after_too) in zip(expected, made, strict=True):
        assert_close(other, source, TOLERANCE["sine"], "source")
        assert_close(after_too.turns, after.turns, 1e-6, "turns")
        assert after_too.frames == after.frames


@pytest.mark.parametrize("config", [ODD, VocoderConfig()], ids=["odd", "official"])
def test_the_passes_read_nothing_back(config: VocoderConfig) -> None:
    with torch.device("meta"):
        vocoder = HiFT(config).eval().requires_grad_(False)
    bucket = FrameBucket.of([50, 86, 172])
    filters = BucketedFilter(vocoder)
    inputs = filters.allocate(bucket)
    with recorded() as launches:
        wave = filters.forward(inputs)
    assert len(wave) >= bucket.frames * config.hop
    assert sum(name.startswith("triton:_istft_head") for name in launches) == 1
    reach = Reach.of(config, len(vocoder.f0_predictor.condnet)).f0
    sources = BucketedSource(VocoderPasses(vocoder).f0_predictor, vocoder.m_source, reach)
    source_inputs = sources.allocate(bucket)
    with recorded() as launches:
        f0, source = sources.forward(source_inputs)
    assert f0.shape == (bucket.frames,) and source.shape == (bucket.frames * config.hop,)
    assert sum(name.startswith("triton:_harmonic_source") for name in launches) == 1
