"""Signs of life, and their absence.

Every `PULSE_SECONDS` a process says that it lives; the engine adds how long the step that it is in has taken, which its
loop's thread notes down between steps. So a long step is told from a process that stands still, and a loop that hangs
from one that works. It adds how full it is, too, so that frontends refuse calls without asking.
"""

import math
from dataclasses import dataclass
from typing import Final

from antiphon.scheduler.admission import Occupancy

PULSE_SECONDS: Final = 0.25
_LATE: Final = 3  # pulses that did not come


@dataclass(frozen=True)
class Pulse:
    """The sender lives."""

    in_step: float | None = None  # seconds that the engine's loop has been in its present step; None: it waits
    occupancy: Occupancy | None = None  # of the engine; None: the sender is a frontend


class Vigil:
    """Counts its own ticks since the other side was last heard.

    Ticks and not the clock: whoever was himself held up, by a machine that slept or was busy, has not ticked meanwhile
    and blames nobody for it.
    """

    def __init__(self, patience: float) -> None:
        """`patience`: seconds of silence that are allowed, counted in whole ticks of PULSE_SECONDS."""
        self._allowed = math.ceil(patience / PULSE_SECONDS)
        self._missed = 0

    @property
    def is_late(self) -> bool:
        """Whether a sign of life is overdue, though not yet for too long."""
        return self._missed > _LATE

    def heard(self) -> None:
        """A sign of life came."""
        self._missed = 0

    def tick(self) -> bool:
        """To be called every PULSE_SECONDS. Whether the silence has lasted too long."""
        self._missed += 1
        return self._missed > self._allowed
