"""What a call has still to send, and what it sent and may have to send again after the line broke."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from antiphon.v1 import dialogue_pb2

UNSENT_BYTES: Final = 1 << 20  # of audio that wait for the line before `put` waits too
KEPT_BYTES: Final = 8 << 20  # of audio kept for a resume: a minute at 48 kHz, and some


@dataclass
class _Entry:
    request: dialogue_pb2.ConverseRequest
    start: int  # input sample at which it stands among the audio
    samples: int  # of audio; 0: another request
    received: bool = False  # by the server, as far as is known

    @property
    def makes_turn(self) -> bool:
        return self.request.WhichOneof("request") in ("commit_input", "text")


class Outbox:
    """Requests in their order, from the caller to the line.

    Where `keeps`, what was sent stays until the server is known to have it: audio by a position in an event or in
    SessionStarted, a turn by its TurnEnded or its refusal, everything before either with it.
    """

    def __init__(self, keeps: bool) -> None:
        self.next_sample = 0  # input sample: the next to be put
        self._keeps = keeps
        self._entries: deque[_Entry] = deque()
        self._sent = 0  # entries at the front that were given to the line
        self._unsent_bytes = 0
        self._kept_bytes = 0
        self._finished = False
        self._news = asyncio.Event()  # something to send
        self._room = asyncio.Event()  # little waits to be sent
        self._room.set()

    async def put(self, request: dialogue_pb2.ConverseRequest, samples: int = 0) -> None:
        """Add a request, with how many samples of audio it holds. Waits while too much audio has not been sent."""
        await self._room.wait()
        self._entries.append(_Entry(request, self.next_sample, samples))
        self.next_sample += samples
        self._unsent_bytes += len(request.audio.data)
        if self._unsent_bytes > UNSENT_BYTES:
            self._room.clear()
        self._news.set()

    def finish(self) -> None:
        """Nothing more will be put."""
        self._finished = True
        self._news.set()

    def drop_unsent(self) -> None:
        """What waits is not sent any more."""
        while len(self._entries) > self._sent:
            self.next_sample -= self._entries.pop().samples
        self._unsent_bytes = 0
        self._room.set()

    def release(self) -> None:
        """The call is over: nobody waits to put anything any more."""
        self._room.set()

    async def take(self) -> dialogue_pb2.ConverseRequest | None:
        """The next request for the line; None after the last."""
        while self._sent == len(self._entries):
            if self._finished:
                return None
            self._news.clear()
            await self._news.wait()
        entry = self._entries[self._sent]
        size = len(entry.request.audio.data)
        self._unsent_bytes -= size
        if self._unsent_bytes <= UNSENT_BYTES:
            self._room.set()
        if self._keeps:
            self._sent += 1
            self._kept_bytes += size
            self._forget_oldest()
        else:
            del self._entries[self._sent]
        return entry.request

    def audio_received(self, end: int) -> None:
        """The server has all audio before input sample `end`."""
        while self._sent and (first := self._entries[0]).samples and first.start + first.samples <= end:
            self._drop_first()

    def turn_received(self) -> None:
        """The server has answered for the first turn among those sent: it has that and everything before."""
        sent = list(self._entries)[: self._sent]
        turn = next((index for index, entry in enumerate(sent) if entry.makes_turn), None)
        for _ in range(0 if turn is None else turn + 1):
            self._drop_first()

    def resume_at(self, next_sample: int) -> None:
        """The server has the audio before `next_sample`, and so all that was sent before its last sample."""
        sent = list(self._entries)[: self._sent]
        reached = [index for index, entry in enumerate(sent) if entry.start < next_sample]
        for entry in sent[: reached[-1] + 1 if reached else 0]:
            missing = entry.start + entry.samples - next_sample
            if missing > 0:
                kept = entry.request.audio.data[-missing * (len(entry.request.audio.data) // entry.samples) :]
                entry.request = dialogue_pb2.ConverseRequest(audio=dialogue_pb2.AudioInput(data=kept))
                entry.start, entry.samples = next_sample, missing
            else:
                entry.received = True

    @property
    def is_uncertain(self) -> bool:
        """Whether a turn was sent of which only the events that were missed can tell if the server has it."""
        return any(entry.makes_turn and not entry.received for entry in list(self._entries)[: self._sent])

    def send_again(self, next_sample: int) -> int:
        """Put everything the server does not have before the line once more, from `next_sample` on.

        Returns how many samples of audio are lost: not received, and not kept.
        """
        # Turns that were received stay in the list: their events are still to come, and must not be taken for others'.
        received = [entry for entry in self._entries if entry.received and entry.makes_turn]
        waiting = [entry for entry in self._entries if not entry.received]
        position = next_sample
        for entry in waiting:
            entry.start = position
            position += entry.samples
        lost = self.next_sample - position
        self.next_sample = position
        self._entries = deque([*received, *waiting])
        self._sent = len(received)
        self._kept_bytes = 0
        self._unsent_bytes = sum(len(entry.request.audio.data) for entry in waiting)
        self._news.set()
        return lost

    def _drop_first(self) -> None:
        self._kept_bytes -= len(self._entries.popleft().request.audio.data)
        self._sent -= 1

    def _forget_oldest(self) -> None:
        index = 0
        while self._kept_bytes > KEPT_BYTES and index < self._sent:
            entry = self._entries[index]
            if entry.samples:
                self._kept_bytes -= len(entry.request.audio.data)
                self._sent -= 1
                del self._entries[index]
            else:
                index += 1
