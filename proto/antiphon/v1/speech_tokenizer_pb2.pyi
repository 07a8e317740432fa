import datetime

from antiphon.v1 import audio_pb2 as _audio_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TokenizeRequest(_message.Message):
    __slots__ = ("audio", "audio_format")
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FORMAT_FIELD_NUMBER: _ClassVar[int]
    audio: bytes
    audio_format: _audio_pb2.AudioFormat
    def __init__(self, audio: _Optional[bytes] = ..., audio_format: _Optional[_Union[_audio_pb2.AudioFormat, _Mapping]] = ...) -> None: ...

class TokenizeResponse(_message.Message):
    __slots__ = ("tokens", "audio_duration")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_DURATION_FIELD_NUMBER: _ClassVar[int]
    tokens: _audio_pb2.SpeechTokens
    audio_duration: _duration_pb2.Duration
    def __init__(self, tokens: _Optional[_Union[_audio_pb2.SpeechTokens, _Mapping]] = ..., audio_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DetokenizeRequest(_message.Message):
    __slots__ = ("tokens", "output_audio")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_AUDIO_FIELD_NUMBER: _ClassVar[int]
    tokens: _audio_pb2.SpeechTokens
    output_audio: _audio_pb2.AudioFormat
    def __init__(self, tokens: _Optional[_Union[_audio_pb2.SpeechTokens, _Mapping]] = ..., output_audio: _Optional[_Union[_audio_pb2.AudioFormat, _Mapping]] = ...) -> None: ...

class DetokenizeResponse(_message.Message):
    __slots__ = ("audio", "sample_offset")
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    audio: bytes
    sample_offset: int
    def __init__(self, audio: _Optional[bytes] = ..., sample_offset: _Optional[int] = ...) -> None: ...
