"""The scheduler's calls. What each is for stands in `antiphon.scheduler._core.Scheduler`, which they equal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from antiphon.scheduler.buffers import Int32Array, PlanBuffers
from antiphon.scheduler.hearing import Hearing
from antiphon.scheduler.reference.dialogue import Chunk, Dialogue, Phase, Playback
from antiphon.scheduler.reference.hearing import plan_encodes
from antiphon.scheduler.reference.lm import LMPlanning
from antiphon.scheduler.reference.memory import Memory
from antiphon.scheduler.reference.page_pool import PagePool
from antiphon.scheduler.reference.speech import paused, plan_solves, plan_vocodes
from antiphon.scheduler.settings import MOST_SLOTS, Costs, Settings


@dataclass
class Plan:
    """How much was written into each buffer."""

    lm_rows: int = 0
    lm_tokens: int = 0
    lm_pages: int = 0
    dropped: int = 0
    encodes: int = 0
    solves: int = 0
    solve_repeats: int = 0
    vocodes: int = 0
    paused: int = 0
    wake: float = inf


class Scheduler:
    """`antiphon.scheduler._core.Scheduler` in plain Python."""

    def __init__(self, settings: Settings, buffers: PlanBuffers) -> None:
        buffers.check(settings)
        self.settings = settings
        self.buffers = buffers
        self.costs = Costs()
        self._memory = Memory(settings, PagePool(settings.n_pages))
        self._arrivals = 0
        self._lm: list[Dialogue] = []  # the rows of the latest plans
        self._solves: list[Dialogue] = []
        self._vocodes: list[Dialogue] = []
        self._encodes: list[Dialogue] = []

    # Looking

    @property
    def dialogues(self) -> int:
        return len(self._memory.dialogues)

    @property
    def n_pages(self) -> int:
        return self.settings.n_pages

    @property
    def free_pages(self) -> int:
        return self._memory.pool.free_pages

    @property
    def pinned_pages(self) -> int:
        return self._memory.pinned

    def positions(self, dialogue: int) -> tuple[int, int]:
        found = self._memory.find(dialogue)
        return found.computed, found.total

    def pages(self, dialogue: int) -> list[int]:
        return list(self._memory.find(dialogue).pages)

    def room(self, dialogue: int) -> int:
        found = self._memory.find(dialogue)
        return self._memory.most_pages(found) * self.settings.page_size - found.total

    def playback(self, dialogue: int, now: float) -> tuple[float, float, float]:
        found = self._memory.find(dialogue).playback
        moment = _moment(now)
        return found.sent, found.heard(moment), max(found.runs_out - moment, 0.0) if found.started else 0.0

    # Coming and going

    def open(self, dialogue: int, now: float, prefix: int | None = None) -> None:
        if not 0 <= dialogue <= MOST_SLOTS:
            raise ValueError(f"dialogue {dialogue} is no number of 0 to {MOST_SLOTS} (int32)")
        if any(known.number == dialogue for known in self._memory.dialogues):
            raise ValueError(f"dialogue {dialogue} is open already")
        if self.dialogues == self.settings.max_dialogues:
            raise ValueError(f"{self.dialogues} dialogues are open, as many as max_dialogues allows")
        if prefix is not None and prefix not in self._memory.prefixes:
            raise ValueError(f"prefix {prefix} is not pinned ({len(self._memory.prefixes)} are)")
        self._memory.open(dialogue, _moment(now), prefix)

    def close(self, dialogue: int) -> None:
        self._memory.close(self._memory.find(dialogue))

    def pin(self, prefix: int, dialogue: int, positions: int) -> int:
        found = self._memory.find(dialogue)
        if prefix in self._memory.prefixes:
            raise ValueError(f"prefix {prefix} is pinned already")
        if found.prefix is not None:
            raise ValueError(f"dialogue {dialogue} began with prefix {found.prefix}: it cannot give another")
        return self._memory.pin(prefix, found, _count(positions, "positions"))

    def unpin(self, prefix: int) -> None:
        known = self._memory.prefixes.get(prefix)
        if known is None:
            raise ValueError(f"prefix {prefix} is not pinned ({len(self._memory.prefixes)} are)")
        if known.dialogues > 0:
            raise ValueError(f"prefix {prefix} serves {known.dialogues} open dialogues: close them first")
        self._memory.unpin(prefix)

    # Ids

    def extend(self, dialogue: int, n: int) -> None:
        self._extend(self._memory.find(dialogue), _count(n, "ids"))

    def extend_each(self, dialogues: Int32Array) -> None:
        found = [self._memory.find(int(number)) for number in dialogues]
        if len(set(found)) != len(found):
            raise ValueError(f"{len(found)} dialogues to extend, {len(found) - len(set(found))} of them twice")
        for one in found:
            self._check_room(one, 1)
        for one in found:
            one.total += 1

    def truncate(self, dialogue: int, length: int) -> None:
        found = self._memory.find(dialogue)
        self._memory.truncate(found, _length(found, length))

    def drop(self, dialogue: int) -> None:
        self._memory.drop(self._memory.find(dialogue))

    # Turns

    def listen(self, dialogue: int, now: float) -> None:
        found = self._memory.find(dialogue)
        _expect(found, "listen", Phase.IDLE, Phase.LISTENING)
        moment = _moment(now)
        if found.phase is Phase.IDLE:
            found.phase, found.since, found.touched = Phase.LISTENING, moment, moment
            found.past = found.total

    def encode(self, dialogue: int, hearing: int, frames: int, since: float) -> None:
        found = self._memory.find(dialogue)
        kind, count, moment = _hearing(hearing), _count(frames, "frames"), _moment(since)
        found.hearing, found.encode_frames, found.encode_since = kind, count, moment
        found.encode_planned = False

    def commit(self, dialogue: int, committed: float) -> None:
        found = self._memory.find(dialogue)
        _expect(found, "commit", Phase.IDLE, Phase.LISTENING)
        found.committed = found.touched = _moment(committed)
        self._arrivals += 1
        found.arrival = self._arrivals
        found.phase = Phase.ANSWERING
        found.playback = Playback()

    def chunk(self, dialogue: int, solve_frames: int, wave_frames: int) -> None:
        found = self._memory.find(dialogue)
        _expect(found, "make a chunk", Phase.ANSWERING, Phase.ENDING)
        if found.chunk is not None:
            raise ValueError(f"dialogue {dialogue} has a chunk under way: one at a time")
        steps = self.settings.solve_steps if solve_frames == 0 else 0
        found.chunk = Chunk(_count(solve_frames, "frames"), _count(wave_frames, "frames"), steps)

    def end(self, dialogue: int) -> None:
        found = self._memory.find(dialogue)
        _expect(found, "end", Phase.ANSWERING)
        found.phase = Phase.ENDING

    def finish(self, dialogue: int, now: float) -> None:
        found = self._memory.find(dialogue)
        found.touched = _moment(now)
        found.phase, found.chunk = Phase.IDLE, None

    def cancel(self, dialogue: int, length: int, now: float) -> None:
        found = self._memory.find(dialogue)
        kept, found.touched = _length(found, length), _moment(now)
        found.phase, found.chunk = Phase.IDLE, None
        self._memory.truncate(found, kept)

    # Playback

    def sent(self, dialogue: int, seconds: float, now: float) -> float:
        found = self._memory.find(dialogue)
        late = found.playback.send(_seconds(seconds), _moment(now))
        found.unread += seconds
        return late

    def heard(self, dialogue: int, seconds: float, now: float) -> None:
        found = self._memory.find(dialogue)
        if not found.playback.started:
            raise ValueError(f"dialogue {dialogue} was sent nothing that could be heard")
        found.playback.report(_seconds(seconds), _moment(now), self.settings.heard_slack_seconds)

    def read(self, dialogue: int, seconds: float) -> None:
        found = self._memory.find(dialogue)
        found.unread = max(found.unread - _seconds(seconds), 0.0)

    # Planning

    def set_costs(self, costs: Costs) -> None:
        self.costs = costs

    def plan(self, now: float, lm: bool = True, speech: bool = True, hear: bool = True) -> Plan:
        moment, plan, dialogues = _moment(now), Plan(), self._memory.dialogues
        if lm:
            planning = LMPlanning(self._memory, self.costs, moment, self.lm_key)
            planning.run()
            planning.write(self.buffers)
            self._lm = planning.rows
            plan.lm_rows = len(planning.rows)
            plan.lm_tokens = sum(row.planned for row in planning.rows)
            plan.lm_pages = max((self._memory.pages_for(r.computed + r.planned) for r in planning.rows), default=0)
            plan.dropped = len(planning.dropped)
        if speech:
            self._solves, plan.solve_repeats = plan_solves(
                dialogues, self.settings, self.costs, moment, self.speech_key
            )
            self._vocodes = plan_vocodes(dialogues, self.settings, self.costs, moment, self.speech_key)
            plan.solves = _write(self.buffers.solves, self._solves)
            for index, row in enumerate(self._solves):
                self.buffers.solve_steps[index] = row.chunk.steps if row.chunk is not None else 0
            plan.vocodes = _write(self.buffers.vocodes, self._vocodes)
        if hear:
            self._encodes = plan_encodes(dialogues, self.settings, self.costs)
            plan.encodes = _write(self.buffers.encodes, self._encodes)
        resting, plan.wake = paused(dialogues, self.settings, moment)
        plan.paused = _write(self.buffers.paused, resting)
        return plan

    def lm_key(self, dialogue: Dialogue, now: float) -> tuple[float, ...]:
        """Orders the turns that wait for the LM: earliest deadline first."""
        return dialogue.lm_due(self.settings, now), dialogue.arrival

    def speech_key(self, dialogue: Dialogue, now: float) -> tuple[float, ...]:
        """Orders the chunks: earliest deadline first."""
        return dialogue.due(self.settings, now), dialogue.arrival

    # What has been done of the plan

    def lm_done(self, rows: Int32Array | None = None) -> None:
        for row in self._done(self._lm, rows):
            row.computed += row.planned
            row.planned = 0

    def solves_done(self, rows: Int32Array | None = None) -> None:
        for row in self._done(self._solves, rows):
            if row.chunk is not None:
                row.chunk.steps += row.chunk.planned
                row.chunk.planned = 0

    def vocodes_done(self, rows: Int32Array | None = None) -> None:
        for row in self._done(self._vocodes, rows):
            if row.chunk is not None and row.chunk.vocoding:
                row.chunk = None

    def encodes_done(self, rows: Int32Array | None = None) -> None:
        for row in self._done(self._encodes, rows):
            if row.encode_planned:
                row.encode_frames, row.encode_planned = 0, False

    def _done(self, planned: Sequence[Dialogue], rows: Iterable[np.int32] | None) -> list[Dialogue]:
        """The rows of the latest plan that are meant, without those that were closed since."""
        indices = range(len(planned)) if rows is None else [int(row) for row in rows]
        for index in indices:
            if not 0 <= index < len(planned):
                raise ValueError(f"row {index} is not one of the plan's {len(planned)} rows")
        return [planned[index] for index in indices if planned[index] in self._memory.dialogues]

    def _extend(self, dialogue: Dialogue, n: int) -> None:
        self._check_room(dialogue, n)
        dialogue.total += n

    def _check_room(self, dialogue: Dialogue, n: int) -> None:
        most = self._memory.most_pages(dialogue)
        if self._memory.pages_for(dialogue.total + n) > most:
            raise ValueError(
                f"dialogue {dialogue.number} cannot have {dialogue.total + n} positions; expected at most "
                f"{most * self.settings.page_size}, the {most} pages that it may hold"
            )


def _write(buffer: Int32Array, rows: Sequence[Dialogue]) -> int:
    buffer[: len(rows)] = [row.number for row in rows]
    return len(rows)


def _expect(dialogue: Dialogue, call: str, *phases: Phase) -> None:
    if dialogue.phase not in phases:
        expected = " or ".join(phase.value for phase in phases)
        raise ValueError(f"dialogue {dialogue.number} is {dialogue.phase.value}; to {call} it must be {expected}")


def _moment(now: float) -> float:
    if not isfinite(now):
        raise ValueError(f"the time is {now:g}; expected finite seconds")
    return now


def _seconds(seconds: float) -> float:
    if not (isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{seconds:g} seconds of audio; expected a finite number of at least 0")
    return seconds


def _count(n: int, what: str) -> int:
    if not 0 <= n <= MOST_SLOTS:
        raise ValueError(f"{n} {what}; expected 0 to {MOST_SLOTS}")
    return n


def _hearing(kind: int) -> Hearing:
    if not 0 <= kind < len(Hearing):
        raise ValueError(f"hearing is {kind}; expected 0 to {len(Hearing) - 1}")
    return Hearing(kind)


def _length(dialogue: Dialogue, length: int) -> int:
    if not 0 <= length <= dialogue.total:
        raise ValueError(f"cannot keep {length} positions of dialogue {dialogue.number}; it has {dialogue.total}")
    return length
