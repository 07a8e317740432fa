"""One answer in packets, sent no further ahead of its playback than is allowed: what is not sent costs nothing when the
caller interrupts, and a player needs no large buffer."""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from antiphon.engine.errors import InputError
from antiphon.engine.service.playback import Playback
from antiphon.engine.timeline import WireSample
from antiphon.engine.types import Float32Array

SHORTEST_PACKET: Final = 20  # ms
LONGEST_PACKET: Final = 200  # ms
_NANOSECONDS: Final = 1_000_000_000


def packet_samples(nanoseconds: int, rate: int) -> int:
    """Whole samples in a packet of that length at `rate` Hz, rounded down. Raises InputError unless 20 to 200 ms."""
    if not SHORTEST_PACKET * 1_000_000 <= nanoseconds <= LONGEST_PACKET * 1_000_000:
        raise InputError(
            f"a packet of {nanoseconds / 1e6:g} ms; expected {SHORTEST_PACKET} to {LONGEST_PACKET} ms of audio."
        )
    return nanoseconds * rate // _NANOSECONDS


@dataclass(frozen=True)
class Packet:
    """A piece of the answer, to be sent now."""

    samples: Float32Array  # [n] at the wire's rate: all packets are as long, but the answer's last may be shorter
    sample_offset: WireSample  # of the first of them, within the answer


class Pacer:
    """Takes one answer's samples at the wire's rate as they are made, and gives them out in packets when they are due.

    Times are seconds of one clock, and never go back.
    """

    def __init__(self, playback: Playback, rate: int, packet: int, max_lead: float | None) -> None:
        """Packets of `packet` samples, sent at most `max_lead` seconds ahead; None: as fast as they are taken.

        One packet may always be ahead, however small `max_lead` is.
        """
        self.playback = playback
        self._rate = rate
        self._packet = packet
        self._max_lead = None if max_lead is None else max(packet, int(max_lead * rate))
        self._pieces: deque[Float32Array] = deque()
        self._waiting = 0  # samples in `_pieces`
        self._is_finished = False

    @property
    def waiting_samples(self) -> int:
        """Samples that were pushed and not yet sent."""
        return self._waiting

    @property
    def is_done(self) -> bool:
        """Whether the answer is finished and all of it was sent, or it was cleared."""
        return self._is_finished and not self._waiting

    def push(self, samples: Float32Array) -> None:
        """More of the answer: f32[n], kept and not copied. After `finish` or `clear` it is dropped."""
        if not self._is_finished and samples.size:
            self._pieces.append(samples)
            self._waiting += samples.size

    def finish(self) -> None:
        """The answer has no more samples: what does not fill a packet goes out as it is."""
        self._is_finished = True

    def clear(self) -> int:
        """The answer was cut: nothing of it goes out any more. Returns how many samples never did."""
        unsent, self._waiting = self._waiting, 0
        self._pieces.clear()
        self._is_finished = True
        return unsent

    def next_due(self, now: float) -> float | None:
        """Seconds until `take` has a packet; None: not before more is pushed, or the answer finished."""
        size = self._next_size()
        if not size:
            return None
        if self._max_lead is None:
            return 0.0
        return max(0, self.playback.lead(now) + size - self._max_lead) / self._rate

    def take(self, now: float) -> Packet | None:
        """The packet that is due, which counts as sent; None: none is."""
        if self.next_due(now) != 0:
            return None
        packet = Packet(self._cut(self._next_size()), self.playback.sent)
        self.playback.add_sent(packet.samples.size, now)
        return packet

    def _next_size(self) -> int:
        if self._waiting >= self._packet:
            return self._packet
        return self._waiting if self._is_finished else 0

    def _cut(self, count: int) -> Float32Array:
        self._waiting -= count
        cut = []
        while count:
            piece = self._pieces.popleft()
            if piece.size > count:
                self._pieces.appendleft(piece[count:])
                piece = piece[:count]
            cut.append(piece)
            count -= piece.size
        return cut[0] if len(cut) == 1 else np.concatenate(cut)
