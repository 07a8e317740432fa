import datetime

from antiphon.v1 import audio_pb2 as _audio_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TurnDetectionMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TURN_DETECTION_MODE_UNSPECIFIED: _ClassVar[TurnDetectionMode]
    TURN_DETECTION_MODE_MANUAL: _ClassVar[TurnDetectionMode]
    TURN_DETECTION_MODE_SERVER_VAD: _ClassVar[TurnDetectionMode]

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_USER: _ClassVar[Role]
    ROLE_ASSISTANT: _ClassVar[Role]
TURN_DETECTION_MODE_UNSPECIFIED: TurnDetectionMode
TURN_DETECTION_MODE_MANUAL: TurnDetectionMode
TURN_DETECTION_MODE_SERVER_VAD: TurnDetectionMode
ROLE_UNSPECIFIED: Role
ROLE_USER: Role
ROLE_ASSISTANT: Role

class SessionConfig(_message.Message):
    __slots__ = ("input_audio", "output_audio", "output_chunk", "turn_detection", "sampling", "instructions", "history", "enable_text_deltas", "enable_turn_history", "resume_window")
    INPUT_AUDIO_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_AUDIO_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    TURN_DETECTION_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    ENABLE_TEXT_DELTAS_FIELD_NUMBER: _ClassVar[int]
    ENABLE_TURN_HISTORY_FIELD_NUMBER: _ClassVar[int]
    RESUME_WINDOW_FIELD_NUMBER: _ClassVar[int]
    input_audio: _audio_pb2.AudioFormat
    output_audio: _audio_pb2.AudioFormat
    output_chunk: _duration_pb2.Duration
    turn_detection: TurnDetection
    sampling: Sampling
    instructions: str
    history: _containers.RepeatedCompositeFieldContainer[HistoryItem]
    enable_text_deltas: bool
    enable_turn_history: bool
    resume_window: _duration_pb2.Duration
    def __init__(self, input_audio: _Optional[_Union[_audio_pb2.AudioFormat, _Mapping]] = ..., output_audio: _Optional[_Union[_audio_pb2.AudioFormat, _Mapping]] = ..., output_chunk: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., turn_detection: _Optional[_Union[TurnDetection, _Mapping]] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., instructions: _Optional[str] = ..., history: _Optional[_Iterable[_Union[HistoryItem, _Mapping]]] = ..., enable_text_deltas: _Optional[bool] = ..., enable_turn_history: _Optional[bool] = ..., resume_window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class TurnDetection(_message.Message):
    __slots__ = ("mode", "speech_threshold", "prefix_padding", "end_silence", "min_barge_in_speech", "no_barge_in_window", "idle_timeout")
    MODE_FIELD_NUMBER: _ClassVar[int]
    SPEECH_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    PREFIX_PADDING_FIELD_NUMBER: _ClassVar[int]
    END_SILENCE_FIELD_NUMBER: _ClassVar[int]
    MIN_BARGE_IN_SPEECH_FIELD_NUMBER: _ClassVar[int]
    NO_BARGE_IN_WINDOW_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    mode: TurnDetectionMode
    speech_threshold: float
    prefix_padding: _duration_pb2.Duration
    end_silence: _duration_pb2.Duration
    min_barge_in_speech: _duration_pb2.Duration
    no_barge_in_window: _duration_pb2.Duration
    idle_timeout: _duration_pb2.Duration
    def __init__(self, mode: _Optional[_Union[TurnDetectionMode, str]] = ..., speech_threshold: _Optional[float] = ..., prefix_padding: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_silence: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., min_barge_in_speech: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., no_barge_in_window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_p", "top_k", "seed", "max_output_tokens")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_p: float
    top_k: int
    seed: int
    max_output_tokens: int
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., seed: _Optional[int] = ..., max_output_tokens: _Optional[int] = ...) -> None: ...

class HistoryItem(_message.Message):
    __slots__ = ("role", "text", "speech_tokens", "interleaved_tokens")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SPEECH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    INTERLEAVED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    role: Role
    text: str
    speech_tokens: _audio_pb2.SpeechTokens
    interleaved_tokens: _audio_pb2.InterleavedTokens
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., text: _Optional[str] = ..., speech_tokens: _Optional[_Union[_audio_pb2.SpeechTokens, _Mapping]] = ..., interleaved_tokens: _Optional[_Union[_audio_pb2.InterleavedTokens, _Mapping]] = ...) -> None: ...
