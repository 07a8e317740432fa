"""A budget that rows are taken from in order."""

from collections.abc import Callable, Sequence
from math import inf

from antiphon.scheduler.reference.dialogue import Dialogue


def within(
    seconds: float,
    most: int,
    candidates: Sequence[Dialogue],
    cost: Callable[[Dialogue], float],
    frames: Callable[[Dialogue], int] = lambda _: 0,
    most_frames: float = inf,
) -> tuple[list[Dialogue], float]:
    """Of candidates in order, the first, and of the others those that still fit; what they cost together."""
    chosen: list[Dialogue] = []
    total, taken = 0.0, 0
    for dialogue in candidates:
        fits = total + cost(dialogue) <= seconds and taken + frames(dialogue) <= most_frames
        if len(chosen) < most and (not chosen or fits):
            total += cost(dialogue)
            taken += frames(dialogue)
            chosen.append(dialogue)
    return chosen, total
