"""Positions in the five time bases of a dialogue, and the conversions between them.

    input sample    the caller's audio, at the caller's own rate
    speech token    12.5 a second, heard or spoken
    mel frame       22,050 / 256 a second, of the answer
    wave sample     22,050 a second, of the answer
    wire sample     the answer as it is sent, at the wire's rate

A position counts from the start of its turn and is a whole number; each base has a type of its own, so that a type
checker refuses to mix them. Barge-in, playback reports, seams and resuming all ask here.
"""

from fractions import Fraction
from math import ceil, gcd
from typing import Final, NewType

import numpy as np

from antiphon.engine.units import (
    MEL_FRAME_RATE,
    MODEL_INPUT_RATE,
    OUTPUT_HOP,
    OUTPUT_RATE,
    SAMPLES_PER_SPEECH_TOKEN,
    SEGMENT_SAMPLES,
    SPEECH_TOKEN_RATE,
)

InputSample = NewType("InputSample", int)
SpeechToken = NewType("SpeechToken", int)
MelFrame = NewType("MelFrame", int)
WaveSample = NewType("WaveSample", int)
WireSample = NewType("WireSample", int)

_TOKENS_PER_FRAME: Final = SPEECH_TOKEN_RATE / MEL_FRAME_RATE  # 64 / 441


def resampled_length(samples: int, source_rate: int, target_rate: int) -> int:
    """How many samples the resampling filter makes of `samples`: rounded up, from a quotient held in float32.

    So does torchaudio (functional/functional.py, `_apply_sinc_resample_kernel`): two seconds and more of 44.1 kHz audio
    may come out one sample short of exact arithmetic.
    """
    common = gcd(source_rate, target_rate)
    source, target = source_rate // common, target_rate // common
    rounded_up = ceil(float(np.float32(target * samples / source)))
    return min(rounded_up, (samples // source + 1) * target)


def speech_tokens_heard(samples: InputSample, rate: int) -> SpeechToken:
    """How many speech tokens the tokenizer makes of `samples` of caller audio; each 30 s segment rounds up."""
    at_model_rate = resampled_length(samples, rate, MODEL_INPUT_RATE)
    whole, rest = divmod(at_model_rate, SEGMENT_SAMPLES)
    per_segment = SEGMENT_SAMPLES // SAMPLES_PER_SPEECH_TOKEN
    return SpeechToken(whole * per_segment - (-rest // SAMPLES_PER_SPEECH_TOKEN))


def mel_frames_of(tokens: SpeechToken | int) -> MelFrame:
    """How many mel frames the flow makes of `tokens` speech tokens.

    The official code divides and multiplies in float32, so that 3,392, 3,776 and 4,160 tokens come out one frame
    short of exact arithmetic (zai-org/GLM-4-Voice, cosyvoice/flow/flow.py); an exact engine does the same.
    """
    seconds = np.float32(tokens) / np.float32(float(SPEECH_TOKEN_RATE))
    return MelFrame(int(seconds * np.float32(OUTPUT_RATE) / np.float32(OUTPUT_HOP)))


def token_of_mel_frame(frame: MelFrame) -> SpeechToken:
    """The speech token a mel frame belongs to."""
    return SpeechToken(int(frame * _TOKENS_PER_FRAME))


def tokens_of_mel_frames(frames: range) -> list[int]:
    """The speech token of each mel frame, as `token_of_mel_frame`, quickly."""
    return [frame * _TOKENS_PER_FRAME.numerator // _TOKENS_PER_FRAME.denominator for frame in frames]


def first_mel_frame_of(token: SpeechToken | int) -> MelFrame:
    """The first mel frame that belongs to a speech token."""
    return MelFrame(ceil(token / _TOKENS_PER_FRAME))


def wave_samples_of(frames: MelFrame) -> WaveSample:
    """How many wave samples `frames` mel frames make."""
    return WaveSample(frames * OUTPUT_HOP)


def speech_tokens_played(played: WaveSample) -> SpeechToken:
    """How many speech tokens have been heard in full once `played` wave samples of the answer were played."""
    return SpeechToken(int(Fraction(played, OUTPUT_HOP) * _TOKENS_PER_FRAME))


def wave_seconds(position: WaveSample) -> Fraction:
    """The time of a wave sample, in seconds."""
    return Fraction(position, OUTPUT_RATE)


def wave_sample_at(seconds: float | Fraction) -> WaveSample:
    """The last wave sample that `seconds` of playback have reached."""
    return WaveSample(int(seconds * OUTPUT_RATE))


def wire_sample_of(position: WaveSample, wire_rate: int) -> WireSample:
    """Where a wave sample stands on the wire, rounded up: the samples sent once all before `position` are resampled."""
    return WireSample(resampled_length(position, OUTPUT_RATE, wire_rate))


def wave_sample_of(position: WireSample, wire_rate: int) -> WaveSample:
    """The wave sample a wire sample stands for, rounded down: what a playback report has surely covered."""
    return WaveSample(position * OUTPUT_RATE // wire_rate)
