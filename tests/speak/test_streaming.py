"""What must hold for a stream in reference mode, whatever it is fed."""

from collections.abc import Iterator

import numpy as np
import pytest
from compare import assert_close
from goldens import golden
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOLERANCE

from antiphon.engine.errors import InputError, TokenError
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.speak.stream import DecoderStream

SHORT = (6, 8, 10)  # a schedule that keeps these tests quick


@pytest.fixture(scope="module")
def decoder() -> SpeechDecoder:
    return SpeechDecoder.load(golden("decoder"))


def _tokens(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, 512, count).tolist()


def _hum(index: int, f0: np.ndarray) -> np.ndarray:
    """A source that does not depend on F0's rounding."""
    return 0.1 * np.sin(0.05 * (index + 1) * np.arange(256 * len(f0)))


def _speak_all(stream: DecoderStream, pieces: list[list[int]]) -> np.ndarray:
    return np.concatenate([*map(stream.push, pieces), stream.finish()])


@pytest.fixture(scope="module")
def whole(decoder: SpeechDecoder) -> np.ndarray:
    return _speak_all(decoder.stream("reference", schedule=SHORT), [_tokens(33)])


@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 33), max_size=6).map(sorted))
def test_fed_in_pieces_equals_fed_whole(decoder: SpeechDecoder, whole: np.ndarray, cuts: list[int]) -> None:
    tokens = _tokens(33)
    pieces = [tokens[a:b] for a, b in zip([0, *cuts], [*cuts, 33], strict=True)]
    assert np.array_equal(_speak_all(decoder.stream("reference", schedule=SHORT), pieces), whole)


def test_streams_run_together_equal_streams_alone(decoder: SpeechDecoder) -> None:
    fed = [_tokens(15, seed=1), _tokens(26, seed=2), _tokens(1, seed=3)]
    alone = [decoder.stream("reference", schedule=SHORT, source=_hum) for _ in fed]
    expected = [_speak_all(stream, [tokens]) for stream, tokens in zip(alone, fed, strict=True)]
    streams = [decoder.stream("reference", schedule=SHORT, source=_hum) for _ in fed]
    waves: list[list[np.ndarray]] = [[] for _ in fed]
    for stream, tokens in zip(streams, fed, strict=True):
        stream.feed(tokens)
        stream.end("stop")
    while due := [i for i, stream in enumerate(streams) if stream.next_job is not None]:
        for i, result in zip(due, decoder.run([job for i in due if (job := streams[i].next_job)]), strict=True):
            waves[i].append(streams[i].accept(result))
    for i, stream in enumerate(streams):
        assert_close(np.concatenate(waves[i]), expected[i], TOLERANCE["wave-from-tokens"], f"wave of stream {i}")
        for together, single in zip(stream.chunks, alone[i].chunks, strict=True):
            assert_close(together.mel, single.mel, TOLERANCE["mel"], f"mel of stream {i}")


def test_full_buffer_is_flushed_by_a_token_beyond_it_of_either_kind(decoder: SpeechDecoder) -> None:
    by_speech, by_text = decoder.stream("reference", schedule=SHORT), decoder.stream("reference", schedule=SHORT)
    assert by_speech.push(_tokens(6)).size == by_text.push(_tokens(6)).size == 0
    assert by_text.push([]).size == 0
    flushed = by_text.push_text()
    assert flushed.size > 0
    assert np.array_equal(by_speech.push([5]), flushed)
    assert by_text.push_text().size == 0


def test_a_length_stop_keeps_the_official_fault(decoder: SpeechDecoder) -> None:
    stopped, cut_off = decoder.stream("reference", schedule=SHORT), decoder.stream("reference", schedule=SHORT)
    assert np.array_equal(stopped.push(_tokens(10)), cut_off.push(_tokens(10)))
    assert stopped.finish("stop").size > 0
    assert cut_off.finish("length").size == 0
    assert len(cut_off.chunks) == 1


def test_a_stop_with_nothing_buffered_speaks_nothing(decoder: SpeechDecoder) -> None:
    silent = decoder.stream("reference")
    assert silent.finish().size == 0 and silent.chunks == []
    flushed = decoder.stream("reference", schedule=SHORT)
    flushed.push(_tokens(6))
    flushed.push_text()
    assert flushed.finish().size == 0


def test_a_turn_of_one_token(decoder: SpeechDecoder) -> None:
    stream = decoder.stream("reference")
    assert stream.push([7]).size == 0
    wave = stream.finish()
    assert wave.shape == (6 * 256,) and wave.dtype == np.float32
    assert_close(stream.chunks[0].mel, decoder.mel([7]), 0, "mel")


@pytest.mark.parametrize("schedule", [(1,), (5, 1), (2, 3, 1)])
def test_chunks_of_a_few_tokens_lose_nothing(decoder: SpeechDecoder, schedule: tuple[int, ...]) -> None:
    """A first chunk of up to five tokens is no longer than the overlap: what it leaves out, the next ones speak."""
    stream = decoder.stream("reference", schedule=schedule)
    wave = _speak_all(stream, [_tokens(12)])
    assert [len(chunk.tokens) for chunk in stream.chunks][0] == schedule[0]
    assert stream.chunks[0].wave.size == 0
    spoken = sum(chunk.wave.size > 0 for chunk in stream.chunks)
    skipped = max(0, spoken - 2)  # the official seam skips a frame at each join but the first
    assert wave.size // 256 == decoder.mel(_tokens(12)).shape[1] - skipped
    assert np.isfinite(wave).all()


def test_long_turns_need_not_keep_their_chunks(decoder: SpeechDecoder, whole: np.ndarray) -> None:
    stream = decoder.stream("reference", schedule=SHORT, keep_chunks=False)
    assert np.array_equal(_speak_all(stream, [_tokens(33)]), whole)
    assert stream.chunks == []


def _refusals(decoder: SpeechDecoder) -> Iterator[tuple[type[Exception], str, object]]:
    ended = decoder.stream("reference")
    ended.finish()
    mel = np.zeros((80, 2), dtype=np.float32)
    holed = mel.copy()
    holed[3, 1] = np.nan
    yield TokenError, r"tokens\[1\] is 512, .*expected 0 to 511", lambda: decoder.mel([1, 512])
    yield TokenError, r"tokens\[0\] is -1", lambda: decoder.stream("reference").push([-1])
    yield TokenError, "tokens is empty", lambda: decoder.mel([])
    yield TokenError, "tokens is empty", lambda: decoder.mel_batch([[1], []])
    yield TokenError, "flat list", lambda: decoder.mel([[1], [2, 3]])
    yield TokenError, "dtype float64", lambda: decoder.mel([1.5])
    yield InputError, r"prompt_mel has shape \[2, 80\]; expected \[80", lambda: decoder.mel([1], [2], mel.T)
    yield InputError, "prompt_mel has 30 frames", lambda: decoder.mel([1], [2], np.zeros((80, 30)))
    yield InputError, r"embedding has shape \[3\]; expected \[192\]", lambda: decoder.mel([1], embedding=np.zeros(3))
    yield InputError, r"mel has shape \[80, 0\]", lambda: decoder.f0(mel[:, :0])
    yield InputError, "1 of the 160 values of mel are not finite", lambda: decoder.f0(holed)
    yield InputError, r"source has shape \[511\]; expected \[512\]", lambda: decoder.vocode(mel, np.zeros(511))
    yield (
        InputError,
        "mode 'seamles' is unknown; expected one of 'seamless', 'reference'",
        lambda: decoder.stream(mode="seamles"),
    )
    yield InputError, "finish reason 'eos' is unknown", lambda: decoder.stream("reference").finish("eos")
    yield InputError, "the stream was finished", lambda: ended.push([1])
    yield InputError, "the stream was finished", ended.finish
    yield (
        InputError,
        r"source has shape \[3\]",
        lambda: _speak_all(decoder.stream("reference", source=lambda *_: np.zeros(3)), [[1]]),
    )


def test_refusals_say_what_was_given_and_expected(decoder: SpeechDecoder) -> None:
    for error, sentence, call in _refusals(decoder):
        with pytest.raises(error, match=sentence):
            call()  # type: ignore[operator]


def test_a_refused_push_takes_nothing_in(decoder: SpeechDecoder, whole: np.ndarray) -> None:
    stream = decoder.stream("reference", schedule=SHORT)
    with pytest.raises(TokenError):
        stream.push([1, 2, 600])
    assert np.array_equal(_speak_all(stream, [_tokens(33)]), whole)
