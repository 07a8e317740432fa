"""The end of the service in good order: no new turns, the answers under way are finished, time is limited."""

import asyncio
from dataclasses import dataclass, field

from antiphon.engine.clock import Clock


@dataclass(eq=False)
class Drain:
    """Whether the service is on its way out. Used on the service's asyncio loop alone."""

    clock: Clock
    begun: asyncio.Event = field(default_factory=asyncio.Event)  # a call that waits for it tells its client GoAway
    deadline: float | None = None  # by `clock`; set once `begun` is

    def begin(self, timeout: float) -> None:
        """Answers under way have `timeout` seconds from now. A second time it can only become sooner."""
        deadline = self.clock.now() + timeout
        self.deadline = deadline if self.deadline is None else min(self.deadline, deadline)
        self.begun.set()

    @property
    def time_left(self) -> float:
        """Seconds until every call ends, 0 or more. Only once it has begun."""
        assert self.deadline is not None, "the drain has not begun"
        return max(0.0, self.deadline - self.clock.now())
