"""What the engine loop's time goes to."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class LoopSeconds:
    """Seconds since the loop's start, by the injected clock; on a GPU forwards by its own events, once they are over.

    There the two lanes overlap, and the loop goes on while they are at work: the parts may be more than `steps`.
    """

    hear: float = 0.0  # packed forwards of the speech encoder
    think: float = 0.0  # of the LM
    solve: float = 0.0  # of the flow: its encoder, and the Euler steps
    vocode: float = 0.0  # of the vocoder
    clips: float = 0.0  # rounds of whole clips, all their stages together
    steps: float = 0.0  # all steps of the loop, the above included

    @property
    def work(self) -> float:
        """All forwards, and the clips."""
        return self.hear + self.think + self.solve + self.vocode + self.clips

    @property
    def other(self) -> float:
        """Of the steps, what was no such work: taking in, planning, events. On a GPU at least this much."""
        return max(0.0, self.steps - self.work)

    def since(self, earlier: "LoopSeconds") -> "LoopSeconds":
        """What came after an earlier reading."""
        return LoopSeconds(*(getattr(self, one.name) - getattr(earlier, one.name) for one in fields(self)))
