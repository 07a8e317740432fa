"""From gRPC's errors to ours: google.rpc.Status read into `antiphon.errors.CallError` and its kinds."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from antiphon.engine.errors import (
    AuthenticationError,
    CallError,
    ConnectionLostError,
    LimitError,
    PreconditionError,
    RequestError,
    ServerError,
    UnavailableError,
)

DOMAIN: Final = "antiphon"
_DETAILS_KEY: Final = "grpc-status-details-bin"
_KINDS: Final[dict[str, type[CallError]]] = {
    "INVALID_ARGUMENT": RequestError,
    "FAILED_PRECONDITION": PreconditionError,
    "RESOURCE_EXHAUSTED": LimitError,
    "UNAUTHENTICATED": AuthenticationError,
    "UNAVAILABLE": UnavailableError,
}
_BROKEN: Final = ("RST_STREAM", "Internal error from Core")  # the latter: grpc.aio, of a write as the line broke
_Detail = TypeVar("_Detail", bound=Message)


def error_of_status(status: status_pb2.Status) -> CallError:
    """A google.rpc.Status as the exception that it means."""
    info = next(_details(status, error_details_pb2.ErrorInfo), None)
    retry = next(_details(status, error_details_pb2.RetryInfo), None)
    fields = {
        violation.field: violation.description
        for request in _details(status, error_details_pb2.BadRequest)
        for violation in request.field_violations
    }
    code = code_pb2.Code.Name(status.code) if status.code in code_pb2.Code.values() else "UNKNOWN"
    return _KINDS.get(code, ServerError)(
        status.message,
        code=code,
        reason=info.reason if info is not None and info.domain == DOMAIN else "",
        retry_after=None if retry is None else retry.retry_delay.ToTimedelta().total_seconds(),
        fields=fields,
    )


def request_of_status(status: status_pb2.Status) -> str:
    """The request that an `error` event refuses, as its field in ConverseRequest; empty when it names none."""
    info = next(_details(status, error_details_pb2.ErrorInfo), None)
    return "" if info is None else str(info.metadata.get("request", ""))


def error_of_call(error: grpc.aio.AioRpcError) -> CallError:
    """A failed call as the exception that it means. Without a reason of ours a broken line is ConnectionLostError."""
    status = _status_in(error.trailing_metadata() or ())
    if status is not None:
        return error_of_status(status)
    code: str = error.code().name
    message = error.details() or "the server gave no message"
    # What gRPC says when a connection, or a stream alone, breaks under a call; a server of ours adds its reason.
    if code in ("UNAVAILABLE", "CANCELLED") or (code == "INTERNAL" and any(words in message for words in _BROKEN)):
        return ConnectionLostError(f"the connection failed: {message}", code=code)
    return _KINDS.get(code, ServerError)(message, code=code)


def _status_in(metadata: Iterable[tuple[str, str | bytes]]) -> status_pb2.Status | None:
    for key, value in metadata:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _details(status: status_pb2.Status, kind: type[_Detail]) -> Iterator[_Detail]:
    for packed in status.details:
        detail = kind()
        with contextlib.suppress(DecodeError):  # a detail nobody can read says nothing
            if packed.Unpack(detail):
                yield detail
