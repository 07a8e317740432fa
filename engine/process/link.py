"""Messages over a stream socket: frames with a length before them, on an asyncio loop."""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from antiphon.engine.process.codec import Codec, UnreadableMessageError

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024  # a turn of a minute at 48 kHz has 11 MiB
MAX_UNSENT_BYTES: Final = 64 * 1024 * 1024  # whoever leaves more unread is cut off
_LENGTHS: Final = struct.Struct("<II")  # bytes of the JSON, bytes of the samples behind it

_log = logging.getLogger(__name__)


class Frames:
    """Bytes as they come in, messages out."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that are whole now. Raises UnreadableMessageError; nothing more can be read then."""
        self._buffer += data
        start = 0
        while (end := self._end_of_frame(start)) is not None:
            with memoryview(self._buffer) as buffer:
                head_end = start + _LENGTHS.size + _LENGTHS.unpack_from(buffer, start)[0]
                head = bytes(buffer[start + _LENGTHS.size : head_end])
                with memoryview(bytes(buffer[head_end:end])) as samples:
                    message = self._codec.decode(head, samples)
            start = end
            yield message
        del self._buffer[:start]

    def _end_of_frame(self, start: int) -> int | None:
        if len(self._buffer) < start + _LENGTHS.size:
            return None
        head, samples = _LENGTHS.unpack_from(self._buffer, start)
        if head + samples > MAX_FRAME_BYTES:
            raise UnreadableMessageError(f"a frame of {head + samples} bytes; the limit is {MAX_FRAME_BYTES}.")
        end: int = start + _LENGTHS.size + head + samples
        return end if end <= len(self._buffer) else None


def frame(codec: Codec, message: object) -> list[bytes | memoryview]:
    """A message as the pieces of its frame."""
    head, samples = codec.encode(message)
    return [_LENGTHS.pack(len(head), sum(map(len, samples))) + head, *samples]


def receive(connection: socket.socket, codec: Codec) -> Any:
    """Wait for one message, and take no byte beyond it. None: the other side has ended without one."""
    lengths = _receive_bytes(connection, _LENGTHS.size)
    if lengths is None:
        return None
    rest = _receive_bytes(connection, sum(_LENGTHS.unpack(lengths)))
    return None if rest is None else next(Frames(codec).feed(lengths + rest))


def _receive_bytes(connection: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            return None
        data += piece
    return data


class Link(asyncio.Protocol):
    """One end of a connection. Used on one asyncio loop."""

    def __init__(
        self,
        codec: Codec,
        on_message: Callable[[Any], None],
        on_lost: Callable[[], None],
    ) -> None:
        """`on_lost` is called once, whichever side ends it."""
        self._codec = codec
        self._frames = Frames(codec)
        self._on_message = on_message
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._is_over = False

    @property
    def is_open(self) -> bool:
        """Whether messages go through."""
        return self._transport is not None and not self._is_over

    def send(self, message: object) -> None:
        """Send a message; where the link is over it is dropped. A peer that leaves too much unread is cut off."""
        if self._transport is None or self._is_over:
            return
        self._transport.writelines(frame(self._codec, message))
        if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            _log.error("a link's other side does not read")
            self.abort()

    def abort(self) -> None:
        """End it now; what was not sent is dropped, and no message comes out any more."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            for message in self._frames.feed(data):
                if self._is_over:
                    return
                self._on_message(message)
        except UnreadableMessageError as error:
            _log.error("a link's other side cannot be understood", exc_info=error)
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self._end()

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._on_lost()
