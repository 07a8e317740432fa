"""Encodings of audio and files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from antiphon.engine.errors import AudioError
from antiphon.engine.hear.codec import (
    decode_a_law,
    decode_mu_law,
    encode_a_law,
    encode_mu_law,
    float_to_pcm16,
    pcm16_to_float,
    read_audio,
    write_wav,
)
from antiphon.engine.types import Float32Array

ALL_BYTES = bytes(range(256))
ALL_PCM16 = np.arange(-32_768, 32_768).astype(np.int16)

Decode = Callable[[bytes], Float32Array]
Encode = Callable[[Float32Array], npt.NDArray[np.uint8]]


@pytest.mark.parametrize(
    ("decode", "levels"),
    [
        (decode_mu_law, {0x00: -32_124, 0x80: 32_124, 0xFF: 0, 0x7F: 0, 0xFE: 8, 0xEF: 132, 0xF0: 120, 0x8F: 16_764}),
        (decode_a_law, {0x2A: -32_256, 0xAA: 32_256, 0xD5: 8, 0x55: -8, 0xD4: 24, 0xC5: 264, 0xDA: 248, 0xBA: 16_128}),
    ],
)
def test_levels_of_g711(decode: Decode, levels: dict[int, int]) -> None:
    assert {code: int(decode(bytes([code]))[0] * 32_768) for code in levels} == levels


@pytest.mark.parametrize(("encode", "decode"), [(encode_mu_law, decode_mu_law), (encode_a_law, decode_a_law)])
def test_every_code_survives(encode: Encode, decode: Decode) -> None:
    levels = decode(ALL_BYTES)
    assert np.array_equal(decode(encode(levels).tobytes()), levels)


@pytest.mark.parametrize(("encode", "decode"), [(encode_mu_law, decode_mu_law), (encode_a_law, decode_a_law)])
def test_louder_samples_never_get_quieter_codes(encode: Encode, decode: Decode) -> None:
    levels = decode(encode(pcm16_to_float(ALL_PCM16)).tobytes())
    assert (np.diff(levels) >= 0).all()


def test_pcm16_survives_float32() -> None:
    assert np.array_equal(float_to_pcm16(pcm16_to_float(ALL_PCM16)), ALL_PCM16)


def test_float_to_pcm16_rounds_and_clips() -> None:
    assert float_to_pcm16([1.5, -1.5, 0.6 / 32_768, -0.6 / 32_768]).tolist() == [32_767, -32_768, 1, -1]


def test_a_wav_survives(tmp_path: Path) -> None:
    pcm = pcm16_to_float(ALL_PCM16.reshape(2, -1))
    write_wav(tmp_path / "a.wav", pcm, 22_050)
    samples, rate = read_audio(tmp_path / "a.wav")
    assert rate == 22_050 and samples.dtype == np.float32
    assert np.array_equal(samples, pcm)


def test_refuses_what_is_no_audio(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello")
    write_wav(tmp_path / "empty.wav", [], 8_000)
    with pytest.raises(AudioError, match="text.wav cannot be read as audio"):
        read_audio(tmp_path / "text.wav")
    with pytest.raises(AudioError, match="empty.wav holds no samples"):
        read_audio(tmp_path / "empty.wav")
    with pytest.raises(AudioError, match="gone.wav is not a file"):
        read_audio(tmp_path / "gone.wav")
