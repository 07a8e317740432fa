"""A dialogue's events on their way to its client, kept for a while so that a new call can go on where one broke off.

An event gets its number when a call takes it to be sent. What was not taken yet can still be withdrawn, so that nothing
of an answer follows its interruption and the numbers stay without gaps.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.engine.service.wire_events import response_of
from antiphon.v1.dialogue_pb2 import ConverseResponse

FULL_BYTES: Final = 256 * 1024  # of events not taken yet: whoever can wait adds no more


class EventLog:
    """First in, first out; one call at a time reads it. Used on one asyncio loop."""

    def __init__(self, kept_bytes: int) -> None:
        """Of the events that were taken, the last ones are kept, `kept_bytes` of them in all; 0: none."""
        self.last_sequence = 0  # the number of the last event that was taken
        self.on_room: Callable[[], None] = lambda: None  # called when there is room again
        self._kept_bytes = kept_bytes
        self._kept: deque[ConverseResponse] = deque()  # numbers up to `last_sequence`, without gaps
        self._kept_size = 0
        self._waiting: deque[ConverseResponse] = deque()  # not taken, without a number
        self._waiting_size = 0
        self._next: int | None = None  # what the call under way takes next; None: there is no call
        self._changed = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether a call reads, and keeps up: where it does not, audio is better made later."""
        return self._next is not None and self._waiting_size < FULL_BYTES

    @property
    def is_drained(self) -> bool:
        """Whether everything was taken."""
        return not self._waiting and (self._next is None or self._next > self.last_sequence)

    def append(self, event: ConverseResponse) -> None:
        """Tell the client."""
        self._waiting.append(event)
        self._waiting_size += event.ByteSize()
        self._changed.set()

    def withdraw(self, response_id: str) -> None:
        """The answer was cut: its text and audio that were not taken yet go no further."""
        self._waiting = deque(event for event in self._waiting if response_of(event) != response_id)
        self._waiting_size = sum(event.ByteSize() for event in self._waiting)
        self._changed.set()
        self.on_room()

    def check(self, last_sequence: int) -> None:
        """Raises RefusalError (EVENTS_LOST) unless all events after `last_sequence` are at hand."""
        first = self.last_sequence + 1 - len(self._kept)
        if not first - 1 <= last_sequence <= self.last_sequence:
            raise RefusalError(
                Reason.EVENTS_LOST,
                f"the last event you have is {last_sequence}; the dialogue can go on after {first - 1} to "
                f"{self.last_sequence}. Build it up again from its history.",
            )

    def open(self, last_sequence: int = 0) -> None:
        """A call begins to read, after `last_sequence`, which is let go with all before it. Raises as `check`."""
        self.check(last_sequence)
        while self._kept and self.last_sequence - len(self._kept) < last_sequence:
            self._kept_size -= self._kept.popleft().ByteSize()
        self._next = last_sequence + 1
        self._changed.set()
        self.on_room()

    def close(self) -> None:
        """The call reads no more."""
        self._next = None

    async def take(self) -> ConverseResponse:
        """The next event, once there is one. Taken is as good as sent: a resume gives it again."""
        while (event := self._take_now()) is None:
            self._changed.clear()
            await self._changed.wait()
        return event

    async def wait_for_room(self) -> None:
        """Return once there is room, or no call any more."""
        while self._next is not None and not self.has_room:
            self._changed.clear()
            await self._changed.wait()

    async def wait_until_drained(self) -> None:
        """Return once everything was taken."""
        while not self.is_drained:
            self._changed.clear()
            await self._changed.wait()

    def _take_now(self) -> ConverseResponse | None:
        assert self._next is not None, "a log is read between open and close"
        if self._next <= self.last_sequence:
            event = self._kept[self._next - self.last_sequence - 1]
        elif self._waiting:
            had_room = self.has_room
            event = self._waiting.popleft()
            self._waiting_size -= event.ByteSize()
            self.last_sequence += 1
            event.event_sequence = self.last_sequence
            self._keep(event)
            if not had_room and self.has_room:
                self.on_room()
        else:
            return None
        self._next += 1
        self._changed.set()
        return event

    def _keep(self, event: ConverseResponse) -> None:
        if not self._kept_bytes:
            return
        self._kept.append(event)
        self._kept_size += event.ByteSize()
        while self._kept_size > self._kept_bytes:
            self._kept_size -= self._kept.popleft().ByteSize()
