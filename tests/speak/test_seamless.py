"""What must hold of a seamless turn: nothing is lost or said twice, and nothing of it hangs on how it was fed."""

import gc
import weakref
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import fields, is_dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from compare import assert_close
from flow_models import TINY_FLOW, tiny_flow
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOLERANCE
from torch.utils.flop_counter import FlopCounterMode
from vocoders import NARROW, SHORT, random_vocoder

from antiphon.engine.errors import InputError
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.speak.seamless_settings import SeamlessSettings
from antiphon.engine.speak.stream import DecoderStream
from antiphon.engine.speak.vocoder_stream import ContinuousVocoder
from antiphon.engine.timeline import mel_frames_of

QUICK = SeamlessSettings(first_chunk=4, schedule=(3, 6), prompt_tokens=5, history_tokens=8, least_chunk=2)
SEED = 2**40 + 5


@cache
def _decoder() -> SpeechDecoder:
    return SpeechDecoder(tiny_flow().requires_grad_(False), random_vocoder(NARROW))


def _tokens(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, TINY_FLOW.vocab_size, count).tolist()


def _stream(settings_: SeamlessSettings = QUICK, seed: int = SEED) -> DecoderStream:
    return _decoder().stream("seamless", settings=settings_, seed=seed)


def _spoken(stream: DecoderStream, pieces: Sequence[list[int]], reason: str = "stop") -> np.ndarray:
    return np.concatenate([*map(stream.push, pieces), stream.finish(reason)])


@cache
def _whole() -> np.ndarray:
    return _spoken(_stream(), [_tokens(24)])


@settings(deadline=None, max_examples=5)
@given(cuts=st.lists(st.integers(0, 24), max_size=6).map(sorted), text=st.integers(0, 6))
def test_any_partition_of_pushes_gives_the_same_wave(cuts: list[int], text: int) -> None:
    tokens, stream, waves = _tokens(24), _stream(), []
    for i, (first, end) in enumerate(pairwise([0, *cuts, 24])):
        waves += [stream.push(tokens[first:end]), stream.push_text()] if i == text else [stream.push(tokens[first:end])]
    assert np.array_equal(np.concatenate([*waves, stream.finish("length")]), _whole())


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize(
    "settings_",
    [
        SeamlessSettings(),
        QUICK,
        replace(QUICK, first_chunk=1, schedule=(1,)),
        replace(QUICK, prompt_tokens=0, held_back_frames=0, provisional=0, history_tokens=0),
        replace(QUICK, prompt_tokens=1_000, held_back_frames=30),
    ],
    ids=["default", "quick", "token by token", "nothing kept", "all kept"],
)
def test_every_end_speaks_all_that_was_said(settings_: SeamlessSettings, reason: str) -> None:
    for count in (1, 4, 10):
        stream = _stream(settings_)
        wave = _spoken(stream, [_tokens(count)], reason)
        assert len(wave) == mel_frames_of(count) * NARROW.hop and np.isfinite(wave).all()
        assert sum(chunk.mel.shape[1] for chunk in stream.chunks) == mel_frames_of(count)
        assert [token for chunk in stream.chunks for token in chunk.tokens] == _tokens(count)


def test_a_turn_of_text_alone_is_silent() -> None:
    stream = _stream()
    assert stream.push_text().size == 0 and stream.finish().size == 0
    assert stream.next_job is None and stream.chunks == []


def test_what_was_held_back_fades_linearly_into_its_next_version() -> None:
    stream, held = _stream(), QUICK.held_back_frames
    _spoken(stream, [_tokens(22)])
    assert [len(chunk.tokens) for chunk in stream.chunks] == [4, 3, 6, 6, 3]
    new = np.arange(1, held + 1) / (held + 1)
    for before, after in pairwise(stream.chunks):
        faded = (1 - new) * before.flow_mel[:, -held:] + new * after.flow_mel[:, :held]
        assert_close(after.mel[:, :held], faded, 1e-6, "faded frames")
        assert np.array_equal(after.mel[:, held:], after.flow_mel[:, held : after.mel.shape[1]])
        assert np.abs(before.flow_mel[:, -held:] - after.flow_mel[:, :held]).max() > 1e-3


def test_a_last_chunk_without_tokens_speaks_what_was_held_back() -> None:
    stream = _stream()
    assert 0 < stream.push(_tokens(4)).size < mel_frames_of(4) * NARROW.hop
    wave = stream.finish()
    assert wave.size and [chunk.tokens for chunk in stream.chunks] == [_tokens(4), []]
    assert np.array_equal(stream.chunks[1].mel, stream.chunks[0].flow_mel[:, -7:])


def test_the_wave_is_one_pass_of_the_final_mel() -> None:
    """So a frame that was made again is heard in its last version alone, though its first served as a look-ahead."""
    stream, exact = _stream(), _stream(replace(QUICK, provisional=0))
    wave = _spoken(stream, [_tokens(24)])
    mel = torch.from_numpy(np.concatenate([chunk.mel for chunk in stream.chunks], axis=1))
    vocoder = ContinuousVocoder(_decoder().vocoder)
    expected = vocoder.one_pass(mel, SEED)
    assert_close(wave, expected, TOLERANCE["wave-ahead-of-its-mel"], "wave")
    assert_close(
        _spoken(exact, [_tokens(24)]), expected, TOLERANCE["wave-in-pieces"], "wave without provisional frames"
    )
    first, held = stream.chunks[0], QUICK.held_back_frames
    mel[:, first.mel.shape[1] :][:, :held] = torch.from_numpy(first.flow_mel[:, -held:])
    astray = vocoder.one_pass(mel, SEED)
    assert (astray - expected).abs().max() > 100 * TOLERANCE["wave-ahead-of-its-mel"]


def _together(streams: Sequence[DecoderStream]) -> list[np.ndarray]:
    """What each speaks when the chunks that are due go in one pack."""
    waves: list[list[np.ndarray]] = [[np.zeros(0, np.float32)] for _ in streams]
    while due := [(i, job) for i, stream in enumerate(streams) if (job := stream.next_job) is not None]:
        results = _decoder().run([job for _, job in due])
        for (i, _), result in zip(due, results, strict=True):
            waves[i].append(streams[i].accept(result))
    return [np.concatenate(pieces) for pieces in waves]


def test_streams_of_any_mode_together_equal_each_alone() -> None:
    def streams() -> list[DecoderStream]:
        hum = _decoder().stream("reference", (4, 6), source=lambda _, f0: np.zeros(len(f0) * NARROW.hop))
        exact = replace(QUICK, provisional=0)
        made = [_stream(seed=1), _stream(seed=2), hum, _stream(exact, seed=3), _stream(seed=1)]
        for stream, count in zip(made, (9, 25, 17, 14, 1), strict=True):
            stream.feed(_tokens(count, seed=count))
            stream.end("stop")
        return made

    for i, (wave, alone) in enumerate(zip(_together(streams()), streams(), strict=True)):
        assert_close(wave, _together([alone])[0], TOLERANCE["wave-in-company"], f"wave of stream {i}")


def test_a_short_lead_makes_the_next_chunk_early() -> None:
    stream = _stream()
    stream.push(_tokens(4))
    stream.feed(_tokens(2))
    assert stream.next_job is None
    stream.lead = 0.05
    assert stream.next_job is not None and stream.next_job.tokens == tuple(_tokens(2))


def test_a_turns_wave_hangs_on_its_seed_alone() -> None:
    torch.manual_seed(1)
    again = _spoken(_stream(), [_tokens(24)])
    assert np.array_equal(again, _whole())
    assert not np.array_equal(_spoken(_stream(seed=SEED + 1), [_tokens(24)]), again)


def _tensors(value: object) -> Iterator[torch.Tensor]:
    """All that a state holds."""
    if isinstance(value, torch.Tensor):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))


class _Still(torch.nn.Module):
    """An estimator that leaves the noise as it is."""

    n_rates = 1

    def shifts(self, t: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(t), 1)

    def of_conditions(self, conditions: torch.Tensor, rate: object) -> torch.Tensor:
        return torch.zeros(len(conditions), 1)

    def forward(
        self, x: torch.Tensor, shifts: torch.Tensor, added: torch.Tensor, rates: Sequence[object]
    ) -> torch.Tensor:
        return torch.zeros(len(x), TINY_FLOW.mel_bins)


def test_five_minutes_neither_grow_nor_lose_a_frame() -> None:
    """Chunks of 64 tokens have 441 frames exactly. 3,392 tokens make a frame less than exact arithmetic says."""
    config, flow = replace(SHORT, mel_bins=TINY_FLOW.mel_bins), tiny_flow()
    flow.estimator = _Still()  # type: ignore[assignment]
    decoder = SpeechDecoder(flow.requires_grad_(False), random_vocoder(config))
    long = SeamlessSettings(first_chunk=64, schedule=(64,), prompt_tokens=24, history_tokens=96, provisional=0)
    stream = decoder.stream("seamless", settings=long, keep_chunks=False)
    rows, held, flops, samples = [], [], [], 0
    stream.feed(_tokens(3_392))
    stream.end("length")
    while (job := stream.next_job) is not None:
        [solving] = decoder.begin([job])
        rows.append(solving.frames)
        with FlopCounterMode(display=False) if job.index in (4, 50) else nullcontext() as counter:
            [result] = decoder.run([job])
        if counter is not None:
            flops.append(counter.get_total_flops())
        samples += len(stream.accept(result))
        held.append(sum(tensor.untyped_storage().nbytes() for tensor in _tensors(result.after)))
    assert samples == mel_frames_of(3_392) * config.hop == (3_392 * 441 // 64 - 1) * config.hop
    assert len(rows) == 53 and len(set(rows[1:-1])) == 1 and flops[0] == flops[1] and len(set(held[2:-1])) == 1


def test_a_turn_given_up_between_two_steps_leaves_nothing() -> None:
    decoder, stream = _decoder(), _stream()
    stream.push(_tokens(4))
    stream.feed(_tokens(3))
    job = stream.next_job
    assert job is not None
    solvings = decoder.advance(decoder.advance(decoder.begin([job])))
    left = [weakref.ref(one) for one in (stream, job, solvings[0], solvings[0].solve)]
    del stream, job, solvings
    gc.collect()
    assert [ref() for ref in left] == [None] * len(left)
    assert np.array_equal(_spoken(_stream(), [_tokens(24)]), _whole())


def test_refuses_what_cannot_be_set() -> None:
    for given_, sentence in (
        ({"first_chunk": 0}, "first_chunk is 0; expected a whole number of at least 1"),
        ({"prompt_tokens": -1}, "prompt_tokens is -1; expected a whole number of at least 0"),
        ({"schedule": (3, 0)}, r"schedule is \(3, 0\)"),
        ({"history_tokens": 1.5}, "history_tokens is 1.5"),
        ({"look_ahead": -1}, "look_ahead is -1"),
        ({"held_back_frames": 5}, "provisional is 7 and held_back_frames 5"),
    ):
        with pytest.raises(InputError, match=sentence):
            replace(SeamlessSettings(), **given_)  # type: ignore[arg-type]
    decoder = _decoder()
    with pytest.raises(InputError, match="seed is -1"):
        decoder.stream("seamless", seed=-1)
    with pytest.raises(InputError, match="look-ahead is 40 mel frames"):
        decoder.stream("seamless", settings=SeamlessSettings(look_ahead=40))
    with pytest.raises(InputError, match="source was given for a stream in seamless mode"):
        decoder.stream("seamless", source=lambda _, f0: f0)
    with pytest.raises(InputError, match="first_chunk was given for a stream in reference mode"):
        decoder.stream("reference", first_chunk=5)
