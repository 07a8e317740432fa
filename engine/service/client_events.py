"""What a call tells its client, one dataclass per event, in plain Python: seconds, samples, arrays.

Their order, and what each means: proto/antiphon/v1/events.proto and docs/protocol.md. An event this client does not
know is skipped; an enum value it does not know is UNSPECIFIED.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

from google.protobuf.message import Message

from antiphon.engine.errors import CallError, SessionClosedError
from antiphon.engine.history import HistoryItem
from antiphon.engine.service.client_config import AudioFormat, format_of_wire, history_of_wire
from antiphon.engine.service.client_errors import error_of_status, request_of_status
from antiphon.engine.types import Float32Array
from antiphon.v1 import dialogue_pb2, events_pb2, model_info_pb2

__all__ = [
    "Answer",
    "Audio",
    "AudioCompleted",
    "AudioOutput",
    "Event",
    "FinishReason",
    "GoAway",
    "GoAwayReason",
    "IdleTimeout",
    "Interrupted",
    "InterruptionReason",
    "Limits",
    "ModelInfo",
    "RequestRefused",
    "ResponseCompleted",
    "ResponseStarted",
    "Resumed",
    "SpeechStarted",
    "TextDelta",
    "Timing",
    "TurnEndReason",
    "TurnEnded",
    "TurnsForgotten",
    "Usage",
]


class _WireEnum(IntEnum):
    @classmethod
    def _missing_(cls, value: object) -> Self:
        return cls(0)


class TurnEndReason(_WireEnum):
    """Why the caller's turn ended."""

    UNSPECIFIED = 0
    SILENCE = events_pb2.TurnEnded.REASON_SILENCE  # the caller paused
    LIMIT = events_pb2.TurnEnded.REASON_LIMIT  # it reached the longest turn; what follows is the next one
    COMMITTED = events_pb2.TurnEnded.REASON_COMMITTED


class InterruptionReason(_WireEnum):
    """Why an answer was cut."""

    UNSPECIFIED = 0
    BARGE_IN = events_pb2.Interrupted.REASON_BARGE_IN  # the caller spoke into it
    CLIENT_CANCELLED = events_pb2.Interrupted.REASON_CLIENT_CANCELLED


class FinishReason(_WireEnum):
    """Why an answer ended."""

    UNSPECIFIED = 0
    STOP = events_pb2.ResponseCompleted.FINISH_REASON_STOP  # the model ended it
    LENGTH = events_pb2.ResponseCompleted.FINISH_REASON_LENGTH  # the limit on ids, or the model's context
    INTERRUPTED = events_pb2.ResponseCompleted.FINISH_REASON_INTERRUPTED
    ERROR = events_pb2.ResponseCompleted.FINISH_REASON_ERROR  # see ResponseCompleted.error


class GoAwayReason(_WireEnum):
    """Why the server will end the call."""

    UNSPECIFIED = 0
    DRAINING = events_pb2.GoAway.REASON_DRAINING  # it shuts down: new turns are refused
    MAX_DURATION = events_pb2.GoAway.REASON_MAX_DURATION  # the dialogue has lasted as long as it may


@dataclass(frozen=True)
class RequestRefused:
    """A request changed nothing, and the call goes on."""

    request: str  # its field in the wire's ConverseRequest, such as "commit_input"
    error: CallError


@dataclass(frozen=True)
class SpeechStarted:
    """The caller has begun to speak (SERVER_VAD)."""

    speech_sample: int  # input sample: the first voiced one
    start_sample: int  # input sample: where the turn begins, its padding included
    probability: float


@dataclass(frozen=True)
class TurnEnded:
    """The caller's turn is complete and will be answered."""

    response_id: str
    reason: TurnEndReason
    start_sample: int  # input sample: the turn's first
    end_sample: int  # input sample: one past its last
    speech_end_sample: int | None  # input sample: where the pause that ended it began; None: there was none


@dataclass(frozen=True)
class IdleTimeout:
    """Nobody has spoken for a while."""

    input_sample: int


@dataclass(frozen=True)
class ResponseStarted:
    """The answer to a turn begins."""

    response_id: str
    turn_index: int  # counts from 0


@dataclass(frozen=True)
class TurnsForgotten:
    """The dialogue has outgrown the model, which goes on without its oldest turns."""

    response_id: str  # of the answer that needed the room
    turns: int  # forgotten now, each a caller's and its answer
    turns_left: int  # of the past


@dataclass(frozen=True)
class TextDelta:
    """More of the answer's text."""

    response_id: str
    text: str
    sample_offset: int  # output samples made when it was written: it is spoken from about here on, or later


@dataclass(frozen=True)
class Audio:
    """A piece of audio."""

    data: bytes  # whole samples in `format`
    format: AudioFormat
    sample_offset: int  # of the first, in the whole

    @property
    def samples(self) -> Float32Array:
        """f32[n] in [-1, 1]."""
        return self.format.decode(self.data)

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.data) // self.format.sample_bytes / self.format.rate


@dataclass(frozen=True)
class AudioOutput(Audio):
    """More of the answer's audio."""

    response_id: str


@dataclass(frozen=True)
class AudioCompleted:
    """All of the answer's audio was sent."""

    response_id: str
    sample_count: int  # output samples of the whole answer


@dataclass(frozen=True)
class Interrupted:
    """The answer was cut: drop what was not played."""

    response_id: str
    reason: InterruptionReason
    heard_samples: int  # output samples that the caller is taken to have heard
    kept_tokens: int  # ids of the answer that stay in the dialogue
    estimated: bool  # the clock told what was heard, not the client


@dataclass(frozen=True)
class Usage:
    """What a turn was made of."""

    input_tokens: int = 0
    input_audio_tokens: int = 0
    cached_input_tokens: int = 0
    output_text_tokens: int = 0
    output_audio_tokens: int = 0
    input_audio_duration: float | None = None  # seconds
    output_audio_duration: float | None = None  # seconds


@dataclass(frozen=True)
class Timing:
    """Seconds from the end of the turn. None: it did not happen."""

    turn_detection: float | None = None  # before that, from the end of speech, in the time of the audio
    first_token: float | None = None
    first_audio: float | None = None
    total: float | None = None  # playback included


@dataclass(frozen=True)
class ResponseCompleted:
    """The answer is over."""

    response_id: str
    finish_reason: FinishReason
    usage: Usage
    timing: Timing
    history: tuple[HistoryItem, ...]  # what the turn added to the dialogue
    error: CallError | None  # with finish_reason ERROR


@dataclass(frozen=True)
class GoAway:
    """The server will end the call."""

    reason: GoAwayReason
    seconds_left: float
    resumable: bool  # the dialogue can be taken up again once the call has ended; the client tries by itself


@dataclass(frozen=True)
class Resumed:
    """The line had broken, and the dialogue goes on over another. Nothing of it was lost but input told below."""

    next_input_sample: int  # from here on the client sent its audio again
    lost_samples: int  # input samples the server never had and the client no longer held


Event = (
    RequestRefused
    | SpeechStarted
    | TurnEnded
    | IdleTimeout
    | ResponseStarted
    | TurnsForgotten
    | TextDelta
    | AudioOutput
    | AudioCompleted
    | Interrupted
    | ResponseCompleted
    | GoAway
    | Resumed
)


@dataclass(frozen=True)
class Answer:
    """A whole answer, as it was received."""

    text: str
    audio: Audio
    interrupted: Interrupted | None
    completed: ResponseCompleted


@dataclass(frozen=True)
class Limits:
    """What is allowed; 0 or None: no limit. Lengths of time are in seconds (model_info.proto)."""

    max_converse_message_bytes: int = 0
    max_unary_message_bytes: int = 0
    max_turn_audio: float | None = None
    max_text_characters: int = 0
    max_speech_tokens: int = 0
    max_history_items: int = 0
    max_context_tokens: int = 0
    max_waiting_turns: int = 0
    max_dialogues: int = 0
    max_audio_per_minute: float | None = None
    max_vad_input_speed: float = 0.0
    max_vad_input_burst: float | None = None
    max_output_lead: float | None = None
    config_timeout: float | None = None
    read_timeout: float | None = None
    max_session: float | None = None
    max_resume_window: float | None = None


@dataclass(frozen=True)
class ModelInfo:
    """What a server serves, and within which limits."""

    model: str
    server_version: str
    codec_id: str
    vocabulary_id: str
    speech_tokens_per_second: float
    native_sample_rate: int  # Hz
    input_formats: tuple[AudioFormat, ...]
    output_formats: tuple[AudioFormat, ...]
    limits: Limits


def event_of_wire(
    response: dialogue_pb2.ConverseResponse | dialogue_pb2.RespondResponse, output: AudioFormat
) -> Event | None:
    """The event a response holds; None for one that this client does not know. `output` is the answers' format."""
    kind = response.WhichOneof("response")
    if kind is None:
        return None
    message: Any = getattr(response, kind)
    match kind:
        case "error":
            return RequestRefused(request_of_status(message), error_of_status(message))
        case "audio":
            return AudioOutput(message.data, output, message.sample_offset, message.response_id)
        case "response_completed":
            return _completed(message)
        case "go_away":
            seconds = message.time_left.ToTimedelta().total_seconds()
            return GoAway(GoAwayReason(message.reason), seconds, bool(message.resume_token))
        case "turn_ended":
            return TurnEnded(**{**_fields(message), "reason": TurnEndReason(message.reason)})
        case "interrupted":
            return Interrupted(**{**_fields(message), "reason": InterruptionReason(message.reason)})
    plain = _PLAIN.get(kind)
    return None if plain is None else plain(**_fields(message))


def model_info_of_wire(message: model_info_pb2.GetModelInfoResponse) -> ModelInfo:
    """Of the wire's answer to GetModelInfo."""
    return ModelInfo(
        model=message.model,
        server_version=message.server_version,
        codec_id=message.codec_id,
        vocabulary_id=message.vocabulary_id,
        speech_tokens_per_second=message.speech_tokens_per_second,
        native_sample_rate=message.native_sample_rate_hertz,
        input_formats=tuple(map(format_of_wire, message.input_formats)),
        output_formats=tuple(map(format_of_wire, message.output_formats)),
        limits=Limits(**_fields(message.limits)),
    )


async def collect(events: AsyncIterator[Event], output: AudioFormat) -> Answer:
    """The next answer, to its end. Raises CallError when the call ends before, or a request is refused meanwhile."""
    text: list[str] = []
    data: list[bytes] = []
    interrupted: Interrupted | None = None
    async for event in events:
        match event:
            case TextDelta():
                text.append(event.text)
            case AudioOutput():
                data.append(event.data)
            case Interrupted():
                interrupted = event
            case RequestRefused():
                raise event.error
            case ResponseCompleted():
                return Answer("".join(text), Audio(b"".join(data), output, 0), interrupted, event)
    raise SessionClosedError("the call ended, and no further answer came.")


_PLAIN = {
    "speech_started": SpeechStarted,
    "idle_timeout": IdleTimeout,
    "response_started": ResponseStarted,
    "turns_forgotten": TurnsForgotten,
    "text_delta": TextDelta,
    "audio_completed": AudioCompleted,
}


def _completed(message: events_pb2.ResponseCompleted) -> ResponseCompleted:
    return ResponseCompleted(
        response_id=message.response_id,
        finish_reason=FinishReason(message.finish_reason),
        usage=Usage(**_fields(message.usage)),
        timing=Timing(**_fields(message.timing)),
        history=tuple(map(history_of_wire, message.history)),
        error=error_of_status(message.error) if message.HasField("error") else None,
    )


def _fields(message: Message) -> dict[str, Any]:
    """A message's fields by their names: lengths of time in seconds, and None for what is absent."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            values[field.name] = None
        elif field.message_type is not None:
            values[field.name] = getattr(message, field.name).ToTimedelta().total_seconds()
        else:
            values[field.name] = getattr(message, field.name)
    return values
