"""Who is let in: as many dialogues as the engine carries in time, by what it has told of itself last.

Nothing is asked and nothing read for it, so that a no comes at once, and costs those who are in nothing.
"""

from antiphon.engine.service.quotas import Lease
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.scheduler.admission import Admission, Occupancy


class Door:
    """Of one server. Used on its asyncio loop alone."""

    def __init__(self, max_utilisation: float) -> None:
        """`max_utilisation`: of the engine's time; 0: whoever comes is let in."""
        self._admission = Admission(most=max_utilisation) if max_utilisation else None
        self._entering = 0  # were let in, and the engine does not count them yet

    def enter(self, occupancy: Occupancy | None) -> Lease:
        """A dialogue comes in; release the lease once the engine has it, or it has failed. None: nothing is known.

        Raises RefusalError (SERVER_FULL).
        """
        if self._admission is not None and occupancy is not None:
            n_open = occupancy.dialogues + self._entering
            decision = self._admission.decide(Occupancy(n_open, occupancy.each))
            if not decision.admitted:
                raise RefusalError(
                    Reason.SERVER_FULL,
                    f"{n_open} dialogues are open, and with one more they could ask for {decision.utilisation:.0%} of "
                    f"the engine's time; the limit is {self._admission.most:.0%}. Try later.",
                    decision.retry_after,
                )
        self._entering += 1
        return Lease(self._entered)

    def _entered(self) -> None:
        self._entering -= 1
