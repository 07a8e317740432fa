import datetime

from antiphon.v1 import session_pb2 as _session_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionStarted(_message.Message):
    __slots__ = ("session_id", "resume_token", "config", "next_input_sample")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    NEXT_INPUT_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    resume_token: str
    config: _session_pb2.SessionConfig
    next_input_sample: int
    def __init__(self, session_id: _Optional[str] = ..., resume_token: _Optional[str] = ..., config: _Optional[_Union[_session_pb2.SessionConfig, _Mapping]] = ..., next_input_sample: _Optional[int] = ...) -> None: ...

class GoAway(_message.Message):
    __slots__ = ("reason", "time_left", "resume_token")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[GoAway.Reason]
        REASON_DRAINING: _ClassVar[GoAway.Reason]
        REASON_MAX_DURATION: _ClassVar[GoAway.Reason]
    REASON_UNSPECIFIED: GoAway.Reason
    REASON_DRAINING: GoAway.Reason
    REASON_MAX_DURATION: GoAway.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    reason: GoAway.Reason
    time_left: _duration_pb2.Duration
    resume_token: str
    def __init__(self, reason: _Optional[_Union[GoAway.Reason, str]] = ..., time_left: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class SpeechStarted(_message.Message):
    __slots__ = ("speech_sample", "start_sample", "probability")
    SPEECH_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    speech_sample: int
    start_sample: int
    probability: float
    def __init__(self, speech_sample: _Optional[int] = ..., start_sample: _Optional[int] = ..., probability: _Optional[float] = ...) -> None: ...

class TurnEnded(_message.Message):
    __slots__ = ("response_id", "reason", "start_sample", "end_sample", "speech_end_sample")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[TurnEnded.Reason]
        REASON_SILENCE: _ClassVar[TurnEnded.Reason]
        REASON_LIMIT: _ClassVar[TurnEnded.Reason]
        REASON_COMMITTED: _ClassVar[TurnEnded.Reason]
    REASON_UNSPECIFIED: TurnEnded.Reason
    REASON_SILENCE: TurnEnded.Reason
    REASON_LIMIT: TurnEnded.Reason
    REASON_COMMITTED: TurnEnded.Reason
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    SPEECH_END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    reason: TurnEnded.Reason
    start_sample: int
    end_sample: int
    speech_end_sample: int
    def __init__(self, response_id: _Optional[str] = ..., reason: _Optional[_Union[TurnEnded.Reason, str]] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ..., speech_end_sample: _Optional[int] = ...) -> None: ...

class IdleTimeout(_message.Message):
    __slots__ = ("input_sample",)
    INPUT_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    input_sample: int
    def __init__(self, input_sample: _Optional[int] = ...) -> None: ...

class ResponseStarted(_message.Message):
    __slots__ = ("response_id", "turn_index")
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_INDEX_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    turn_index: int
    def __init__(self, response_id: _Optional[str] = ..., turn_index: _Optional[int] = ...) -> None: ...

class TurnsForgotten(_message.Message):
    __slots__ = ("response_id", "turns", "turns_left")
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    TURNS_LEFT_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    turns: int
    turns_left: int
    def __init__(self, response_id: _Optional[str] = ..., turns: _Optional[int] = ..., turns_left: _Optional[int] = ...) -> None: ...

class TextDelta(_message.Message):
    __slots__ = ("response_id", "text", "sample_offset")
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    text: str
    sample_offset: int
    def __init__(self, response_id: _Optional[str] = ..., text: _Optional[str] = ..., sample_offset: _Optional[int] = ...) -> None: ...

class AudioOutput(_message.Message):
    __slots__ = ("response_id", "data", "sample_offset")
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    data: bytes
    sample_offset: int
    def __init__(self, response_id: _Optional[str] = ..., data: _Optional[bytes] = ..., sample_offset: _Optional[int] = ...) -> None: ...

class AudioCompleted(_message.Message):
    __slots__ = ("response_id", "sample_count")
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    sample_count: int
    def __init__(self, response_id: _Optional[str] = ..., sample_count: _Optional[int] = ...) -> None: ...

class Interrupted(_message.Message):
    __slots__ = ("response_id", "reason", "heard_samples", "kept_tokens", "estimated")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Interrupted.Reason]
        REASON_BARGE_IN: _ClassVar[Interrupted.Reason]
        REASON_CLIENT_CANCELLED: _ClassVar[Interrupted.Reason]
    REASON_UNSPECIFIED: Interrupted.Reason
    REASON_BARGE_IN: Interrupted.Reason
    REASON_CLIENT_CANCELLED: Interrupted.Reason
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    HEARD_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    KEPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    reason: Interrupted.Reason
    heard_samples: int
    kept_tokens: int
    estimated: bool
    def __init__(self, response_id: _Optional[str] = ..., reason: _Optional[_Union[Interrupted.Reason, str]] = ..., heard_samples: _Optional[int] = ..., kept_tokens: _Optional[int] = ..., estimated: _Optional[bool] = ...) -> None: ...

class ResponseCompleted(_message.Message):
    __slots__ = ("response_id", "finish_reason", "usage", "timing", "history", "error")
    class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FINISH_REASON_UNSPECIFIED: _ClassVar[ResponseCompleted.FinishReason]
        FINISH_REASON_STOP: _ClassVar[ResponseCompleted.FinishReason]
        FINISH_REASON_LENGTH: _ClassVar[ResponseCompleted.FinishReason]
        FINISH_REASON_INTERRUPTED: _ClassVar[ResponseCompleted.FinishReason]
        FINISH_REASON_ERROR: _ClassVar[ResponseCompleted.FinishReason]
    FINISH_REASON_UNSPECIFIED: ResponseCompleted.FinishReason
    FINISH_REASON_STOP: ResponseCompleted.FinishReason
    FINISH_REASON_LENGTH: ResponseCompleted.FinishReason
    FINISH_REASON_INTERRUPTED: ResponseCompleted.FinishReason
    FINISH_REASON_ERROR: ResponseCompleted.FinishReason
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    finish_reason: ResponseCompleted.FinishReason
    usage: Usage
    timing: Timing
    history: _containers.RepeatedCompositeFieldContainer[_session_pb2.HistoryItem]
    error: _status_pb2.Status
    def __init__(self, response_id: _Optional[str] = ..., finish_reason: _Optional[_Union[ResponseCompleted.FinishReason, str]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., history: _Optional[_Iterable[_Union[_session_pb2.HistoryItem, _Mapping]]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("input_tokens", "input_audio_tokens", "cached_input_tokens", "output_text_tokens", "output_audio_tokens", "input_audio_duration", "output_audio_duration")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    INPUT_AUDIO_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_AUDIO_TOKENS_FIELD_NUMBER: _ClassVar[int]
    INPUT_AUDIO_DURATION_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_AUDIO_DURATION_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    input_audio_tokens: int
    cached_input_tokens: int
    output_text_tokens: int
    output_audio_tokens: int
    input_audio_duration: _duration_pb2.Duration
    output_audio_duration: _duration_pb2.Duration
    def __init__(self, input_tokens: _Optional[int] = ..., input_audio_tokens: _Optional[int] = ..., cached_input_tokens: _Optional[int] = ..., output_text_tokens: _Optional[int] = ..., output_audio_tokens: _Optional[int] = ..., input_audio_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., output_audio_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("turn_detection", "first_token", "first_audio", "total")
    TURN_DETECTION_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FIRST_AUDIO_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    turn_detection: _duration_pb2.Duration
    first_token: _duration_pb2.Duration
    first_audio: _duration_pb2.Duration
    total: _duration_pb2.Duration
    def __init__(self, turn_detection: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., first_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., first_audio: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., total: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
