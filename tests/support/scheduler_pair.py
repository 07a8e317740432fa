"""The C++ scheduler and its Python twin, called alike and compared after every call."""

from dataclasses import fields
from typing import Any

import numpy as np

from antiphon.scheduler import reference
from antiphon.scheduler._core import Scheduler
from antiphon.scheduler.buffers import PlanBuffers
from antiphon.scheduler.reference import Plan
from antiphon.scheduler.settings import Settings

FIELDS = [field.name for field in fields(Plan)]


class SchedulerPair:
    """`pair.call("open", 1, 0.0)` does it to both, and returns what both returned; a refusal is returned as text."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.core_buffers, self.twin_buffers = PlanBuffers.allocate(settings), PlanBuffers.allocate(settings)
        self.core = Scheduler(settings, self.core_buffers)
        self.twin = reference.Scheduler(settings, self.twin_buffers)
        self.open: list[int] = []

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Both do it, and say and hold the same afterwards."""
        before = self.state(self.core)
        said, expected = (_outcome(one, name, arguments, named) for one in (self.core, self.twin))
        assert said == expected, (name, arguments, said, expected)
        if not isinstance(said, str):
            if name == "open":
                self.open.append(arguments[0])
            if name == "close":
                self.open.remove(arguments[0])
        state = self.state(self.core)
        assert state == self.state(self.twin), (name, arguments)
        assert not isinstance(said, str) or state == before, f"{name} was refused and changed something"
        for field in fields(PlanBuffers):
            core, twin = getattr(self.core_buffers, field.name), getattr(self.twin_buffers, field.name)
            assert np.array_equal(core, twin), (name, field.name, core, twin)
        return said

    def step(self, now: float) -> None:
        """Plan, and all of it comes out well."""
        plan = self.call("plan", now)
        if isinstance(plan, dict):
            self.finish(plan, now)

    def finish(self, plan: dict[str, Any], now: float) -> None:
        """All of a plan comes out well: every finished row has its next id, every vocoded chunk is sent."""
        ended = self.core_buffers.lm_ends[: plan["lm_rows"]] == 1
        for done in ("lm_done", "solves_done", "vocodes_done", "encodes_done"):
            self.call(done)
        for dialogue in self.core_buffers.lm_dialogues[: plan["lm_rows"]][ended]:
            self.call("extend_each", [dialogue])
        for dialogue in self.core_buffers.vocodes[: plan["vocodes"]]:
            self.call("sent", int(dialogue), 0.4, now)

    def state(self, scheduler: Scheduler | reference.Scheduler) -> list[object]:
        """All that can be seen of a scheduler, but for plans."""
        each = [
            (number, scheduler.positions(number), scheduler.pages(number), scheduler.room(number))
            + scheduler.playback(number, 10.0)
            for number in self.open
        ]
        return [scheduler.dialogues, scheduler.free_pages, scheduler.pinned_pages, *each]


def _outcome(scheduler: object, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> object:
    try:
        said = getattr(scheduler, name)(*arguments, **named)
    except (TypeError, ValueError) as error:
        return type(error).__name__ if isinstance(error, TypeError) else f"{type(error).__name__}: {error}"
    return {field: getattr(said, field) for field in FIELDS} if name == "plan" else said
