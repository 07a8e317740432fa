"""Which of several machines takes one more dialogue: those that admit it first, then the one that holds least."""

from collections.abc import Sequence
from typing import Final

from antiphon.scheduler.admission import Admission, Occupancy

# What one dialogue takes is measured while there is work. One and the same machine told twice as much after its warm-up
# as in calls: where prices are nearer to each other than this, the machines are taken as equal, and numbers decide.
_ALIKE: Final = 3.0


def ranked(machines: Sequence[Occupancy], admission: Admission, first: int = 0) -> list[int]:
    """The indices of `machines`, the best place first; `first`: which one goes before its equals."""
    prices = [machine.each for machine in machines if machine.each]
    dearest = max(prices, default=1.0)  # stands for what was not measured yet
    are_alike = not prices or dearest < _ALIKE * min(prices)

    def rank(index: int) -> tuple[bool, bool, float, int]:
        machine = machines[index]
        with_it = machine.dialogues + machine.clips + 1
        return (
            machine.dialogues >= machine.places,
            not admission.decide(machine).admitted,
            with_it if are_alike else with_it * (machine.each or dearest),
            (index - first) % len(machines),
        )

    return sorted(range(len(machines)), key=rank)
