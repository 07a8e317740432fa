"""Audio on the wire: which encodings and rates there are, and bytes to samples and back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from antiphon.engine.hear.codec import (
    decode_a_law,
    decode_mu_law,
    encode_a_law,
    encode_mu_law,
    float_to_pcm16,
    pcm16_to_float,
)
from antiphon.engine.service.refusals import FieldViolation, InvalidRequestError, Reason, RefusalError
from antiphon.engine.types import Float32Array
from antiphon.engine.units import OUTPUT_RATE
from antiphon.v1 import audio_pb2

_LINEAR16_RATES: Final = (8_000, 16_000, 22_050, 24_000, 48_000)
_G711_RATE: Final = 8_000


@dataclass(frozen=True)
class _Codec:
    bytes_per_sample: int
    decode: Callable[[bytes], Float32Array]
    encode: Callable[[Float32Array], bytes]


_CODECS: Final = {
    audio_pb2.AUDIO_ENCODING_LINEAR16: _Codec(
        2,
        lambda data: pcm16_to_float(np.frombuffer(data, "<i2").astype(np.int16)),
        lambda pcm: float_to_pcm16(pcm).astype("<i2").tobytes(),
    ),
    audio_pb2.AUDIO_ENCODING_MULAW: _Codec(1, decode_mu_law, lambda pcm: encode_mu_law(pcm).tobytes()),
    audio_pb2.AUDIO_ENCODING_ALAW: _Codec(1, decode_a_law, lambda pcm: encode_a_law(pcm).tobytes()),
}


@dataclass(frozen=True)
class WireFormat:
    """One channel of audio as bytes."""

    encoding: audio_pb2.AudioEncoding
    rate: int  # Hz

    @property
    def bytes_per_sample(self) -> int:
        """1 or 2."""
        return _CODECS[self.encoding].bytes_per_sample

    def samples_in(self, data: bytes) -> int:
        """How many samples `data` holds. Raises RefusalError (AUDIO_MALFORMED) unless they are whole."""
        count, rest = divmod(len(data), self.bytes_per_sample)
        if rest:
            raise RefusalError(
                Reason.AUDIO_MALFORMED,
                f"{len(data)} bytes of audio are no whole samples of {self.bytes_per_sample} bytes each; "
                "cut the audio between samples.",
            )
        return count

    def decode(self, data: bytes) -> Float32Array:
        """f32[n] in [-1, 1]. Raises RefusalError (AUDIO_MALFORMED) unless `data` is whole samples."""
        self.samples_in(data)
        return _CODECS[self.encoding].decode(data)

    def encode(self, pcm: Float32Array) -> bytes:
        """`pcm`, f32[n] at this rate, as bytes; what is beyond full scale is clipped."""
        return _CODECS[self.encoding].encode(pcm)

    def to_message(self) -> audio_pb2.AudioFormat:
        """As the wire says it."""
        return audio_pb2.AudioFormat(encoding=self.encoding, sample_rate_hertz=self.rate, channel_count=1)


FORMATS: Final = (
    *(WireFormat(audio_pb2.AUDIO_ENCODING_LINEAR16, rate) for rate in _LINEAR16_RATES),
    WireFormat(audio_pb2.AUDIO_ENCODING_MULAW, _G711_RATE),
    WireFormat(audio_pb2.AUDIO_ENCODING_ALAW, _G711_RATE),
)
"""What a caller's audio and an answer's may be."""

NATIVE_FORMAT: Final = WireFormat(audio_pb2.AUDIO_ENCODING_LINEAR16, OUTPUT_RATE)
"""An answer's, where the caller asks for none."""


def format_violations(message: audio_pb2.AudioFormat, field: str) -> list[FieldViolation]:
    """What is wrong with an audio format; `field` is its path from the request."""
    wrong = []
    names = {encoding: audio_pb2.AudioEncoding.Name(encoding) for encoding in _CODECS}
    if message.encoding not in names:
        wrong.append(
            FieldViolation(f"{field}.encoding", f"{message.encoding}; expected one of {', '.join(names.values())}.")
        )
    else:
        rates = [known.rate for known in FORMATS if known.encoding == message.encoding]
        if message.sample_rate_hertz not in rates:
            wrong.append(
                FieldViolation(
                    f"{field}.sample_rate_hertz",
                    f"{message.sample_rate_hertz}; {names[message.encoding]} comes at {', '.join(map(str, rates))} Hz.",
                )
            )
    if message.channel_count not in (0, 1):
        wrong.append(FieldViolation(f"{field}.channel_count", f"{message.channel_count}; expected 1."))
    return wrong


def wire_format(message: audio_pb2.AudioFormat, field: str) -> WireFormat:
    """The format that `message` names. Raises InvalidRequestError."""
    if wrong := format_violations(message, field):
        raise InvalidRequestError(wrong)
    return WireFormat(message.encoding, message.sample_rate_hertz)
