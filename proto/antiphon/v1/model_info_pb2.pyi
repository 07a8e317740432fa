import datetime

from antiphon.v1 import audio_pb2 as _audio_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetModelInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelInfoResponse(_message.Message):
    __slots__ = ("model", "server_version", "codec_id", "vocabulary_id", "speech_tokens_per_second", "native_sample_rate_hertz", "input_formats", "output_formats", "limits")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    CODEC_ID_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_ID_FIELD_NUMBER: _ClassVar[int]
    SPEECH_TOKENS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    NATIVE_SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    INPUT_FORMATS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FORMATS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    model: str
    server_version: str
    codec_id: str
    vocabulary_id: str
    speech_tokens_per_second: float
    native_sample_rate_hertz: int
    input_formats: _containers.RepeatedCompositeFieldContainer[_audio_pb2.AudioFormat]
    output_formats: _containers.RepeatedCompositeFieldContainer[_audio_pb2.AudioFormat]
    limits: Limits
    def __init__(self, model: _Optional[str] = ..., server_version: _Optional[str] = ..., codec_id: _Optional[str] = ..., vocabulary_id: _Optional[str] = ..., speech_tokens_per_second: _Optional[float] = ..., native_sample_rate_hertz: _Optional[int] = ..., input_formats: _Optional[_Iterable[_Union[_audio_pb2.AudioFormat, _Mapping]]] = ..., output_formats: _Optional[_Iterable[_Union[_audio_pb2.AudioFormat, _Mapping]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_converse_message_bytes", "max_unary_message_bytes", "max_turn_audio", "max_text_characters", "max_speech_tokens", "max_history_items", "max_context_tokens", "max_waiting_turns", "max_dialogues", "max_audio_per_minute", "max_vad_input_speed", "max_vad_input_burst", "max_output_lead", "config_timeout", "read_timeout", "max_session", "max_resume_window")
    MAX_CONVERSE_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_UNARY_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_TURN_AUDIO_FIELD_NUMBER: _ClassVar[int]
    MAX_TEXT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_SPEECH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_HISTORY_ITEMS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_WAITING_TURNS_FIELD_NUMBER: _ClassVar[int]
    MAX_DIALOGUES_FIELD_NUMBER: _ClassVar[int]
    MAX_AUDIO_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    MAX_VAD_INPUT_SPEED_FIELD_NUMBER: _ClassVar[int]
    MAX_VAD_INPUT_BURST_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_LEAD_FIELD_NUMBER: _ClassVar[int]
    CONFIG_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    READ_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_SESSION_FIELD_NUMBER: _ClassVar[int]
    MAX_RESUME_WINDOW_FIELD_NUMBER: _ClassVar[int]
    max_converse_message_bytes: int
    max_unary_message_bytes: int
    max_turn_audio: _duration_pb2.Duration
    max_text_characters: int
    max_speech_tokens: int
    max_history_items: int
    max_context_tokens: int
    max_waiting_turns: int
    max_dialogues: int
    max_audio_per_minute: _duration_pb2.Duration
    max_vad_input_speed: float
    max_vad_input_burst: _duration_pb2.Duration
    max_output_lead: _duration_pb2.Duration
    config_timeout: _duration_pb2.Duration
    read_timeout: _duration_pb2.Duration
    max_session: _duration_pb2.Duration
    max_resume_window: _duration_pb2.Duration
    def __init__(self, max_converse_message_bytes: _Optional[int] = ..., max_unary_message_bytes: _Optional[int] = ..., max_turn_audio: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_text_characters: _Optional[int] = ..., max_speech_tokens: _Optional[int] = ..., max_history_items: _Optional[int] = ..., max_context_tokens: _Optional[int] = ..., max_waiting_turns: _Optional[int] = ..., max_dialogues: _Optional[int] = ..., max_audio_per_minute: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_vad_input_speed: _Optional[float] = ..., max_vad_input_burst: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_output_lead: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., config_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., read_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_session: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_resume_window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
