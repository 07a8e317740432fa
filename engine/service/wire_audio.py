"""Audio of one turn or clip, whole, and answers' waves as bytes: what the calls without a live caller need."""

import asyncio

import numpy as np

from antiphon.engine.hear.resample import StreamingResampler
from antiphon.engine.service.formats import WireFormat
from antiphon.engine.service.host import Caller, Host
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.engine.types import Float32Array
from antiphon.engine.units import OUTPUT_RATE


async def whole_audio(data: bytes, audio_format: WireFormat, host: Host, caller: Caller) -> Float32Array:
    """The samples of `data`, f32[n], counted on the caller's quota.

    Raises RefusalError (AUDIO_MALFORMED, AUDIO_TOO_LONG, AUDIO_QUOTA).
    """
    samples = audio_format.samples_in(data)
    longest = host.engine.config.max_turn_seconds
    if not samples:
        raise RefusalError(Reason.AUDIO_MALFORMED, "there is no audio; send at least one sample.")
    if samples > longest * audio_format.rate:
        raise RefusalError(
            Reason.AUDIO_TOO_LONG,
            f"{samples / audio_format.rate:.2f} s of audio; the limit is {longest:g} s. Send it in parts.",
        )
    await host.shared_quotas.take_audio(caller.key, samples, audio_format.rate)
    return await asyncio.to_thread(audio_format.decode, data)


class WaveOut:
    """One answer's wave at 22.05 kHz in, in any pieces; samples at the wire's rate out."""

    def __init__(self, audio_format: WireFormat) -> None:
        self._resampler = (
            None if audio_format.rate == OUTPUT_RATE else StreamingResampler(OUTPUT_RATE, audio_format.rate)
        )

    def push(self, samples: Float32Array) -> Float32Array:
        """Take more, f32[n]; what it settles."""
        return samples if self._resampler is None else self._resampler.push(samples)

    def finish(self) -> Float32Array:
        """What is left at the end."""
        return np.zeros(0, np.float32) if self._resampler is None else self._resampler.finish()
