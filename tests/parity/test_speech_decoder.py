"""The speech decoder against the official code's output, through the public face alone."""

from collections.abc import Callable

import numpy as np
import pytest
from compare import assert_close
from goldens import golden
from tolerances import TOLERANCE

from antiphon import SpeechDecoder

Golden = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def decoder() -> SpeechDecoder:
    return SpeechDecoder.load(golden("decoder"))


def _load(name: str) -> Golden:
    with np.load(golden(f"decoder/{name}.npz")) as arrays:
        return dict(arrays)


def _chunks_of(data: Golden) -> list[Golden]:
    count = len({name.split("/")[0] for name in data})
    return [
        {name.split("/")[1]: array for name, array in data.items() if name.startswith(f"chunk{i}/")}
        for i in range(count)
    ]


def _injected(chunks: list[Golden]) -> Callable[[int, np.ndarray], np.ndarray]:
    def source(index: int, f0: np.ndarray) -> np.ndarray:
        assert_close(f0, chunks[index]["f0"], TOLERANCE["f0"], f"F0 of chunk {index}, as the source gets it")
        return chunks[index]["source"]

    return source


@pytest.mark.parametrize("case", ["n1", "n10", "n26", "n50"])
def test_one_shot(decoder: SpeechDecoder, case: str) -> None:
    data = _load("oneshot")
    mel, source = data[f"{case}/mel"], data[f"{case}/source"]
    assert_close(decoder.mel(data[f"{case}/token"]), mel, TOLERANCE["mel"], "mel")
    assert_close(decoder.f0(mel), data[f"{case}/f0"], TOLERANCE["f0"], "F0")
    assert_close(decoder.vocode(mel, source), data[f"{case}/wave"], TOLERANCE["wave-from-mel"], "wave")


def test_one_shot_as_one_batch(decoder: SpeechDecoder) -> None:
    data, cases = _load("oneshot"), ["n26", "n1", "n50", "n10"]
    mels = decoder.mel_batch([data[f"{case}/token"] for case in cases])
    waves = decoder.vocode_batch([(data[f"{case}/mel"], data[f"{case}/source"]) for case in cases])
    for case, mel, wave in zip(cases, mels, waves, strict=True):
        assert_close(mel, data[f"{case}/mel"], TOLERANCE["mel"], f"mel of {case}")
        assert_close(wave, data[f"{case}/wave"], TOLERANCE["wave-from-mel"], f"wave of {case}")


def test_prompted(decoder: SpeechDecoder) -> None:
    data = _load("prompted")
    mel = decoder.mel(data["token"], data["prompt_token"], data["prompt_feat"].T, data["embedding"])
    assert_close(mel, data["mel"], TOLERANCE["mel"], "mel")


def test_vocoder_alone(decoder: SpeechDecoder) -> None:
    data = _load("hift_unit")
    assert_close(decoder.f0(data["mel"]), data["f0"], TOLERANCE["f0"], "F0")
    assert_close(decoder.vocode(data["mel"], data["source"]), data["wave"], TOLERANCE["wave-from-mel"], "wave")
    used = np.concatenate([data["cache_source"], data["source2_fresh"][256:]])
    assert_close(used, data["source2_used"], 0, "source with the cached part laid over it")
    assert_close(
        decoder.vocode(data["mel"], used), data["wave2"], TOLERANCE["wave-from-mel"], "wave with cached source"
    )


@pytest.mark.parametrize(
    ("name", "schedule"), [("stream_web_demo_short", (25, 50, 100, 150, 200)), ("stream_block", (10,))]
)
def test_stream_with_the_source_injected(decoder: SpeechDecoder, name: str, schedule: tuple[int, ...]) -> None:
    chunks = _chunks_of(_load(name))
    stream = decoder.stream(mode="reference", schedule=schedule, source=_injected(chunks))
    wave = [stream.push(np.concatenate([chunk["token"] for chunk in chunks])), stream.finish("stop")]
    assert len(stream.chunks) == len(chunks)
    for i, (made, chunk) in enumerate(zip(stream.chunks, chunks, strict=True)):
        assert made.tokens == chunk["token"].tolist()
        assert_close(made.flow_mel, chunk["flow_mel"], TOLERANCE["mel"], f"flow mel of chunk {i}")
        assert_close(made.mel, chunk["mel"], TOLERANCE["mel"], f"mel of chunk {i}")
        assert_close(made.f0, chunk["f0"], TOLERANCE["f0"], f"F0 of chunk {i}")
        assert_close(made.source, chunk["source"], 0, f"source of chunk {i}")
        assert_close(made.wave, chunk["wave"], TOLERANCE["wave-from-tokens"], f"wave of chunk {i}")
    expected = np.concatenate([chunk["wave"] for chunk in chunks])
    assert_close(np.concatenate(wave), expected, TOLERANCE["wave-from-tokens"], "the whole wave")


def test_long_stream(decoder: SpeechDecoder) -> None:
    chunks = _chunks_of(_load("stream_web_demo_long"))
    stream = decoder.stream(
        "reference", source=lambda _, f0: np.zeros(256 * len(f0))
    )  # no source is known, and no wave compared
    stream.push(np.concatenate([chunk["token"] for chunk in chunks]))
    stream.finish("stop")
    assert len(stream.chunks) == len(chunks)
    for i, (made, chunk) in enumerate(zip(stream.chunks, chunks, strict=True)):
        assert made.tokens == chunk["token"].tolist()
        assert_close(made.mel, chunk["mel"], TOLERANCE["mel"], f"mel of chunk {i}")
        assert_close(made.f0, chunk["f0"], TOLERANCE["f0"], f"F0 of chunk {i}")


def test_with_the_official_draws(decoder: SpeechDecoder) -> None:
    data = _load("asis_cpu_rng")
    stream = decoder.stream("reference")
    stream.push(data["token"])
    wave = stream.finish("stop")
    (made,) = stream.chunks
    assert_close(made.mel, data["mel"], TOLERANCE["mel"], "mel")
    assert_close(made.f0, data["f0"], TOLERANCE["f0"], "F0")
    assert_close(made.source, data["source"], TOLERANCE["sine"], "source")
    assert_close(decoder.vocode(made.mel, data["source"]), data["wave"], TOLERANCE["wave-from-tokens"], "wave")
    # From the tokens alone the wave follows F0's rounding through the phase: two official runs differ by 1.7e-4, so
    # what is streamed is compared with what its own mel and source make.
    assert np.array_equal(wave, decoder.vocode(made.mel, made.source))
