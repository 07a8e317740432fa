"""How a stream ended, by what the server said.

grpc.aio loses that where a write fails because the server has ended the call: it puts an INTERNAL of its own in the
place of the status, be that there already or still to come (grpc/grpc#36066). Here the first of the two is noted in the
moment it arrives, and the other is waited for. The server's comes once all messages before it were read: to be done by
`async for`, since `read()` gives up before.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

PATIENCE: Final = 0.5  # seconds in which the server's own status follows one of grpc.aio's, if it ever does
_LOOK_EVERY: Final = 0.01  # seconds
_OF_GRPC_AIO: Final = "Internal error from Core"
_NONE: Final = grpc.aio.Metadata()
Value = TypeVar("Value")


class Ending:
    """Watches one stream. Create it before the first message is written."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._is_told = False  # by the server
        self._noted: grpc.aio.AioRpcError | None = None  # what it ended with, as far as is known; None: with OK
        stream.add_done_callback(self._note)

    async def error(self) -> grpc.aio.AioRpcError | None:
        """What the stream ended with; None: with OK. Only once it has ended."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + PATIENCE
        while not self._is_told and loop.time() < give_up_at:
            await asyncio.sleep(_LOOK_EVERY)
            self._note(self._stream)  # gRPC does not always call back a second time
        return self._noted

    def _note(self, stream: Any) -> None:
        if self._is_told:
            return
        code, details = _value_of(stream.code()), _value_of(stream.details())
        self._is_told = details != _OF_GRPC_AIO
        if code is grpc.StatusCode.OK:
            self._noted = None
        else:
            trailing = grpc.aio.Metadata(*(_value_of(stream.trailing_metadata()) or ()))
            self._noted = grpc.aio.AioRpcError(code, _NONE, trailing, details)


def _value_of(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """The result of a coroutine that has nothing to wait for. A task would look when the status is another."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        value: Value = finished.value
        return value
    coroutine.close()
    raise AssertionError("a stream that is done knows its status")
