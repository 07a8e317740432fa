"""Every error this package raises on purpose.

    AntiphonError
    ├── InputError              what a caller gave cannot be used
    │   ├── AudioError          empty, too long, not finite, an unknown rate or encoding
    │   ├── TextError           empty or too long
    │   ├── TokenError          an id outside its vocabulary, an empty prompt
    │   └── ContextOverflowError  the dialogue does not fit the model's context
    ├── CheckpointError         a model folder cannot be read, or its files disagree
    │   └── TextFilesMissingError  the weights are there, the text tokenizer's files are not
    ├── DeviceError             a device that is unknown or not in this machine
    ├── OutOfPagesError         the KV pool has no free page
    ├── EngineFullError         as many dialogues are open as the engine takes
    ├── SessionClosedError      the session has ended; it takes no more input
    ├── ServerFileError         a file the server was given (keys, certificates) cannot be used
    ├── RefusalError            the service's no to a client, within the server: engine/service/refusals.py
    └── CallError               a server refused something, ended a call, or was not reached (`antiphon.Client`)
        ├── RequestError        INVALID_ARGUMENT: it can never be served as it is
        ├── PreconditionError   FAILED_PRECONDITION: not in this state of the dialogue, or not by this model
        ├── LimitError          RESOURCE_EXHAUSTED: a limit was met, the key's or the server's
        ├── AuthenticationError UNAUTHENTICATED: the key is missing, unknown or revoked
        ├── UnavailableError    UNAVAILABLE: not now, or not this server
        │   └── ConnectionLostError  the server was not reached, or the line broke
        └── ServerError         INTERNAL, or another code: a fault of the server

`antiphon.kernels.checks.KernelArgumentError` stands apart: `kernels` knows no other package of ours, and only a fault
of the engine itself can raise it.

Each message says what was given, what was expected and, where it is not plain, what to do.
"""

from collections.abc import Mapping

__all__ = [
    "AntiphonError",
    "AudioError",
    "AuthenticationError",
    "CallError",
    "CheckpointError",
    "ConnectionLostError",
    "ContextOverflowError",
    "DeviceError",
    "EngineFullError",
    "InputError",
    "LimitError",
    "OutOfPagesError",
    "PreconditionError",
    "RequestError",
    "ServerError",
    "ServerFileError",
    "SessionClosedError",
    "TextError",
    "TextFilesMissingError",
    "TokenError",
    "UnavailableError",
]


class AntiphonError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(AntiphonError, ValueError):
    """What a caller gave cannot be used. The session goes on."""


class AudioError(InputError):
    """Audio that is empty, too long, not finite, or of an unknown rate or encoding."""


class TextError(InputError):
    """Text that is empty or too long."""


class TokenError(InputError):
    """An id outside its vocabulary, or a prompt with no ids."""


class ContextOverflowError(InputError):
    """The dialogue and its answer do not fit into the model's context."""


class CheckpointError(AntiphonError):
    """A model folder that cannot be read, or whose files disagree with each other."""


class TextFilesMissingError(CheckpointError):
    """The weights are there, but the text tokenizer's files are not."""


class DeviceError(AntiphonError):
    """A device that is unknown, or not in this machine."""


class OutOfPagesError(AntiphonError):
    """The KV pool has no free page for what was asked."""


class EngineFullError(AntiphonError):
    """As many dialogues are open as the engine takes."""


class SessionClosedError(AntiphonError):
    """The session has ended and takes no more input."""


class ServerFileError(AntiphonError):
    """A file the server was given, such as its keys or its certificate, cannot be used."""


class CallError(AntiphonError):
    """A server refused something, ended a call, or was not reached. What the reasons mean: docs/protocol.md."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reason: str = "",
        retry_after: float | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code  # the gRPC code's name, such as "RESOURCE_EXHAUSTED"
        self.reason = reason  # out of the wire's ErrorReason, such as "DIALOGUE_QUOTA"; "": the server named none
        self.retry_after = retry_after  # seconds after which to try again; None: the server does not say
        self.fields = dict(fields or {})  # the request's fields that are wrong, each with what was expected

    def __str__(self) -> str:
        told = f"{self.message} [{self.reason or self.code}]"
        return told if self.retry_after is None else f"{told} Try again in {self.retry_after:g} s."


class RequestError(CallError):
    """INVALID_ARGUMENT: the request can never be served as it is."""


class PreconditionError(CallError):
    """FAILED_PRECONDITION: it does not fit the state of the dialogue, or the server's model."""


class LimitError(CallError):
    """RESOURCE_EXHAUSTED: a limit was met, the key's or the server's."""


class AuthenticationError(CallError):
    """UNAUTHENTICATED: the key is missing, unknown or revoked."""


class UnavailableError(CallError):
    """UNAVAILABLE: the server cannot serve now; try again, or elsewhere."""


class ConnectionLostError(UnavailableError):
    """The server was not reached, or the line broke."""


class ServerError(CallError):
    """INTERNAL, or a code that is none of the others': a fault of the server."""
