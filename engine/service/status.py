"""From an error to the google.rpc.Status that a client reads.

The details hold an ErrorInfo with one of the wire's reasons and the domain "antiphon", and beside it a RetryInfo,
BadRequest or QuotaFailure where the error knows one. gRPC carries them as `grpc_status.rpc_status` reads them: packed
into the trailing metadata `grpc-status-details-bin`. HTTP/2 peers take about 8 KiB of metadata, in which the message
stands twice, so long texts are cut.

What is not an error of ours is a fault of the server: INTERNAL with a number that only the log explains.
"""

import logging
from collections.abc import Mapping
from secrets import token_hex
from typing import Any, Final, Never

import grpc
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from antiphon.engine import errors
from antiphon.engine.errors import (
    AudioError,
    ContextOverflowError,
    EngineFullError,
    InputError,
    OutOfPagesError,
    SessionClosedError,
)
from antiphon.engine.events import Failure
from antiphon.engine.service.logs import log_event
from antiphon.engine.service.quotas import RETRY_SECONDS
from antiphon.engine.service.refusals import (
    FieldViolation,
    InvalidRequestError,
    QuotaError,
    Reason,
    RefusalError,
)

DOMAIN: Final = "antiphon"
STATUS_KEY: Final = "grpc-status-details-bin"
_MESSAGE_BYTES: Final = 600
_FIELD_BYTES: Final = 150
_VIOLATIONS: Final = 8

_log = logging.getLogger(__name__)

# The engine's errors, most particular first.
_ENGINE_ERRORS: Final[tuple[tuple[type[Exception], Reason, float | None], ...]] = (
    (AudioError, Reason.AUDIO_MALFORMED, None),
    (ContextOverflowError, Reason.CONTEXT_FULL, None),
    (InputError, Reason.FIELD_INVALID, None),
    (EngineFullError, Reason.SERVER_FULL, RETRY_SECONDS),
    (OutOfPagesError, Reason.SERVER_FULL, RETRY_SECONDS),
    (SessionClosedError, Reason.ENGINE_LOST, RETRY_SECONDS),
)


def status_of_error(error: Exception, field: str = "", metadata: Mapping[str, str] | None = None) -> status_pb2.Status:
    """What a client is told of `error`.

    `field` is the request's field that an InputError of the engine is about; `metadata` goes into the ErrorInfo. An
    error that is neither a refusal nor known of the engine is logged, with a number that the client is told.
    """
    refusal = _refusal_of(error, field)
    if refusal is None:
        incident = token_hex(8)
        log_event(_log, logging.ERROR, "incident", error, incident=incident)
        return _fault({"incident": incident, **(metadata or {})})
    return _status(refusal, metadata or {})


def status_of_failure(failure: Failure) -> status_pb2.Status:
    """What a client is told of an answer that failed: what it gave, what the server lacked, or a logged incident."""
    kind = getattr(errors, failure.kind, None) if failure.kind in errors.__all__ else None
    for known, reason, retry_after in _ENGINE_ERRORS:
        if kind is not None and issubclass(kind, known):
            return _status(RefusalError(reason, failure.message, retry_after), {})
    incident = token_hex(8)
    log_event(_log, logging.ERROR, "answer_failed", incident=incident, error=failure.kind)
    return _fault({"incident": incident})


async def abort(context: grpc.aio.ServicerContext[Any, Any], status: status_pb2.Status) -> Never:
    """End a call with `status`. Does not return: gRPC raises an AbortError, which the handler lets through.

    Of a call whose client has gone it raises grpc.aio's ExecuteBatchError instead.
    """
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    await context.abort(code, status.message, ((STATUS_KEY, status.SerializeToString()),))


def _refusal_of(error: Exception, field: str) -> RefusalError | None:
    if isinstance(error, RefusalError):
        return error
    for kind, reason, retry_after in _ENGINE_ERRORS:
        if isinstance(error, kind):
            if field and reason.code is grpc.StatusCode.INVALID_ARGUMENT:
                return InvalidRequestError([FieldViolation(field, str(error))], reason)
            return RefusalError(reason, str(error), retry_after)
    return None


def _fault(metadata: Mapping[str, str]) -> status_pb2.Status:
    reason = Reason.TURN_FAILED
    message = f"a fault of the server; its log tells more under incident {metadata['incident']}."
    return _status(RefusalError(reason, message), metadata)


def _status(refusal: RefusalError, metadata: Mapping[str, str]) -> status_pb2.Status:
    message = _cut(str(refusal), _MESSAGE_BYTES)
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=refusal.reason.name, domain=DOMAIN, metadata=dict(metadata))
    ]
    if refusal.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(int(refusal.retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(refusal, InvalidRequestError):
        details.append(_bad_request(refusal))
    if isinstance(refusal, QuotaError):
        violation = error_details_pb2.QuotaFailure.Violation(
            subject=refusal.subject, description=message, quota_id=refusal.reason.name, quota_value=refusal.limit
        )
        details.append(error_details_pb2.QuotaFailure(violations=[violation]))
    packed = []
    for detail in details:
        packed.append(PackedAny())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=refusal.reason.code.value[0], message=message, details=packed)


def _bad_request(refusal: InvalidRequestError) -> Message:
    violations = [
        error_details_pb2.BadRequest.FieldViolation(
            field=_cut(wrong.field, _FIELD_BYTES), description=_cut(wrong.description, _FIELD_BYTES)
        )
        for wrong in refusal.violations[:_VIOLATIONS]
    ]
    bad_request: Message = error_details_pb2.BadRequest(field_violations=violations)
    return bad_request


def _cut(text: str, limit: int) -> str:
    """`text` as at most `limit` bytes of UTF-8, whole characters, without what no protobuf string may hold."""
    whole = text.encode("utf-8", "replace")
    if len(whole) <= limit:
        return whole.decode()
    return whole[: limit - 3].decode("utf-8", "ignore") + "…"
