"""Whether one more call can be carried: from measured stage times, before any work is done for it.

A dialogue loads the machine by what a second of its speech costs and by the share of its time in which it speaks. Each
is as likely to speak at one moment as at another, so that at times more of them speak at once than do on average, the
more so the fewer they are: counted is what 99 moments of 100 stay below. The estimate errs towards refusal: times per
LM row fall as the batch grows, and they are taken as of the batch now.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import Final

from antiphon.scheduler.stage_times import Stage, StageTimes

LM_STAGES: tuple[Stage, ...] = ("lm_row", "prefill_token")
SPEAKING_SHARE: Final = 0.5  # of a dialogue's time in which its answer is played
_DEVIATIONS: Final = 2.33  # of the normal distribution: what 99 of 100 stay below


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
        encode_frames: float = 50.0,  # a second of listening
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

    def load(self, times: StageTimes, parallel: bool = False) -> float:
        """Seconds of the machine that a second of one dialogue takes; what was not measured yet is free.

        `parallel`: the LM and the other stages run beside each other, as on two CUDA streams; the fuller one counts.
        """
        loads = {stage: units * times.seconds.get(stage, 0.0) for stage, units in self.units.items()}
        lm = sum(load for stage, load in loads.items() if stage in LM_STAGES)
        others = sum(loads.values()) - lm
        return max(lm, others) if parallel else lm + others


@dataclass(frozen=True)
class Occupancy:
    """How full a machine is."""

    dialogues: int  # open
    each: float  # seconds of the machine that a second of one takes on average, by late measures; 0: not known
    clips: int = 0  # under way, apart from any dialogue
    places: int = 2**31 - 1  # for dialogues


@dataclass(frozen=True)
class Decision:
    """Admitted, or when to ask again."""

    utilisation: float  # of the machine, with the call admitted, that 99 moments of 100 stay below; 1 is all of it
    retry_after: float | None  # seconds; None: admitted

    @property
    def admitted(self) -> bool:
        return self.retry_after is None


@dataclass(frozen=True)
class Admission:
    """How full the machine may get."""

    most: float = 0.85  # utilisation up to which calls are admitted; the rest: prompts, and what measures miss
    call_seconds: float = 180.0  # how long a call lasts, on average
    shortest_retry: float = 1.0
    longest_retry: float = 60.0

    @classmethod
    def up_to(cls, most: float) -> "Admission":
        """0: whoever comes is admitted."""
        return cls(most=most or inf)

    def decide(self, now: Occupancy) -> Decision:
        """Whether one more fits beside the open ones."""
        speaking_each = now.each / SPEAKING_SHARE  # listening takes next to nothing
        utilisation = speaking_each * most_at_once(now.dialogues + 1)
        if utilisation <= self.most or now.dialogues == 0:  # an empty machine does what it can
            return Decision(utilisation, None)
        excess = max(1, now.dialogues + 1 - dialogues_of(self.most / speaking_each))
        return Decision(utilisation, self._until_gone(excess, now.dialogues))

    def _until_gone(self, calls: int, dialogues: int) -> float:
        """Whole seconds in which so many of the open calls end, on average."""
        seconds = ceil(self.call_seconds * calls / dialogues)
        return float(min(max(seconds, self.shortest_retry), self.longest_retry))


def most_at_once(dialogues: int) -> float:
    """How many of so many dialogues speak at once, which 99 moments of 100 stay below: a binomial's normal bound."""
    deviation = sqrt(dialogues * SPEAKING_SHARE * (1 - SPEAKING_SHARE))
    return min(dialogues, SPEAKING_SHARE * dialogues + _DEVIATIONS * deviation)


def dialogues_of(speaking: float) -> int:
    """The other way round: of how many dialogues no more than so many speak at once."""
    spread = _DEVIATIONS * sqrt(SPEAKING_SHARE * (1 - SPEAKING_SHARE))
    root = (sqrt(spread**2 + 4 * SPEAKING_SHARE * speaking) - spread) / (2 * SPEAKING_SHARE)
    return max(int(speaking), int(root**2))
