"""Why the service says no to a client: the reasons of the wire, and the errors that carry them.

AntiphonError
└── RefusalError            the service's no, with a reason
    ├── InvalidRequestError   names the fields that are wrong
    └── QuotaError            names the limit that was met
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from grpc import StatusCode

from antiphon.engine.errors import AntiphonError


class Reason(Enum):
    """The reasons of proto/antiphon/v1/error_reason.proto, which says what each means: its number there, its code."""

    API_KEY_MISSING = 1, StatusCode.UNAUTHENTICATED
    API_KEY_INVALID = 2, StatusCode.UNAUTHENTICATED

    CONFIG_MISSING = 10, StatusCode.INVALID_ARGUMENT
    CONFIG_REPEATED = 11, StatusCode.INVALID_ARGUMENT
    FIELD_INVALID = 12, StatusCode.INVALID_ARGUMENT
    REQUEST_UNKNOWN = 13, StatusCode.INVALID_ARGUMENT
    AUDIO_MALFORMED = 14, StatusCode.INVALID_ARGUMENT
    AUDIO_TOO_LONG = 15, StatusCode.INVALID_ARGUMENT
    HISTORY_TOO_LARGE = 16, StatusCode.INVALID_ARGUMENT

    INPUT_FORMAT_MISSING = 20, StatusCode.FAILED_PRECONDITION
    MODEL_MISMATCH = 21, StatusCode.FAILED_PRECONDITION
    TURN_EMPTY = 22, StatusCode.FAILED_PRECONDITION
    TURN_HOLDS_AUDIO = 23, StatusCode.FAILED_PRECONDITION
    CONTEXT_FULL = 24, StatusCode.FAILED_PRECONDITION
    SESSION_UNKNOWN = 25, StatusCode.FAILED_PRECONDITION
    EVENTS_LOST = 26, StatusCode.FAILED_PRECONDITION
    SESSION_RESUMED = 27, StatusCode.FAILED_PRECONDITION

    SERVER_FULL = 40, StatusCode.RESOURCE_EXHAUSTED
    DIALOGUE_QUOTA = 41, StatusCode.RESOURCE_EXHAUSTED
    AUDIO_QUOTA = 42, StatusCode.RESOURCE_EXHAUSTED
    AUDIO_TOO_FAST = 43, StatusCode.RESOURCE_EXHAUSTED
    MESSAGE_TOO_LARGE = 44, StatusCode.RESOURCE_EXHAUSTED
    TOO_MANY_TURNS = 45, StatusCode.RESOURCE_EXHAUSTED
    SESSION_TOO_LONG = 46, StatusCode.RESOURCE_EXHAUSTED
    CLIENT_TOO_SLOW = 47, StatusCode.RESOURCE_EXHAUSTED

    NOT_READY = 60, StatusCode.UNAVAILABLE
    DRAINING = 61, StatusCode.UNAVAILABLE
    ENGINE_LOST = 62, StatusCode.UNAVAILABLE

    TURN_FAILED = 80, StatusCode.INTERNAL

    def __init__(self, number: int, code: StatusCode) -> None:
        self.number = number
        self.code = code


class RefusalError(AntiphonError):
    """The service's no. The message is for the client: what was given, what was expected, what to do."""

    def __init__(self, reason: Reason, message: str, retry_after: float | None = None) -> None:
        """`retry_after`: seconds after which trying again may help; None where waiting alone does not."""
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


@dataclass(frozen=True)
class FieldViolation:
    """One field that is wrong."""

    field: str  # its path from the request: "config.history[2].text"
    description: str  # what was given, what was expected


class InvalidRequestError(RefusalError):
    """Fields of a request are wrong."""

    def __init__(self, violations: Sequence[FieldViolation], reason: Reason = Reason.FIELD_INVALID) -> None:
        """`violations`: at least one."""
        super().__init__(reason, "; ".join(f"{wrong.field}: {wrong.description}" for wrong in violations))
        self.violations = tuple(violations)


class QuotaError(RefusalError):
    """A limit was met."""

    def __init__(
        self, reason: Reason, message: str, subject: str, limit: int, retry_after: float | None = None
    ) -> None:
        """`subject`: whose limit it is, as "key:NAME", "server" or "call"; `limit`: its unit is told in `message`."""
        super().__init__(reason, message, retry_after)
        self.subject = subject
        self.limit = limit
