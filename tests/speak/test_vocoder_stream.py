"""A turn's wave made piece by piece equals one pass, whatever the pieces, the company and the turn's length."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from compare import assert_close
from goldens import golden
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOLERANCE
from torch.utils.flop_counter import FlopCounterMode
from vocoders import DEEP, NARROW, ODD, SHORT, golden_vocoder, random_mel, random_vocoder

from antiphon.engine.errors import InputError
from antiphon.engine.speak.continuous_source import SourceState, SourceStretch, make_sources
from antiphon.engine.speak.packing import Packing
from antiphon.engine.speak.reach import FilterSpans, Reach, Span
from antiphon.engine.speak.source import HarmonicSource
from antiphon.engine.speak.vocoder_stream import ContinuousVocoder, VocoderJob, VocoderState, VocoderStream
from antiphon.engine.speak.vocoder_window import FilterWindow, filter_windows
from antiphon.engine.weights.configs import VocoderConfig

SEED = 2**40 + 5


@cache
def _continuous(config: VocoderConfig) -> ContinuousVocoder:
    return ContinuousVocoder(random_vocoder(config))


def _pieces(mel: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
    """`mel` cut into the sizes, the last of them repeated."""
    pieces = list(mel.split([*sizes, mel.shape[1] - sum(sizes)], dim=1)) if sum(sizes) <= mel.shape[1] else [mel]
    return [*pieces[:-1], *pieces[-1].split(max(sizes[-1], 1), dim=1)]


def _garbage(mel: torch.Tensor, frames: int = 20) -> torch.Tensor:
    """Provisional frames that have nothing to do with the turn."""
    return torch.full((mel.shape[0], frames), 3.0)


def _speak(vocoder: ContinuousVocoder, pieces: Sequence[torch.Tensor], seed: int = SEED) -> list[torch.Tensor]:
    """The wave of each piece, and of the end."""
    state, waves = vocoder.begin(seed), []
    for piece in pieces:
        [result] = vocoder.run([VocoderJob(state, piece, _garbage(piece))])
        waves.append(result.wave)
        state = result.after
    [result] = vocoder.run([VocoderJob(state, pieces[0][:, :0], _garbage(pieces[0], 0), last=True)])
    return [*waves, result.wave]


@pytest.mark.parametrize("config", [NARROW, ODD, DEEP], ids=["narrow", "odd", "deep"])
@settings(deadline=None, max_examples=12)
@given(st.integers(1, 90), st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_any_pieces_equal_one_pass(config: VocoderConfig, frames: int, sizes: list[int]) -> None:
    vocoder, mel = _continuous(config), random_mel(config, frames)
    joined = torch.cat(_speak(vocoder, _pieces(mel, sizes)))
    assert_close(joined, vocoder.one_pass(mel, SEED), TOLERANCE["wave-in-pieces"], "wave")


@pytest.mark.parametrize("size", [1, 69, 172])
def test_the_golden_vocoder_in_pieces_of_one_frame_and_of_10_and_25_tokens(size: int) -> None:
    mel = torch.from_numpy(np.load(golden("decoder/oneshot.npz"))["n50/mel"])
    mel = mel[:, :60] if size == 1 else mel
    vocoder = ContinuousVocoder(golden_vocoder())
    assert vocoder.exact and vocoder.look_ahead == 19
    waves = _speak(vocoder, mel.split(size, dim=1))
    assert_close(torch.cat(waves), vocoder.one_pass(mel, SEED), TOLERANCE["wave-in-pieces"], "wave")
    ready = [max(min(size * (i + 1), mel.shape[1]) - vocoder.look_ahead, 0) * 256 for i in range(len(waves) - 1)]
    assert np.cumsum([len(wave) for wave in waves[:-1]]).tolist() == ready


@pytest.mark.parametrize("config", [NARROW, ODD, DEEP, SHORT], ids=["narrow", "odd", "deep", "short"])
def test_reach_is_that_of_the_gradient(config: VocoderConfig) -> None:
    vocoder = random_vocoder(replace(config, audio_limit=1e9)).double()  # a clipped sample has no gradient
    reach = Reach.of(config, 5)
    frames, at = 60, 30
    mel = random_mel(config, frames).t().double().requires_grad_()
    source = random_mel(config, frames * config.hop, seed=1)[0].double().requires_grad_()
    cu_seqlens = Packing.of([frames], torch.device("cpu")).cu_seqlens

    def heard(values: torch.Tensor, of: torch.Tensor) -> tuple[int, int]:
        """Frames before and after frame `at` of which its `values` hang on."""
        [gradient] = torch.autograd.grad(values.view(frames, -1)[at].sum(), of, retain_graph=True)
        found = gradient.view(frames, -1).any(1).nonzero()[:, 0]
        return at - int(found[0]), int(found[-1]) - at

    wave = vocoder(mel, source, cu_seqlens)
    assert heard(wave, mel) == (reach.mel_before, reach.mel_after)
    assert heard(wave, source) == (reach.source_before, reach.source_after)
    assert heard(vocoder.f0_predictor(mel, cu_seqlens), mel) == (reach.f0, reach.f0)


@pytest.mark.parametrize("config", [NARROW, ODD, DEEP, SHORT], ids=["narrow", "odd", "deep", "short"])
@settings(deadline=None, max_examples=10)
@given(st.data())
def test_a_stretch_is_made_of_its_spans_alone(config: VocoderConfig, data: st.DataObject) -> None:
    """In float64, where the faintest taps at a stretch's ends still tell."""
    frames = data.draw(st.integers(1, 50))
    first = data.draw(st.integers(0, frames - 1))
    stretch = Span(first * config.hop, data.draw(st.integers(first + 1, frames)) * config.hop)
    vocoder = random_vocoder(config).double()
    mel = random_mel(config, frames).t().double()
    source = random_mel(config, frames * config.hop, seed=1)[0].double()
    spans = FilterSpans.of(config, stretch, frames)
    window = FilterWindow(spans, mel[spans.mel.first : spans.mel.end], source[spans.samples.first : spans.samples.end])
    [wave] = filter_windows(vocoder, [window])
    whole = vocoder(mel, source, Packing.of([frames], torch.device("cpu")).cu_seqlens)
    assert_close(wave, whole[stretch.first : stretch.end], 1e-13, "wave")


def test_turns_together_equal_each_alone() -> None:
    vocoder = _continuous(ODD)
    mels = [random_mel(ODD, frames, seed=frames) for frames in (3, 80, 41, 60)]
    sizes = (1, 25, 7, 60)
    states, waves = [vocoder.begin(seed) for seed in range(4)], [[torch.zeros(0)] for _ in mels]
    for step in range(1 + max(-(-mel.shape[1] // size) for mel, size in zip(mels, sizes, strict=True))):
        running = [i for i, state in enumerate(states) if not state.ended]
        jobs = []
        for i in running:
            piece = mels[i][:, step * sizes[i] : (step + 1) * sizes[i]]
            jobs.append(VocoderJob(states[i], piece, _garbage(piece), last=not piece.shape[1]))
        for i, result in zip(running, vocoder.run(jobs), strict=True):
            states[i] = result.after
            waves[i].append(result.wave)
    for seed, (mel, size, made) in enumerate(zip(mels, sizes, waves, strict=True)):
        alone = torch.cat(_speak(vocoder, mel.split(size, dim=1), seed))
        assert_close(torch.cat(made), alone, TOLERANCE["vocoder-batch"], f"turn {seed}")


def test_five_minutes_neither_drift_nor_grow() -> None:
    vocoder = _continuous(SHORT)
    mel = random_mel(SHORT, 25_840)
    pieces = mel.split(340, dim=1)
    state, waves, kept, flops = vocoder.begin(SEED), [], [], []
    for piece in pieces[:-1]:
        with FlopCounterMode(display=False) if len(waves) in (1, 70) else nullcontext() as counter:
            [result] = vocoder.run([VocoderJob(state, piece, piece[:, :0])])
        if counter:
            flops.append(counter.get_total_flops())
        state = result.after
        waves.append(result.wave)
        kept.append((len(state.mel), len(state.source)))
    [result] = vocoder.run([VocoderJob(state, pieces[-1], pieces[-1][:, :0], last=True)])
    assert_close(
        torch.cat([*waves, result.wave]), vocoder.one_pass(mel, SEED), TOLERANCE["wave-in-pieces"], "five minutes"
    )
    assert len(set(kept)) == 1 and flops[0] == flops[1]
    assert kept[0][0] <= vocoder.look_ahead + vocoder.reach.mel_before + vocoder.reach.f0


def test_a_source_taken_up_late_keeps_its_phase() -> None:
    module = HarmonicSource(VocoderConfig(harmonics=0))
    state, f0 = SourceState.begin(SEED, 1, torch.device("cpu")), torch.full((3_000,), 150.0)
    with torch.inference_mode():
        [(whole, _)] = make_sources(module, [SourceStretch(state, f0, 3_000)])
        [(_, later)] = make_sources(module, [SourceStretch(state, f0[:2_990], 2_985)])
        [(end, _)] = make_sources(module, [SourceStretch(later, f0[2_985:], 15)])
    assert_close(end, whole[2_985 * 256 :], 1e-6, "source")


def test_provisional_frames_are_heard_only_where_they_may_be() -> None:
    exact = _continuous(ODD)
    vocoder = ContinuousVocoder(exact.vocoder, provisional=exact.look_ahead - exact.reach.f0)
    mel, hop = random_mel(ODD, 150), ODD.hop
    expected = exact.one_pass(mel, SEED)
    waves = _speak(vocoder, mel.split(50, dim=1))
    assert [len(wave) // hop for wave in waves[:2]] == [50 - vocoder.final_look_ahead, 50]
    error = (torch.cat(waves) - expected).abs().view(150, hop).amax(1)
    joins = torch.tensor([50, 100]) - vocoder.final_look_ahead
    may_differ = torch.zeros(150, dtype=torch.bool)
    for join in joins.tolist():
        may_differ[join - vocoder.provisional : join] = True
    may_differ[150 - exact.look_ahead : 150 - vocoder.final_look_ahead] = True  # before the end was known
    assert error[may_differ].max() > TOLERANCE["wave-in-pieces"]
    assert_close(error[~may_differ], torch.zeros(int((~may_differ).sum())), TOLERANCE["wave-in-pieces"], "elsewhere")


def test_provisional_frames_that_come_true_leave_no_trace() -> None:
    exact = _continuous(ODD)
    vocoder = ContinuousVocoder(exact.vocoder, provisional=4)
    mel = random_mel(ODD, 100)
    stream = VocoderStream(vocoder, SEED)
    waves = [stream.push(mel[:, at : at + 20], mel[:, at + 20 : at + 24]) for at in range(0, 100, 20)]
    # The last piece had nothing after it: it waits as in an exact turn until the end is known.
    assert stream.state.waiting == vocoder.look_ahead
    joined = np.concatenate([*waves, stream.finish()])
    assert_close(joined, exact.one_pass(mel, SEED), TOLERANCE["wave-in-pieces"], "wave")


def test_a_shorter_look_ahead_is_sooner_and_differs_a_little() -> None:
    vocoder, exact = (
        ContinuousVocoder(golden_vocoder(), look_ahead=14, provisional=7),
        ContinuousVocoder(golden_vocoder()),
    )
    mel = torch.from_numpy(np.load(golden("decoder/oneshot.npz"))["n26/mel"])
    stream = VocoderStream(vocoder, SEED)
    first = stream.push(mel[:, :69], mel[:, 69:76])
    assert len(first) == (69 - 7) * 256
    wave = np.concatenate([first, stream.finish(mel[:, 69:])])
    assert not vocoder.exact
    assert_close(wave, exact.one_pass(mel, SEED), 1e-4, "wave")


def test_a_turn_goes_on_from_any_state_it_had() -> None:
    vocoder, mel = _continuous(ODD), random_mel(ODD, 60)
    stream = VocoderStream(vocoder, SEED)
    first = stream.push(mel[:, :40])
    before: VocoderState = stream.state
    astray = stream.push(_garbage(mel))
    stream.state = before
    again = np.concatenate([first, stream.push(mel[:, 40:]), stream.finish()])
    assert len(astray)
    assert_close(again, vocoder.one_pass(mel, SEED), TOLERANCE["wave-in-pieces"], "wave")


def test_a_turns_wave_hangs_on_its_seed_alone() -> None:
    vocoder, mel = _continuous(ODD), random_mel(ODD, 30)
    torch.manual_seed(1)
    first = vocoder.one_pass(mel, SEED)
    torch.manual_seed(2)
    assert torch.equal(vocoder.one_pass(mel, SEED), first)
    assert not torch.equal(vocoder.one_pass(mel, SEED + 1), first)


def test_the_filter_may_run_in_bfloat16() -> None:
    vocoder = random_vocoder(NARROW)
    vocoder.cast_filter(torch.bfloat16)
    continuous, mel = ContinuousVocoder(vocoder), random_mel(NARROW, 50)
    wave = torch.cat(_speak(continuous, mel.split(20, dim=1)))
    expected = continuous.one_pass(mel, SEED)
    assert wave.dtype == torch.float32
    assert_close(wave, expected, 0.05 * float(expected.abs().max()), "wave")


def test_a_turn_without_frames_is_silent() -> None:
    stream = VocoderStream(_continuous(ODD), SEED)
    assert len(stream.push(torch.zeros(5, 0))) == 0 and len(stream.finish()) == 0


def test_refuses_what_cannot_be_spoken() -> None:
    vocoder = _continuous(ODD)
    stream = VocoderStream(vocoder, SEED)
    with pytest.raises(InputError, match=r"mel has shape \[4, 2\]; expected \[5, frames\]"):
        stream.push(torch.zeros(4, 2))
    with pytest.raises(InputError, match="1 of the 5 values of provisional mel are not finite"):
        stream.push(torch.zeros(5, 2), torch.tensor([[0.0], [0], [np.nan], [0], [0]]))
    assert stream.state.frames == 0
    stream.finish()
    with pytest.raises(InputError, match="the turn's wave has ended"):
        stream.push(torch.zeros(5, 2))
    with pytest.raises(InputError, match="seed is -1; expected a whole number of 0 to"):
        vocoder.begin(-1)
    for settings_ in (
        {"provisional": -1},
        {"look_ahead": 4},
        {"look_ahead": 1_000},
        {"look_ahead": 8, "provisional": 4},
    ):
        with pytest.raises(InputError, match="look-ahead is"):
            ContinuousVocoder(vocoder.vocoder, **settings_)
