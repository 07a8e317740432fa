"""SpeechTokenizerService: the two ends of the model by themselves."""

from collections.abc import AsyncIterator
from typing import Final

import numpy as np

from antiphon.engine.service.convert import duration
from antiphon.engine.service.endpoints import Call, Endpoint
from antiphon.engine.service.formats import NATIVE_FORMAT, WireFormat, wire_format
from antiphon.engine.service.host import Host
from antiphon.engine.service.refusals import FieldViolation, InvalidRequestError
from antiphon.engine.service.wire_audio import WaveOut, whole_audio
from antiphon.engine.service.wire_history import check_codec
from antiphon.engine.types import Float32Array
from antiphon.v1 import audio_pb2, speech_tokenizer_pb2
from antiphon.v1.speech_tokenizer_pb2 import (
    DetokenizeRequest,
    DetokenizeResponse,
    TokenizeRequest,
    TokenizeResponse,
)

_LONGEST_PIECE: Final = 1  # second of audio in one DetokenizeResponse


class TokenizerServicer:
    """Tokenize and Detokenize, through the engine's own thread and beside its dialogues."""

    service: Final[str] = speech_tokenizer_pb2.DESCRIPTOR.services_by_name["SpeechTokenizerService"].full_name

    def __init__(self, host: Host) -> None:
        self._host = host

    def endpoints(self) -> list[Endpoint]:
        """The service's methods."""
        limit = self._host.settings.max_unary_message_bytes
        return [
            Endpoint(self.service, "Tokenize", TokenizeRequest, self.tokenize, limit),
            Endpoint(self.service, "Detokenize", DetokenizeRequest, self.detokenize, limit),
        ]

    async def tokenize(self, call: Call[TokenizeRequest, TokenizeResponse]) -> None:
        """A clip's speech tokens."""
        host = self._host
        request = await call.read_one(host.settings.config_timeout)
        audio_format = wire_format(request.audio_format, "audio_format")
        with await host.shared_quotas.clip():
            samples = await whole_audio(request.audio, audio_format, host, call.caller)
            async with host.engine.encode(samples, audio_format.rate) as clip:
                ids = await clip.ids()
            await call.send(
                TokenizeResponse(
                    tokens=audio_pb2.SpeechTokens(ids=ids, codec_id=host.codec_id),
                    audio_duration=duration(samples.size / audio_format.rate),
                )
            )

    async def detokenize(self, call: Call[DetokenizeRequest, DetokenizeResponse]) -> None:
        """Speech tokens, spoken.

        Work and memory grow with the square of their number where the decoder works as the reference does, over all of
        a clip at once: `max_speech_tokens` bounds them.
        """
        host = self._host
        request = await call.read_one(host.settings.config_timeout)
        output = (
            wire_format(request.output_audio, "output_audio") if request.HasField("output_audio") else NATIVE_FORMAT
        )
        codes = self._codes(request.tokens)
        check_codec(request.tokens.codec_id, host)
        sent = 0
        with await host.shared_quotas.clip():
            async with host.engine.speak(codes) as clip:
                async for piece in _pieces(clip.waves(), output):
                    await call.send(DetokenizeResponse(audio=output.encode(piece), sample_offset=sent))
                    sent += piece.size

    def _codes(self, tokens: audio_pb2.SpeechTokens) -> list[int]:
        limit, n_codes = self._host.settings.max_speech_tokens, self._host.engine.lm.vocabulary.n_codes
        n_given = len(tokens.ids)
        if not 1 <= n_given <= limit:  # before anything looks at each of them
            raise InvalidRequestError([FieldViolation("tokens.ids", f"{n_given} of them; expected 1 to {limit}.")])
        codes = list(tokens.ids)
        outside = next((index for index, code in enumerate(codes) if not 0 <= code < n_codes), None)
        if outside is not None:
            description = f"{codes[outside]} at index {outside}; expected 0 to {n_codes - 1}."
            raise InvalidRequestError([FieldViolation("tokens.ids", description)])
        return codes


async def _pieces(waves: AsyncIterator[Float32Array], output: WireFormat) -> AsyncIterator[Float32Array]:
    """A wave at 22.05 kHz as samples at the wire's rate, f32[n], none longer than allowed."""
    longest = _LONGEST_PIECE * output.rate
    wave_out = WaveOut(output)
    async for wave in waves:
        for piece in _cut(wave_out.push(wave), longest):
            yield piece
    for piece in _cut(wave_out.finish(), longest):
        yield piece


def _cut(samples: Float32Array, longest: int) -> list[Float32Array]:
    return [piece for piece in np.split(samples, range(longest, samples.size, longest)) if piece.size]
