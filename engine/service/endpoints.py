"""The way of every call: who calls, whether they may, what they ask, how it ends.

Nothing of a request is read before the caller is known. Every call is taken as a stream of bytes, whatever its kind, so
that one that sends nothing has a deadline, bytes that are no message are the caller's mistake and not the server's, and
a client that does not read is noticed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, Never, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from antiphon.engine.events import Failure
from antiphon.engine.service.host import Caller, ClientGoneError, Host
from antiphon.engine.service.keys import ApiKey
from antiphon.engine.service.logs import Fields, log_event
from antiphon.engine.service.quotas import RETRY_SECONDS, Lease, SizeLimit
from antiphon.engine.service.refusals import FieldViolation, InvalidRequestError, Reason, RefusalError
from antiphon.engine.service.status import abort, status_of_error, status_of_failure

# A client that hung up looks at first like one that has ended its side; gRPC tells so much later which it was.
HANG_UP_SECONDS: Final = 0.05
ABORT_SECONDS: Final = 1.0  # for the transport to take a call's status: a client that does not read gets it later

Context = grpc.aio.ServicerContext[Any, Any]
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
_log = logging.getLogger(__name__)


class AnswerFailedError(Exception):
    """The answer that a call was for has failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind)
        self.failure = failure


class Call(Generic[Request, Response]):
    """One call, as its endpoint sees it."""

    def __init__(
        self, context: Context, request_type: type[Request], caller: Caller, size: SizeLimit, read_timeout: float
    ) -> None:
        self.caller = caller
        self._context = context
        self._request_type = request_type
        self._size = size
        self._read_timeout = read_timeout
        self._writing: asyncio.Task[None] | None = None  # the last write: gRPC takes one at a time
        self._turn_to_write = asyncio.Lock()

    async def read(self) -> Request | None:
        """The next request; None when the client has ended its side.

        Raises RefusalError for one that is too large or no message at all, ClientGoneError when nobody is there.
        """
        try:
            data = await self._context.read()
        except grpc.aio.InternalError as error:
            raise ClientGoneError from error
        if data is grpc.aio.EOF:
            await asyncio.sleep(HANG_UP_SECONDS)
            return None
        self._size.take(len(data))
        try:
            return self._request_type.FromString(data)
        except DecodeError:
            name = self._request_type.DESCRIPTOR.full_name
            raise InvalidRequestError(
                [FieldViolation("", f"{len(data)} bytes that are no {name}; check the client's stubs.")]
            ) from None

    async def read_one(self, timeout: float) -> Request:
        """The only request of a call. Raises as `read`, and RefusalError where it takes longer than `timeout`."""
        try:
            async with asyncio.timeout(timeout):
                request = await self.read()
        except TimeoutError:
            raise RefusalError(Reason.FIELD_INVALID, f"the request did not come within {timeout:g} s.") from None
        if request is None:
            raise InvalidRequestError(
                [FieldViolation("request", "absent, the call ended without it; expected one message.")]
            )
        return request

    async def requests(self, first_timeout: float) -> AsyncIterator[Request]:
        """All requests. Raises as `read`, and RefusalError where the first does not come in `first_timeout` seconds."""
        try:
            async with asyncio.timeout(first_timeout):
                request = await self.read()
        except TimeoutError:
            raise RefusalError(
                Reason.CONFIG_MISSING,
                f"nothing came within {first_timeout:g} s; send `config` or `resume` at once.",
            ) from None
        while request is not None:
            yield request
            request = await self.read()

    async def send(self, response: Response) -> None:
        """Give a response to the transport and wait until it has taken it.

        Raises RefusalError (CLIENT_TOO_SLOW) when the client leaves unread what it is sent, ClientGoneError when nobody
        is there. Whoever is cancelled here leaves the response on its way.
        """
        try:
            async with asyncio.timeout(self._read_timeout), self._turn_to_write:
                await self._written()
                self._writing = asyncio.ensure_future(self._write(response.SerializeToString()))
                await self._written()
        except TimeoutError:
            raise RefusalError(
                Reason.CLIENT_TOO_SLOW, f"nothing was read for {self._read_timeout:g} s; read what is sent."
            ) from None

    async def fail(self, code: grpc.StatusCode, message: str) -> Never:
        """End the call with a status that another protocol asks for; our own calls raise RefusalError."""
        await self._context.abort(code, message)

    def close(self) -> None:
        """Nothing more is sent."""
        if self._writing is not None:
            self._writing.cancel()

    async def _write(self, data: bytes) -> None:
        try:
            await self._context.write(data)
        except (grpc.aio.InternalError, grpc.aio.UsageError) as error:  # the line broke, or its end was told meanwhile
            raise ClientGoneError from error

    async def _written(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)
            self._writing = None


@dataclass(frozen=True)
class Endpoint:
    """One method of a service."""

    service: str  # its full name
    method: str
    request_type: type[Message]
    behaviour: Callable[[Call[Any, Any]], Awaitable[None]]  # returning ends the call with OK
    max_request_bytes: int
    is_open: bool = False  # whether it takes neither key nor a server that is ready, and is not counted or logged

    @property
    def path(self) -> str:
        """As gRPC names it."""
        return f"/{self.service}/{self.method}"


@dataclass(eq=False)
class _Admitted:
    """A call under way."""

    task: asyncio.Task[Any]
    end: RefusalError | None = None  # why the server ends it, once it does


@dataclass(eq=False)
class Endpoints(grpc.GenericRpcHandler):
    """All methods of one server."""

    host: Host
    endpoints: Iterable[Endpoint]
    _by_path: dict[str, Endpoint] = field(init=False)
    _admitted: dict[_Admitted, ApiKey | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._by_path = {endpoint.path: endpoint for endpoint in self.endpoints}

    @property
    def n_calls(self) -> int:
        """Calls under way; open endpoints do not count."""
        return len(self._admitted)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Called by gRPC for every call. None: there is no such method."""
        endpoint = self._by_path.get(handler_call_details.method)
        return None if endpoint is None else grpc.stream_stream_rpc_method_handler(partial(self._serve, endpoint))

    def end_all(self, why: RefusalError) -> None:
        """End every call under way."""
        for admitted in self._admitted:
            _end(admitted, why)

    def end_revoked(self) -> None:
        """End the calls whose key was taken away since they began."""
        keys = self.host.keys
        if keys is not None:
            held = {admitted: key for admitted, key in self._admitted.items() if key is not None}
            for admitted in keys.revoked(held):
                _end(admitted, RefusalError(Reason.API_KEY_INVALID, "the API key was revoked."))

    async def _serve(self, endpoint: Endpoint, _: object, context: Context) -> None:
        """One call, from its first byte to its status."""
        fields: Fields = {"rpc": endpoint.method, "peer": context.peer(), "code": "OK"}
        begun = self.host.clock.now()
        try:
            await self._run(endpoint, context, fields)
        except ClientGoneError:
            fields["code"] = "CANCELLED"
        except asyncio.CancelledError:
            fields["code"] = "CANCELLED"
            raise
        except grpc.aio.AbortError:  # by Call.fail
            raise
        except Exception as error:  # what is no refusal is a fault of the server, and told so
            await self._refuse(context, error, fields)
        finally:
            if not endpoint.is_open:
                fields["seconds"] = self.host.clock.now() - begun
                log_event(_log, logging.INFO, "call_ended", **fields)

    async def _run(self, endpoint: Endpoint, context: Context, fields: Fields) -> None:
        host = self.host
        size, patience = SizeLimit(endpoint.max_request_bytes), host.settings.read_timeout
        if endpoint.is_open:
            await _behave(endpoint, Call(context, endpoint.request_type, Caller(None, context.peer()), size, patience))
            return
        key = None if host.keys is None else host.keys.authenticate(context.invocation_metadata() or ())
        caller = Caller(None if key is None else key.name, context.peer(), key)
        if caller.key is not None:
            fields["key"] = caller.key
        with self._admit():
            task = asyncio.current_task()
            assert task is not None, "gRPC runs every call in a task"
            admitted = _Admitted(task)
            self._admitted[admitted] = key
            try:
                await _behave(endpoint, Call(context, endpoint.request_type, caller, size, patience))
            except asyncio.CancelledError:
                if admitted.end is None:
                    raise
                task.uncancel()
                raise admitted.end from None
            finally:
                del self._admitted[admitted]

    def _admit(self) -> Lease:
        """Room for a call. Raises RefusalError."""
        host = self.host
        if host.drain.begun.is_set():
            raise RefusalError(Reason.DRAINING, "the server shuts down; go to another.")
        if not host.ready:
            raise RefusalError(Reason.NOT_READY, "the server warms up; try again soon.", RETRY_SECONDS)
        return host.quotas.call()

    async def _refuse(self, context: Context, error: Exception, fields: Fields) -> None:
        status = status_of_failure(error.failure) if isinstance(error, AnswerFailedError) else status_of_error(error)
        fields["code"] = next(code.name for code in grpc.StatusCode if code.value[0] == status.code)
        if isinstance(error, RefusalError):
            fields["reason"] = error.reason.name
        else:
            fields["error"] = type(error).__name__
        with suppress(TimeoutError, grpc.aio.InternalError, grpc.aio.UsageError):  # nobody reads, or is there
            async with asyncio.timeout(ABORT_SECONDS):
                await abort(context, status)


async def _behave(endpoint: Endpoint, call: Call[Any, Any]) -> None:
    try:
        await endpoint.behaviour(call)
    finally:
        call.close()


def _end(admitted: _Admitted, why: RefusalError) -> None:
    if admitted.end is None:
        admitted.end = why
        admitted.task.cancel()
