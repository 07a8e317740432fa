"""Who is let in: as many dialogues as the engines carry in time, by what they have told of themselves last.

Nothing is asked and nothing read for it, so that a no comes at once, and costs those who are in nothing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from antiphon.engine.service.quotas import Lease
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.scheduler.admission import Admission, Occupancy
from antiphon.scheduler.placement import ranked


class Door:
    """Of one server. Used on its asyncio loop alone."""

    def __init__(self, max_utilisation: float) -> None:
        """`max_utilisation`: of an engine's time; 0: whoever comes is let in."""
        self._admission = Admission.up_to(max_utilisation)
        self._entering: Counter[int] = Counter()  # by engine: were let in, and it does not count them yet

    def enter(self, engines: Sequence[Occupancy | None]) -> Lease:
        """A dialogue comes in; release the lease once an engine has it, or it has failed. None: of that engine nothing
        is known.

        Raises RefusalError (SERVER_FULL) where none of the engines has time for it.
        """
        known = {
            place: replace(engine, dialogues=engine.dialogues + self._entering[place])
            for place, engine in enumerate(engines)
            if engine is not None
        }
        if not known:
            return Lease(lambda: None)
        place = list(known)[ranked(list(known.values()), self._admission)[0]]
        decision = self._admission.decide(known[place])
        if not decision.admitted:
            raise RefusalError(
                Reason.SERVER_FULL,
                f"{known[place].dialogues} dialogues are open{' on the freest engine' if len(known) > 1 else ''}, and "
                f"with one more they could ask for {decision.utilisation:.0%} of the engine's time; the limit is "
                f"{self._admission.most:.0%}. Try later.",
                decision.retry_after,
            )
        self._entering[place] += 1
        return Lease(partial(self._entered, place))

    def _entered(self, place: int) -> None:
        self._entering[place] -= 1
