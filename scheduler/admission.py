"""Whether one more call can be carried: from measured stage times, before any work is done for it.

A dialogue loads the machine by what a second of its speech costs and by the share of its time in which it speaks. The
estimate errs towards refusal: times per LM row fall as the batch grows, and they are taken as of the batch now.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, isfinite
from typing import Final, Literal, get_args

from antiphon.scheduler.settings import Costs

Stage = Literal["lm_row", "prefill_token", "solve_frame", "vocode_frame", "encode_frame"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
LM_STAGES: Final[tuple[Stage, ...]] = ("lm_row", "prefill_token")


@dataclass
class StageTimes:
    """Seconds that a unit of each stage's work takes: moving averages, in which a measurement weighs less with age."""

    weight: float = 0.05  # of the newest measurement, in (0, 1]
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
            known = self.seconds.get(stage, seconds / units)
            self.seconds[stage] = known + self.weight * (seconds / units - known)

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


@dataclass(frozen=True)
class Demand:
    """What one dialogue asks for: units of each stage's work in a second of its time, silence included."""

    units: Mapping[Stage, float]

    @classmethod
    def of_speech(
        cls,
        *,
        speaking_share: float,  # of a dialogue's time in which its answer is played
        solve_units: float,  # of flow a second of answer, all Euler steps and prompts
        lm_rows: float = 18.75,  # a second of answer: 12.5 speech ids and half as many of text
        frames: float = 22_050 / 256,  # a second of answer
        prefill_tokens: float = 12.5,  # a second of listening
        encode_frames: float = 100.0,  # a second of listening
    ) -> "Demand":
        """Of a dialogue that listens while it does not speak."""
        if not 0 <= speaking_share <= 1:
            raise ValueError(f"speaking_share is {speaking_share}; expected 0 to 1")
        listening = 1 - speaking_share
        return cls(
            {
                "lm_row": speaking_share * lm_rows,
                "solve_frame": speaking_share * solve_units,
                "vocode_frame": speaking_share * frames,
                "prefill_token": listening * prefill_tokens,
                "encode_frame": listening * encode_frames,
            }
        )


@dataclass(frozen=True)
class Decision:
    """Admitted, or when to ask again."""

    utilisation: float  # of the machine, with the call admitted; 1 is all of it
    retry_after: float | None  # seconds; None: admitted

    @property
    def admitted(self) -> bool:
        return self.retry_after is None


@dataclass(frozen=True)
class Admission:
    """How full the machine may get."""

    most: float = 0.85  # utilisation up to which calls are admitted: the rest is for what comes in bursts
    parallel: bool = False  # the LM and the other stages run beside each other, as on two CUDA streams
    call_seconds: float = 180.0  # how long a call lasts, on average
    shortest_retry: float = 1.0
    longest_retry: float = 60.0

    def decide(self, times: StageTimes, demand: Demand, dialogues: int) -> Decision:
        """Whether one more fits beside `dialogues` open ones. What was not measured yet is free."""
        each = self._load(times, demand)
        utilisation = each * (dialogues + 1)
        if utilisation <= self.most or dialogues == 0:  # an empty machine does what it can
            return Decision(utilisation, None)
        excess = max(1, dialogues + 1 - int(self.most / each))
        return Decision(utilisation, self._until_gone(excess, dialogues))

    def _load(self, times: StageTimes, demand: Demand) -> float:
        """Seconds of the machine that a second of one dialogue takes."""
        loads = {stage: units * times.seconds.get(stage, 0.0) for stage, units in demand.units.items()}
        lm = sum(load for stage, load in loads.items() if stage in LM_STAGES)
        others = sum(loads.values()) - lm
        return max(lm, others) if self.parallel else lm + others

    def _until_gone(self, calls: int, dialogues: int) -> float:
        """Whole seconds in which so many of the open calls end, on average."""
        seconds = ceil(self.call_seconds * calls / dialogues)
        return float(min(max(seconds, self.shortest_retry), self.longest_retry))
