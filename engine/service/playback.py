"""How much of one answer was heard: by its player's reports, else by the clock.

By the clock, a player plays what it gets at once and without a break; so nothing was heard later than that. Reports say
it better, and by these rules no report can do harm:

    of another answer                     ignored
    a position behind the last report     ignored; if it says `stopped`, the last report's position counts
    past what was sent, or what the       taken for the furthest possible
      clock says could have been played
    anything after `stopped`              ignored

A report counts for `FRESH_SECONDS`. Then the clock tells again, and what it tells is an estimate. The end of what was
sent and a stop stay known for ever.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

from antiphon.engine.timeline import WireSample

FRESH_SECONDS: Final = 1.0  # a report may be this old; players are asked for one about every 0.2 s
_ROUNDING: Final = 1e-3  # of a sample: what seconds in floating point may lack after weeks of uptime


class ReportOutcome(Enum):
    """What became of a report."""

    TAKEN = "taken"
    LIMITED = "limited"  # its position was not possible, and is taken for the furthest that is
    OTHER_ANSWER = "other_answer"
    BACKWARDS = "backwards"
    AFTER_STOP = "after_stop"


@dataclass(frozen=True)
class Heard:
    """How much of an answer was heard."""

    position: WireSample  # one past the last sample heard
    estimated: bool  # True where the clock told


class Playback:
    """The playback of one answer at `rate` Hz. Times are seconds of one clock, and never go back."""

    def __init__(self, response_id: str, rate: int) -> None:
        self.response_id = response_id
        self.sent = WireSample(0)
        self._rate = rate
        self._run_start = -math.inf  # when playback last began after it had run dry
        self._run_samples = 0  # sent since
        self._reported: WireSample | None = None
        self._reported_at = -math.inf
        self._stopped = False

    def add_sent(self, samples: int, now: float) -> None:
        """`samples` more go to the player."""
        if self._dry_at <= now:
            self._run_start, self._run_samples = now, 0
        self._run_samples += samples
        self.sent = WireSample(self.sent + samples)

    def lead(self, now: float) -> int:
        """Samples sent that are not played yet, by the clock, rounded up."""
        if self._dry_at <= now:
            return 0
        played = (now - self._run_start) * self._rate
        return self._run_samples - int(played + _ROUNDING)

    def report(self, response_id: str, played: int, stopped: bool, now: float) -> ReportOutcome:
        """The player says that it has played `played` samples of an answer and, with `stopped`, will play no more."""
        if response_id != self.response_id:
            return ReportOutcome.OTHER_ANSWER
        if self._stopped:
            return ReportOutcome.AFTER_STOP
        self._stopped = stopped
        if played < (self._reported or 0):
            return ReportOutcome.BACKWARDS
        furthest = self._by_clock(now)
        self._reported, self._reported_at = WireSample(min(played, furthest)), now
        return ReportOutcome.TAKEN if played <= furthest else ReportOutcome.LIMITED

    def heard(self, now: float) -> Heard:
        """What was heard until now. A report may tell less than the clock did before it."""
        if self._stopped:
            return Heard(self._reported or WireSample(0), estimated=False)
        if self._reported is not None and (self._reported == self.sent or self._is_fresh(now)):
            return Heard(self._reported, estimated=False)
        return Heard(self._by_clock(now), estimated=self.sent > 0)

    def seconds_left(self, now: float) -> float:
        """Until all that was sent was heard, at the latest, unless a report or more audio comes; 0: it was."""
        if self._stopped or self.heard(now).position == self.sent:
            return 0.0
        stale_at = self._reported_at + FRESH_SECONDS if self._is_fresh(now) else now
        return max(self._dry_at, stale_at) - now

    @property
    def _dry_at(self) -> float:
        return self._run_start + self._run_samples / self._rate

    def _is_fresh(self, now: float) -> bool:
        return now - self._reported_at < FRESH_SECONDS

    def _by_clock(self, now: float) -> WireSample:
        return WireSample(self.sent - self.lead(now))
