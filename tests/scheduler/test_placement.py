"""Which of several machines takes one more dialogue."""

import pytest

from antiphon.scheduler.admission import Admission, Occupancy
from antiphon.scheduler.placement import ranked

ANYONE = Admission.up_to(0.0)


@pytest.mark.parametrize(
    ("machines", "best"),
    [
        pytest.param([Occupancy(2, 0.1), Occupancy(1, 0.1)], 1, id="fewest dialogues"),
        pytest.param([Occupancy(1, 0.1, clips=2), Occupancy(2, 0.1)], 1, id="clips are work, too"),
        pytest.param([Occupancy(1, 0.1), Occupancy(0, 0.2)], 1, id="an idle one's price is an old one"),
        pytest.param([Occupancy(1, 0.1), Occupancy(0, 0.0)], 1, id="nothing measured"),
        pytest.param([Occupancy(0, 0.8), Occupancy(9, 0.01)], 1, id="a device of another kind"),
        pytest.param([Occupancy(2, 0.1, places=2), Occupancy(9, 0.1, places=10)], 1, id="a full one is none"),
    ],
)
def test_the_best_place(machines: list[Occupancy], best: int) -> None:
    assert ranked(machines, ANYONE)[0] == best


def test_who_admits_it_goes_before_who_does_not() -> None:
    machines = [Occupancy(3, 0.2), Occupancy(0, 4.0)]  # an empty one always does
    assert ranked(machines, Admission(most=0.5))[0] == 1
    assert ranked(machines, ANYONE)[0] == 0


def test_equals_are_taken_in_turn() -> None:
    machines = [Occupancy(1, 0.1)] * 3
    assert [ranked(machines, ANYONE, first) for first in range(3)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
