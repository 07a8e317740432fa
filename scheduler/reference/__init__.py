"""The scheduler's rules in plain Python, written to be checked by eye: the oracle of the C++ core.

    page_pool   who holds which pages
    dialogue    one dialogue's state: positions, phase, deadlines, playback, its chunk
    memory      every dialogue's pages: reserving, sharing, dropping
    lm          which positions the next LM forward computes
    speech      which chunks start, which solves advance, what is vocoded
    hearing     whose audio is encoded
    within      the budget that rows of both are taken from
    scheduler   the calls, as `antiphon.scheduler._core.Scheduler` has them

Serving never runs it. It takes time linear in everything, often several times over.
"""

from antiphon.scheduler.errors import OutOfPages
from antiphon.scheduler.reference.page_pool import PagePool
from antiphon.scheduler.reference.scheduler import Plan, Scheduler

__all__ = ["OutOfPages", "PagePool", "Plan", "Scheduler"]
