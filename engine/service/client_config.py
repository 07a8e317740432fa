"""What a client asks for, as data, and as the wire says it. `None` leaves the choice to the server."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from google.protobuf.duration_pb2 import Duration

from antiphon.engine.errors import AudioError, InputError
from antiphon.engine.hear.audio import first_channel
from antiphon.engine.hear.codec import (
    decode_a_law,
    decode_mu_law,
    encode_a_law,
    encode_mu_law,
    float_to_pcm16,
    pcm16_to_float,
)
from antiphon.engine.history import HistoryItem, Role
from antiphon.engine.types import ArrayLike, Float32Array
from antiphon.v1 import audio_pb2, session_pb2


class AudioEncoding(IntEnum):
    """How samples are laid out in bytes."""

    LINEAR16 = audio_pb2.AUDIO_ENCODING_LINEAR16  # signed, little-endian
    MULAW = audio_pb2.AUDIO_ENCODING_MULAW  # G.711, at 8 kHz
    ALAW = audio_pb2.AUDIO_ENCODING_ALAW  # G.711, at 8 kHz


@dataclass(frozen=True)
class AudioFormat:
    """What a stream of audio bytes is: mono, raw, without a header."""

    encoding: AudioEncoding
    rate: int  # Hz

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return 2 if self.encoding is AudioEncoding.LINEAR16 else 1

    def encode(self, audio: ArrayLike | bytes) -> bytes:
        """Bytes of `audio`: f32[n] in [-1, 1] or int16[n] at this rate; bytes are taken to be in this format already.

        Raises AudioError when they are not whole samples, or the samples are no audio.
        """
        if isinstance(audio, (bytes, bytearray, memoryview)):
            data = bytes(audio)
            if len(data) % self.sample_bytes:
                raise AudioError(f"{len(data)} bytes are no whole number of samples of {self.sample_bytes} bytes.")
            return data
        if isinstance(audio, np.ndarray) and audio.dtype == np.int16:
            audio = pcm16_to_float(audio.view(np.int16))
        samples = first_channel(audio, "audio")
        match self.encoding:
            case AudioEncoding.LINEAR16:
                return float_to_pcm16(samples).astype("<i2").tobytes()
            case AudioEncoding.MULAW:
                return encode_mu_law(samples).tobytes()
            case AudioEncoding.ALAW:
                return encode_a_law(samples).tobytes()

    def decode(self, data: bytes) -> Float32Array:
        """f32[n] in [-1, 1] of whole samples in this format."""
        match self.encoding:
            case AudioEncoding.LINEAR16:
                return pcm16_to_float(np.frombuffer(data, "<i2").astype(np.int16))
            case AudioEncoding.MULAW:
                return decode_mu_law(data)
            case AudioEncoding.ALAW:
                return decode_a_law(data)


MULAW_8K: Final = AudioFormat(AudioEncoding.MULAW, 8_000)
ALAW_8K: Final = AudioFormat(AudioEncoding.ALAW, 8_000)


def linear16(rate: int) -> AudioFormat:
    """16-bit PCM at `rate` Hz: 8,000, 16,000, 22,050, 24,000 or 48,000."""
    return AudioFormat(AudioEncoding.LINEAR16, rate)


@dataclass(frozen=True)
class TurnDetection:
    """The server decides, by the caller's voice, when a turn is over (SERVER_VAD). Lengths are in seconds."""

    threshold: float | None = None  # probability of speech from which on a frame is voiced, 0.01 to 1
    prefix_padding: float | None = None  # audio before the first voiced sample that belongs to the turn
    end_silence: float | None = None  # a pause this long ends the turn
    min_barge_in_speech: float | None = None  # voice that interrupts an answer; 3,600: nothing does
    no_barge_in_window: float | None = None  # nothing interrupts this early in an answer's playback
    idle_timeout: float | None = None  # IdleTimeout after so long without speech; 0: never


@dataclass(frozen=True)
class Sampling:
    """How the model's ids are chosen."""

    temperature: float | None = None  # 0: the most probable id
    top_p: float | None = None
    top_k: int | None = None  # 0: no limit
    seed: int | None = None  # turn n of a dialogue draws with seed + n
    max_output_tokens: int | None = None  # text and speech of one answer together


@dataclass(frozen=True)
class CallConfig:
    """Settings of a call, or of one turn of `Client.respond`."""

    input_audio: AudioFormat | None = None  # None: the caller writes
    output_audio: AudioFormat | None = None  # None: 16-bit PCM at the model's own rate
    output_chunk: float | None = None  # seconds of audio in one AudioOutput, 0.02 to 0.2
    turn_detection: TurnDetection | None = None  # None: the caller says when a turn is over (MANUAL)
    sampling: Sampling = Sampling()
    instructions: str = ""  # system prompt; empty: the model's own
    history: Sequence[HistoryItem] = ()  # the dialogue so far, oldest first
    text_deltas: bool = True  # tell the answers' text as well
    turn_history: bool = True  # ResponseCompleted.history tells what the turn added to the dialogue
    resume_window: float = 0.0  # seconds for which a broken line is taken up again; 0: it ends the call


def format_to_wire(audio_format: AudioFormat) -> audio_pb2.AudioFormat:
    """The wire's AudioFormat."""
    return audio_pb2.AudioFormat(
        encoding=audio_pb2.AudioEncoding.Name(audio_format.encoding), sample_rate_hertz=audio_format.rate
    )


def format_of_wire(message: audio_pb2.AudioFormat) -> AudioFormat:
    """Of the wire's AudioFormat. Raises AudioError for an encoding this client does not know."""
    try:
        return AudioFormat(AudioEncoding(message.encoding), message.sample_rate_hertz)
    except ValueError:
        raise AudioError(
            f"the server sends audio of encoding {message.encoding}, which this client does not know."
        ) from None


def duration(seconds: float | None) -> Duration | None:
    """The wire's Duration; None where there is none. Raises InputError when it is not finite."""
    if seconds is None:
        return None
    if not math.isfinite(seconds):
        raise InputError(f"{seconds} is no length of time; expected a finite number of seconds.")
    result = Duration()
    result.FromNanoseconds(round(seconds * 1e9))
    return result


def turn_detection_to_wire(settings: TurnDetection) -> session_pb2.TurnDetection:
    """The wire's TurnDetection, in SERVER_VAD."""
    return session_pb2.TurnDetection(
        mode=session_pb2.TURN_DETECTION_MODE_SERVER_VAD,
        speech_threshold=settings.threshold,
        prefix_padding=duration(settings.prefix_padding),
        end_silence=duration(settings.end_silence),
        min_barge_in_speech=duration(settings.min_barge_in_speech),
        no_barge_in_window=duration(settings.no_barge_in_window),
        idle_timeout=duration(settings.idle_timeout),
    )


def history_to_wire(item: HistoryItem) -> session_pb2.HistoryItem:
    """The wire's HistoryItem. Raises InputError unless it has exactly one content."""
    given = [content for content in (item.text, item.speech, item.ids) if content is not None]
    if len(given) != 1:
        raise InputError(f"an item of the history has {len(given)} of text, speech and ids; expected exactly one.")
    role = session_pb2.ROLE_USER if item.role == "user" else session_pb2.ROLE_ASSISTANT
    if item.text is not None:
        return session_pb2.HistoryItem(role=role, text=item.text)
    if item.speech is not None:
        return session_pb2.HistoryItem(role=role, speech_tokens=audio_pb2.SpeechTokens(ids=item.speech))
    return session_pb2.HistoryItem(role=role, interleaved_tokens=audio_pb2.InterleavedTokens(ids=item.ids))


def history_of_wire(message: session_pb2.HistoryItem) -> HistoryItem:
    """Of the wire's HistoryItem."""
    role: Role = "user" if message.role == session_pb2.ROLE_USER else "assistant"
    match message.WhichOneof("content"):
        case "speech_tokens":
            return HistoryItem(role, speech=tuple(message.speech_tokens.ids))
        case "interleaved_tokens":
            return HistoryItem(role, ids=tuple(message.interleaved_tokens.ids))
        case _:
            return HistoryItem(role, text=message.text)


def config_to_wire(config: CallConfig) -> session_pb2.SessionConfig:
    """The wire's SessionConfig. Raises InputError for an item of the history without its content."""
    sampling = config.sampling
    return session_pb2.SessionConfig(
        input_audio=None if config.input_audio is None else format_to_wire(config.input_audio),
        output_audio=None if config.output_audio is None else format_to_wire(config.output_audio),
        output_chunk=duration(config.output_chunk),
        turn_detection=None if config.turn_detection is None else turn_detection_to_wire(config.turn_detection),
        sampling=session_pb2.Sampling(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=sampling.seed,
            max_output_tokens=sampling.max_output_tokens,
        ),
        instructions=config.instructions,
        history=map(history_to_wire, config.history),
        enable_text_deltas=config.text_deltas,
        enable_turn_history=config.turn_history,
        resume_window=duration(config.resume_window) if config.resume_window else None,
    )
