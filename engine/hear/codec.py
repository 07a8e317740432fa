"""Encodings of audio: 16-bit PCM, the two laws of G.711, and files.

Source: ITU-T G.711; the segment search of its reference implementation (ITU-T G.191), on 16-bit samples.
"""

import wave
from pathlib import Path
from typing import Final

import av
import av.error
import numpy as np
import numpy.typing as npt

from antiphon.engine.arrays import as_float32
from antiphon.engine.errors import AudioError
from antiphon.engine.types import ArrayLike, Float32Array

Int16Array = npt.NDArray[np.int16]
ByteArray = npt.NDArray[np.uint8]

INT16_SCALE: Final = 32_768.0
_MU_BIAS: Final = 132  # added to a 16-bit magnitude, so that segments are powers of two
_MU_CLIP: Final = 32_635
_A_TOGGLE: Final = 0x55  # A-law lines carry every other bit inverted


def pcm16_to_float(samples: Int16Array) -> Float32Array:
    """int16 to float32 in [-1, 1): divided by 32,768, exactly."""
    return np.divide(samples, np.float32(INT16_SCALE), dtype=np.float32)


def float_to_pcm16(pcm: ArrayLike) -> Int16Array:
    """float32 to int16: times 32,768, rounded to even, clipped."""
    scaled = np.rint(as_float32(pcm, "pcm") * np.float32(INT16_SCALE))
    return np.asarray(np.clip(scaled, -INT16_SCALE, INT16_SCALE - 1), dtype=np.int16)


def decode_mu_law(encoded: bytes | ByteArray) -> Float32Array:
    """G.711 µ-law bytes to float32."""
    return _MU_LAW[_as_bytes(encoded)]


def encode_mu_law(pcm: ArrayLike) -> ByteArray:
    """float32 to G.711 µ-law bytes."""
    linear = float_to_pcm16(pcm).astype(np.int32)
    magnitude = np.minimum(np.abs(linear), _MU_CLIP) + _MU_BIAS
    segment = _highest_bit(magnitude) - 7
    code = (segment << 4) | ((magnitude >> (segment + 3)) & 0x0F)
    return (~(code | np.where(linear < 0, 0x80, 0)) & 0xFF).astype(np.uint8)


def decode_a_law(encoded: bytes | ByteArray) -> Float32Array:
    """G.711 A-law bytes to float32."""
    return _A_LAW[_as_bytes(encoded)]


def encode_a_law(pcm: ArrayLike) -> ByteArray:
    """float32 to G.711 A-law bytes."""
    linear = float_to_pcm16(pcm).astype(np.int32)
    # One's complement, so that zero and -1 fall into the first steps of the two signs.
    magnitude = np.where(linear < 0, ~linear, linear) >> 4
    segment = np.maximum(_highest_bit(np.maximum(magnitude, 1)) - 3, 0)
    mantissa = magnitude >> np.maximum(segment - 1, 0) & 0x0F
    code = (segment << 4) | mantissa | np.where(linear < 0, 0, 0x80)
    return np.asarray(code ^ _A_TOGGLE, dtype=np.uint8)


def _mu_law_levels(codes: npt.NDArray[np.int32]) -> Int16Array:
    code = ~codes & 0xFF
    magnitude = (((code & 0x0F) << 3) + _MU_BIAS << (code >> 4 & 7)) - _MU_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_law_levels(codes: npt.NDArray[np.int32]) -> Int16Array:
    code = codes ^ _A_TOGGLE
    segment = code >> 4 & 7
    step = ((code & 0x0F) << 4) + 8
    magnitude = np.where(segment == 0, step, (step + 256) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _as_bytes(encoded: bytes | ByteArray) -> ByteArray:
    return np.frombuffer(encoded, np.uint8) if isinstance(encoded, bytes) else encoded


def _highest_bit(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Position of the highest set bit of positive values."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int32) - 1


# All 256 levels: a call decodes fifty small messages a second.
_MU_LAW: Final = pcm16_to_float(_mu_law_levels(np.arange(256, dtype=np.int32)))
_A_LAW: Final = pcm16_to_float(_a_law_levels(np.arange(256, dtype=np.int32)))


def read_audio(path: str | Path) -> tuple[Float32Array, int]:
    """The first audio stream of a file: f32[channels, samples] and its rate in Hz.

    Integer samples are divided by half their range, so 16-bit PCM comes out as int16 / 32,768. Raises AudioError when
    the file is missing, no audio, or empty.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path} is not a file; expected an audio file such as .wav, .flac, .mp3 or .ogg.")
    try:
        with av.open(str(path), mode="r") as container:
            if not container.streams.audio:
                raise AudioError(f"{path} has no audio stream.")
            stream = container.streams.audio[0]
            rate = stream.rate
            pieces = [_samples_of(frame) for frame in container.decode(stream)]
    except av.error.FFmpegError as error:
        raise AudioError(f"{path} cannot be read as audio: {error.strerror}.") from error
    if sum(piece.shape[1] for piece in pieces) == 0:
        raise AudioError(f"{path} holds no samples.")
    return np.concatenate(pieces, axis=1), int(rate)


def _samples_of(frame: av.AudioFrame) -> Float32Array:
    """f32[channels, samples] of one decoded frame."""
    values: npt.NDArray[np.generic] = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - np.float32(128)) / np.float32(128)
    half_range = {"int16": 2.0**15, "int32": 2.0**31}.get(values.dtype.name, 1.0)
    return np.asarray(values.astype(np.float64) / half_range, dtype=np.float32)


def write_wav(path: str | Path, pcm: ArrayLike, rate: int) -> None:
    """Write f32[samples] or f32[channels, samples] as a 16-bit wav file. Raises AudioError where that fails."""
    channels = np.atleast_2d(as_float32(pcm, "pcm"))
    try:
        with Path(path).open("wb") as target, wave.open(target, "wb") as file:
            file.setnchannels(channels.shape[0])
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(float_to_pcm16(channels.T).astype("<i2").tobytes())
    except OSError as error:
        raise AudioError(f"{path} cannot be written: {error.strerror}.") from error
