"""From errors to google.rpc.Status, and over a real connection."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from antiphon.engine.errors import (
    AudioError,
    ContextOverflowError,
    EngineFullError,
    InputError,
    OutOfPagesError,
    SessionClosedError,
    TextError,
    TokenError,
)
from antiphon.engine.events import Failure
from antiphon.engine.service.logs import JsonFormatter
from antiphon.engine.service.refusals import FieldViolation, InvalidRequestError, QuotaError, Reason, RefusalError
from antiphon.engine.service.status import abort, status_of_error, status_of_failure
from antiphon.v1 import error_reason_pb2

REASONS = Path(__file__).parents[2] / "proto" / "antiphon" / "v1" / "error_reason.proto"
Detail = TypeVar("Detail", bound=Message)


def detail(status: status_pb2.Status, kind: type[Detail]) -> Detail | None:
    found = kind()
    return next((found for packed in status.details if packed.Unpack(found)), None)


def told(status: status_pb2.Status) -> tuple[str, str]:
    """Reason and code."""
    info = detail(status, error_details_pb2.ErrorInfo)
    assert info is not None and info.domain == "antiphon"
    return info.reason, next(code.name for code in grpc.StatusCode if code.value[0] == status.code)


def test_the_reasons_are_those_of_the_wire() -> None:
    comment_and_value = re.compile(r"// ([A-Z_]+): .*\n(?:\s+// .*\n)*\s+ERROR_REASON_(\w+) = ")
    codes = {reason: code for code, reason in comment_and_value.findall(REASONS.read_text("utf-8"))}
    assert {reason.name: reason.code.name for reason in Reason} == codes
    numbers = {f"ERROR_REASON_{reason.name}": reason.number for reason in Reason}
    assert numbers == {name: number for name, number in error_reason_pb2.ErrorReason.items() if number}


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (AudioError("3 bytes"), "AUDIO_MALFORMED", "INVALID_ARGUMENT"),
        (TextError("empty"), "FIELD_INVALID", "INVALID_ARGUMENT"),
        (TokenError("id 9"), "FIELD_INVALID", "INVALID_ARGUMENT"),
        (InputError("top_p"), "FIELD_INVALID", "INVALID_ARGUMENT"),
        (ContextOverflowError("9000 ids"), "CONTEXT_FULL", "FAILED_PRECONDITION"),
        (EngineFullError("256 open"), "SERVER_FULL", "RESOURCE_EXHAUSTED"),
        (OutOfPagesError("no page"), "SERVER_FULL", "RESOURCE_EXHAUSTED"),
        (SessionClosedError("loop died"), "ENGINE_LOST", "UNAVAILABLE"),
        (RefusalError(Reason.TURN_EMPTY, "nothing"), "TURN_EMPTY", "FAILED_PRECONDITION"),
        (RefusalError(Reason.API_KEY_MISSING, "no key"), "API_KEY_MISSING", "UNAUTHENTICATED"),
    ],
)
def test_each_error_has_its_reason_and_tells_its_message(error: Exception, reason: str, code: str) -> None:
    status = status_of_error(error, metadata={"request": "text"})
    assert told(status) == (reason, code)
    assert status.message == str(error)
    info = detail(status, error_details_pb2.ErrorInfo)
    assert info is not None and dict(info.metadata) == {"request": "text"}
    retry = detail(status, error_details_pb2.RetryInfo)
    assert (retry is not None) == (reason in ("SERVER_FULL", "ENGINE_LOST"))
    if not isinstance(error, RefusalError):
        assert told(status_of_failure(Failure(type(error).__name__, str(error)))) == (reason, code)


def test_a_wrong_field_is_named() -> None:
    for error in (
        InvalidRequestError([FieldViolation("config.sampling.top_p", "2; expected 0 to 1")]),
        InputError("2; expected 0 to 1"),
    ):
        bad_request = detail(status_of_error(error, field="config.sampling.top_p"), error_details_pb2.BadRequest)
        assert bad_request is not None
        (violation,) = bad_request.field_violations
        assert (violation.field, violation.description) == ("config.sampling.top_p", "2; expected 0 to 1")


def test_a_quota_is_named_with_the_time_to_wait() -> None:
    status = status_of_error(QuotaError(Reason.AUDIO_QUOTA, "60 s a minute", "key:alice", 60, retry_after=2.5))
    quota, retry = (detail(status, kind) for kind in (error_details_pb2.QuotaFailure, error_details_pb2.RetryInfo))
    assert quota is not None and retry is not None
    (violation,) = quota.violations
    assert (violation.subject, violation.quota_id, violation.quota_value) == ("key:alice", "AUDIO_QUOTA", 60)
    assert retry.retry_delay.ToMilliseconds() == 2_500


@pytest.mark.parametrize("error", [ValueError("a word of Alice"), KeyError("a word of Alice"), RuntimeError()])
def test_a_fault_tells_its_number_alone_and_the_log_tells_it_too(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    failure = Failure(type(error).__name__, str(error))
    for of_failure in (False, True):
        status = status_of_failure(failure) if of_failure else status_of_error(error)
        assert told(status) == ("TURN_FAILED", "INTERNAL")
        info = detail(status, error_details_pb2.ErrorInfo)
        assert info is not None
        line = JsonFormatter().format(caplog.records[-1])
        assert json.loads(line)["incident"] == info.metadata["incident"]
        assert type(error).__name__ in line
        assert "Alice" not in line and b"Alice" not in status.SerializeToString()
        assert type(error).__name__.encode() not in status.SerializeToString()


def test_long_and_unsendable_texts_fit_into_the_metadata() -> None:
    violations = [FieldViolation("f" * 1_000, "日" * 1_000)] * 100
    for error in (InvalidRequestError(violations), InputError("\udcff" + "日" * 10_000)):
        status = status_of_error(error)
        percent_encoded = 3 * len(status.message.encode())
        assert percent_encoded + len(status.SerializeToString()) * 4 / 3 < 8_000


Handler = Callable[[bytes, grpc.aio.ServicerContext[Any, Any]], Awaitable[bytes]]


async def call(handler: Handler, timeout: float = 10.0) -> grpc.aio.AioRpcError:
    """What a real client gets of `handler`, which does not succeed."""
    server = grpc.aio.server()
    methods: dict[str, Any] = {"Method": grpc.unary_unary_rpc_method_handler(handler)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            method: Any = channel.unary_unary("/test.Service/Method")
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await method(b"", timeout=timeout)
            return error.value
    finally:
        await server.stop(0)


@pytest.mark.parametrize("reason", [Reason.API_KEY_INVALID, Reason.AUDIO_QUOTA, Reason.TURN_FAILED])
def test_a_client_reads_what_was_aborted_with(reason: Reason) -> None:
    status = status_of_error(QuotaError(reason, "näin ei käy: 60 s", "key:alice", 60, retry_after=1.0))

    async def refuse(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        await abort(context, status)

    error: Any = asyncio.run(call(refuse))
    assert error.code() is reason.code
    read = rpc_status.from_call(error)
    assert read == status
