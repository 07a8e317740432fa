from antiphon.v1 import events_pb2 as _events_pb2
from antiphon.v1 import model_info_pb2 as _model_info_pb2
from antiphon.v1 import session_pb2 as _session_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConverseRequest(_message.Message):
    __slots__ = ("config", "resume", "audio", "text", "commit_input", "clear_input", "cancel_response", "playback_update", "config_update")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INPUT_FIELD_NUMBER: _ClassVar[int]
    CLEAR_INPUT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    PLAYBACK_UPDATE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_UPDATE_FIELD_NUMBER: _ClassVar[int]
    config: _session_pb2.SessionConfig
    resume: Resume
    audio: AudioInput
    text: TextInput
    commit_input: CommitInput
    clear_input: ClearInput
    cancel_response: CancelResponse
    playback_update: PlaybackUpdate
    config_update: ConfigUpdate
    def __init__(self, config: _Optional[_Union[_session_pb2.SessionConfig, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., audio: _Optional[_Union[AudioInput, _Mapping]] = ..., text: _Optional[_Union[TextInput, _Mapping]] = ..., commit_input: _Optional[_Union[CommitInput, _Mapping]] = ..., clear_input: _Optional[_Union[ClearInput, _Mapping]] = ..., cancel_response: _Optional[_Union[CancelResponse, _Mapping]] = ..., playback_update: _Optional[_Union[PlaybackUpdate, _Mapping]] = ..., config_update: _Optional[_Union[ConfigUpdate, _Mapping]] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("session_id", "resume_token", "last_event_sequence")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LAST_EVENT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    resume_token: str
    last_event_sequence: int
    def __init__(self, session_id: _Optional[str] = ..., resume_token: _Optional[str] = ..., last_event_sequence: _Optional[int] = ...) -> None: ...

class AudioInput(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class TextInput(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class CommitInput(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ClearInput(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("response_id",)
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    def __init__(self, response_id: _Optional[str] = ...) -> None: ...

class PlaybackUpdate(_message.Message):
    __slots__ = ("response_id", "played_samples", "stopped")
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    PLAYED_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    played_samples: int
    stopped: bool
    def __init__(self, response_id: _Optional[str] = ..., played_samples: _Optional[int] = ..., stopped: _Optional[bool] = ...) -> None: ...

class ConfigUpdate(_message.Message):
    __slots__ = ("turn_detection",)
    TURN_DETECTION_FIELD_NUMBER: _ClassVar[int]
    turn_detection: _session_pb2.TurnDetection
    def __init__(self, turn_detection: _Optional[_Union[_session_pb2.TurnDetection, _Mapping]] = ...) -> None: ...

class ConverseResponse(_message.Message):
    __slots__ = ("event_sequence", "session_started", "go_away", "error", "speech_started", "turn_ended", "idle_timeout", "response_started", "text_delta", "audio", "audio_completed", "interrupted", "response_completed", "turns_forgotten")
    EVENT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SESSION_STARTED_FIELD_NUMBER: _ClassVar[int]
    GO_AWAY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SPEECH_STARTED_FIELD_NUMBER: _ClassVar[int]
    TURN_ENDED_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_STARTED_FIELD_NUMBER: _ClassVar[int]
    TEXT_DELTA_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    AUDIO_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTED_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    TURNS_FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    event_sequence: int
    session_started: _events_pb2.SessionStarted
    go_away: _events_pb2.GoAway
    error: _status_pb2.Status
    speech_started: _events_pb2.SpeechStarted
    turn_ended: _events_pb2.TurnEnded
    idle_timeout: _events_pb2.IdleTimeout
    response_started: _events_pb2.ResponseStarted
    text_delta: _events_pb2.TextDelta
    audio: _events_pb2.AudioOutput
    audio_completed: _events_pb2.AudioCompleted
    interrupted: _events_pb2.Interrupted
    response_completed: _events_pb2.ResponseCompleted
    turns_forgotten: _events_pb2.TurnsForgotten
    def __init__(self, event_sequence: _Optional[int] = ..., session_started: _Optional[_Union[_events_pb2.SessionStarted, _Mapping]] = ..., go_away: _Optional[_Union[_events_pb2.GoAway, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., speech_started: _Optional[_Union[_events_pb2.SpeechStarted, _Mapping]] = ..., turn_ended: _Optional[_Union[_events_pb2.TurnEnded, _Mapping]] = ..., idle_timeout: _Optional[_Union[_events_pb2.IdleTimeout, _Mapping]] = ..., response_started: _Optional[_Union[_events_pb2.ResponseStarted, _Mapping]] = ..., text_delta: _Optional[_Union[_events_pb2.TextDelta, _Mapping]] = ..., audio: _Optional[_Union[_events_pb2.AudioOutput, _Mapping]] = ..., audio_completed: _Optional[_Union[_events_pb2.AudioCompleted, _Mapping]] = ..., interrupted: _Optional[_Union[_events_pb2.Interrupted, _Mapping]] = ..., response_completed: _Optional[_Union[_events_pb2.ResponseCompleted, _Mapping]] = ..., turns_forgotten: _Optional[_Union[_events_pb2.TurnsForgotten, _Mapping]] = ...) -> None: ...

class RespondRequest(_message.Message):
    __slots__ = ("config", "text", "audio")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    config: _session_pb2.SessionConfig
    text: str
    audio: bytes
    def __init__(self, config: _Optional[_Union[_session_pb2.SessionConfig, _Mapping]] = ..., text: _Optional[str] = ..., audio: _Optional[bytes] = ...) -> None: ...

class RespondResponse(_message.Message):
    __slots__ = ("response_started", "text_delta", "audio", "response_completed", "turns_forgotten")
    RESPONSE_STARTED_FIELD_NUMBER: _ClassVar[int]
    TEXT_DELTA_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    TURNS_FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    response_started: _events_pb2.ResponseStarted
    text_delta: _events_pb2.TextDelta
    audio: _events_pb2.AudioOutput
    response_completed: _events_pb2.ResponseCompleted
    turns_forgotten: _events_pb2.TurnsForgotten
    def __init__(self, response_started: _Optional[_Union[_events_pb2.ResponseStarted, _Mapping]] = ..., text_delta: _Optional[_Union[_events_pb2.TextDelta, _Mapping]] = ..., audio: _Optional[_Union[_events_pb2.AudioOutput, _Mapping]] = ..., response_completed: _Optional[_Union[_events_pb2.ResponseCompleted, _Mapping]] = ..., turns_forgotten: _Optional[_Union[_events_pb2.TurnsForgotten, _Mapping]] = ...) -> None: ...
