"""A turn fed in pieces gives the ids of the turn fed whole."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from goldens import golden
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_tokenizers import BLOCKS, CLIPS, clip, expected, tokenizer

from antiphon import SpeechTokenizer
from antiphon.engine.errors import AudioError, SessionClosedError
from antiphon.engine.hear.listener import Listener
from antiphon.engine.types import Float32Array


def _pieces(pcm: Float32Array, sizes: list[int]) -> list[Float32Array]:
    """`pcm` cut into pieces of these sizes, over and over."""
    cuts = list(itertools.takewhile(lambda cut: cut < pcm.size, itertools.accumulate(itertools.cycle(sizes))))
    return np.split(pcm, cuts)


def _speechlike(samples: int, loudness: list[float]) -> Float32Array:
    """Noise with a hum, louder and quieter in turn: what comes late decides the log-mel floor of what came early."""
    rng = np.random.default_rng(samples)
    envelope = np.repeat(loudness, -(-samples // len(loudness)))[:samples]
    return (envelope * (np.sin(np.arange(samples) * 0.11) + 0.2 * rng.standard_normal(samples))).astype(np.float32)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", CLIPS)
def test_every_clip_in_pieces(block: int, name: str) -> None:
    pcm, rate = clip(name)
    listener = Listener(tokenizer(block), rate)
    for piece in _pieces(pcm[0], [1, 4_000, 12_345, 160]):
        listener.push(piece)
        listener.encode()
    assert listener.finish() == expected(block)["clips"][name]["ids"]


@settings(max_examples=30, deadline=None)
@given(
    samples=st.one_of(st.integers(1, 40_000), st.sampled_from([6_400, 12_840, 25_600, 25_601])),
    loudness=st.lists(st.sampled_from([0.0, 1e-5, 1e-3, 0.1, 0.9]), min_size=1, max_size=6),
    sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 500),
    rate=st.sampled_from([16_000, 8_000, 22_050]),
)
def test_any_audio_in_any_pieces(samples: int, loudness: list[float], sizes: list[int], rate: int) -> None:
    pcm = _speechlike(samples, loudness)
    listener = Listener(tokenizer(20), rate)
    for piece in _pieces(pcm, sizes):
        listener.push(piece)
        listener.encode()
    assert listener.finish() == tokenizer(20).encode(pcm, rate)


def _guess(listener: Listener, block: int) -> int:
    """Encode what can be, then the open block as if the turn ended here; how many frames that took."""
    listener.encode()
    listener.caller_paused()
    request = listener.guess_request
    if request is None:
        return 0
    [result] = tokenizer(block).run([request])
    listener.accept_guess(request, result)
    return request.span.frames


@settings(max_examples=20, deadline=None)
@given(
    samples=st.integers(100, 40_000),
    loudness=st.lists(st.sampled_from([0.0, 1e-5, 1e-3, 0.1, 0.9]), min_size=1, max_size=6),
    sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 500),
    pauses=st.lists(st.booleans(), min_size=1, max_size=5),
    rate=st.sampled_from([16_000, 8_000, 22_050]),
)
def test_a_guess_is_the_turn_that_ends_there_and_no_guess_shows_later(
    samples: int, loudness: list[float], sizes: list[int], pauses: list[bool], rate: int
) -> None:
    pcm, heard = _speechlike(samples, loudness), 0
    listener = Listener(tokenizer(20), rate)
    for piece, pause in zip(_pieces(pcm, sizes), itertools.cycle(pauses), strict=False):
        listener.push(piece)
        heard += piece.size
        if pause and heard >= 100:  # before that, all of it may still be in the resampler
            _guess(listener, 20)
            assert listener.likely == tokenizer(20).encode(pcm[:heard], rate)
    if pauses[-1]:
        _guess(listener, 20)
        listener.commit()
        assert listener.is_finished and not listener.requests, "nothing is left to encode"
    assert listener.finish() == tokenizer(20).encode(pcm, rate)


def test_a_click_before_a_pause_leaves_the_open_block_alone_to_the_commit() -> None:
    pcm = _speechlike(30_000, [1e-5])
    pcm[27_000:27_080] = 0.9  # raises the floor of all blocks before it
    listener = Listener(tokenizer(20), 16_000)
    listener.push(pcm[:26_000])
    listener.encode()
    listener.push(pcm[26_000:28_000])
    assert _guess(listener, 20) == 88, "the four closed blocks anew, and what is open"
    assert _guess(listener, 20) == 8, "once more, but the closed ones are done"
    listener.push(pcm[28_000:])
    listener.commit()
    assert [(request.span.first, request.span.frames) for request in listener.requests] == [(80, 16)]
    assert listener.finish() == tokenizer(20).encode(pcm, 16_000)


def test_a_commit_does_not_wait_for_a_guess_under_way() -> None:
    pcm = _speechlike(20_000, [0.01, 0.9])
    listener = Listener(tokenizer(20), 16_000)
    listener.push(pcm[:8_000])
    listener.encode()
    listener.caller_paused()
    guess = listener.guess_request
    assert guess is not None and listener.guess_request is guess
    listener.push(pcm[8_000:])
    listener.commit()
    [asked] = listener.requests
    [late, result] = tokenizer(20).run([guess, asked])
    listener.accept_guess(guess, late)
    listener.accept(result)
    assert listener.is_finished and listener.finish() == tokenizer(20).encode(pcm, 16_000)


def test_a_loud_ending_changes_ids_already_streamed() -> None:
    pcm = _speechlike(32_000, [1e-4, 1e-4, 1e-4, 0.9])
    listener = Listener(tokenizer(20), 16_000)
    listener.push(pcm[:24_000])
    listener.encode()
    streamed = listener.provisional
    listener.push(pcm[24_000:])
    final = listener.finish()
    assert len(streamed) == 15
    assert streamed != final[:15]
    assert final == tokenizer(20).encode(pcm, 16_000)


@pytest.mark.parametrize("samples", [2_560, 480_000, 480_001, 482_560, 960_000])
def test_a_turn_at_once_asks_for_what_the_whole_clip_asks_for(samples: int) -> None:
    pcm = _speechlike(samples, [1e-5])
    pcm[-1] = 1.0  # in a second segment, the official padding to 30 s shows this click to two frames more
    listener = Listener(tokenizer(20), 16_000)
    listener.push(pcm)
    listener.commit()
    asked, expected = listener.requests, tokenizer(20).requests_of(pcm, 16_000)
    assert [request.heard_frames for request in asked] == [request.heard_frames for request in expected]
    for one, other in zip(asked, expected, strict=True):
        assert np.array_equal(one.features, other.features)


def test_closed_blocks_are_encoded_once_while_the_turn_goes_on() -> None:
    listener = Listener(tokenizer(20), 16_000)
    runs = []
    for piece in _pieces(_speechlike(16_000, [0.5]), [1_600]):
        listener.push(piece)
        runs += [(request.span.first, request.span.frames) for request in listener.requests]
        listener.encode()
    assert runs == [(0, 20), (20, 20)]


def test_requests_of_many_turns_in_one_pack() -> None:
    clips = [clip(name) for name in ("en_speech", "rate_8000", "noise", "long_30s_plus")]
    listeners = [Listener(tokenizer(20), rate) for _, rate in clips]
    for listener, (pcm, _) in zip(listeners, clips, strict=True):
        listener.push(pcm[:, :9_000])
    for last in (False, True):
        if last:
            for listener, (pcm, _) in zip(listeners, clips, strict=True):
                listener.push(pcm[:, 9_000:])
                listener.commit()
        requests = [(listener, request) for listener in listeners for request in listener.requests]
        results = tokenizer(20).run([request for _, request in requests])
        for (listener, _), result in zip(requests, results, strict=True):
            listener.accept(result)
    assert all(listener.is_finished for listener in listeners)
    assert [listener.finish() for listener in listeners] == [tokenizer(20).encode(pcm, rate) for pcm, rate in clips]


def test_a_request_stays_the_same_until_it_is_answered() -> None:
    pcm = _speechlike(20_000, [0.01, 0.9])
    listener = Listener(tokenizer(20), 16_000)
    listener.push(pcm[:8_000])
    [asked] = listener.requests
    listener.push(pcm[8_000:])
    listener.commit()
    assert listener.requests == (asked,)
    [result] = tokenizer(20).run([asked])
    listener.accept(result)
    assert not listener.is_finished
    assert listener.finish() == tokenizer(20).encode(pcm, 16_000)


def test_refuses_an_empty_turn_bad_samples_and_audio_after_the_end() -> None:
    listener = Listener(tokenizer(20), 8_000)
    with pytest.raises(AudioError, match="the turn holds no audio"):
        listener.finish()
    with pytest.raises(AudioError, match="1 samples that are NaN or infinite, the first at index 2"):
        listener.push([0.0, 0.1, float("nan")])
    listener.push([0.1])
    assert len(listener.finish()) == 1
    with pytest.raises(SessionClosedError, match="takes no more audio"):
        listener.push([0.1])


@pytest.mark.parametrize("block", [1, 10, 25, 50])
def test_blocks_that_cut_through_tokens_come_out_the_same_in_pieces(block: int, tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    shutil.copytree(golden("speech_tokenizer/block200"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantize_causal_block_size": block}))
    cut = SpeechTokenizer.load(folder)
    pcm, rate = clip("en_speech")
    listener = Listener(cut, rate)
    for piece in np.split(pcm[0], [7, 5_000, 20_000, 41_111]):
        listener.push(piece)
        listener.encode()
    assert listener.finish() == cut.encode(pcm, rate)
