"""How busy the engine was, interval after interval, as the log tells it."""

from typing import Final

from antiphon.engine.loop_seconds import LoopSeconds
from antiphon.engine.service.logs import Fields

_DIGITS: Final = 4  # of shares and seconds


class Utilisation:
    """Holds the loop's seconds of the last interval's end against those of the next."""

    def __init__(self, now: float, seconds: LoopSeconds) -> None:
        """The first interval begins `now`, in seconds of any clock; `seconds` were the loop's by then."""
        self._now = now
        self._seconds = seconds

    def told(self, now: float, seconds: LoopSeconds, dialogues: int) -> Fields | None:
        """What to log of the interval that ends `now`; None: nothing ran in it. `dialogues` are open at its end."""
        length, spent = now - self._now, seconds.since(self._seconds)
        self._now, self._seconds = now, seconds
        if not spent.work or length <= 0:
            return None
        return {
            "seconds": round(length, _DIGITS),
            "dialogues": dialogues,
            "hear_share": round(spent.hear / length, _DIGITS),
            "think_share": round(spent.think / length, _DIGITS),
            "solve_share": round(spent.solve / length, _DIGITS),
            "vocode_share": round(spent.vocode / length, _DIGITS),
            "clips_share": round(spent.clips / length, _DIGITS),
            "other_share": round(spent.other / length, _DIGITS),
        }
