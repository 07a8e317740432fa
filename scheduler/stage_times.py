"""What each stage's work takes, from measured forwards: moving averages, and a line where a batch has a price."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Final, Literal, get_args

from antiphon.scheduler.settings import Costs

Stage = Literal["lm_row", "prefill_token", "solve_frame", "vocode_frame", "encode_frame"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
_WEIGHT: Final = 0.05  # of the newest measurement
_MOST_TIMES: Final = 4.0  # a measurement counts as no more than this many times what is known: a hiccup is no trend


@dataclass
class StageTimes:
    """Seconds that a unit of each stage's work takes: moving averages, in which a measurement weighs less with age."""

    weight: float = _WEIGHT  # of the newest measurement, in (0, 1]
    squared_share: float = 0.0  # an Euler step of T frames is T + squared_share · T² units of solve_frame
    seconds: dict[Stage, float] = field(default_factory=dict)  # stages not measured yet are missing

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise ValueError(f"weight is {self.weight}; expected more than 0 and at most 1")
        if not self.squared_share >= 0:
            raise ValueError(f"squared_share is {self.squared_share}; expected 0 or more")

    def observe(self, stage: Stage, units: float, seconds: float) -> None:
        """A forward did `units` of a stage's work in `seconds`. One without units says nothing."""
        if not (isfinite(units) and isfinite(seconds) and units >= 0 and seconds >= 0):
            raise ValueError(f"{units} units of {stage} in {seconds} seconds; expected finite numbers of at least 0")
        if units > 0:
            each = seconds / units
            known = self.seconds.get(stage, each)
            if known > 0:
                each = min(each, _MOST_TIMES * known)
            self.seconds[stage] = known + self.weight * (each - known)

    def solve_units(self, frames: int) -> float:
        """Units of one Euler step of a row."""
        return frames + self.squared_share * frames**2

    def costs(self) -> Costs:
        """What the planner counts with; 0 where nothing was measured yet."""
        solve_frame = self.seconds.get("solve_frame", 0.0)
        return Costs(
            **{stage: self.seconds.get(stage, 0.0) for stage in STAGES},
            solve_frame_squared=self.squared_share * solve_frame,
        )


@dataclass
class BatchTime:
    """`base + each · units` seconds of a forward, by least squares in which a measurement weighs less with age.

    Of an LM step most is the base, which reads the weights for however many rows. As long as all batches are of one
    size nothing is known of a row's own price, and `each` is 0.
    """

    weight: float = _WEIGHT  # of the newest measurement, in (0, 1]
    _units: float | None = None  # moving averages; None: nothing was measured
    _seconds: float = 0.0
    _spread: float = 0.0  # variance of the units
    _shared: float = 0.0  # covariance of units and seconds

    def observe(self, units: float, seconds: float) -> None:
        """A forward of `units` > 0 took `seconds`."""
        if self._units is None:
            self._units, self._seconds = units, seconds
        if self._seconds > 0:
            seconds = min(seconds, _MOST_TIMES * self._seconds)
        more_units, more_seconds = units - self._units, seconds - self._seconds
        self._units += self.weight * more_units
        self._seconds += self.weight * more_seconds
        self._spread = (1 - self.weight) * (self._spread + self.weight * more_units**2)
        self._shared = (1 - self.weight) * (self._shared + self.weight * more_units * more_seconds)

    @property
    def each(self) -> float:
        """Seconds that one more unit takes: 0 or more, and no more than its share of the forward."""
        if self._units is None or self._spread == 0:
            return 0.0
        return min(max(0.0, self._shared / self._spread), self._seconds / self._units)

    def of(self, units: float) -> float:
        """Seconds of a forward of so many units; 0 where nothing was measured."""
        return 0.0 if self._units is None else max(0.0, self._seconds + self.each * (units - self._units))
