"""Time, handed in from outside so that tests and the simulator can run on a virtual clock."""

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """A clock that never goes backwards."""

    def now(self) -> float:
        """Seconds since an arbitrary start."""


class MonotonicClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


@dataclass
class VirtualClock:
    """A clock that stands still until it is moved."""

    seconds: float = 0.0  # never decreases

    def now(self) -> float:
        """Seconds since the clock was made."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds` ≥ 0."""
        if seconds < 0:
            raise ValueError(f"a clock cannot go back: asked to advance by {seconds} s.")
        self.seconds += seconds
