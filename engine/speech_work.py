"""The decoder's part of the engine loop: packed Euler steps, and packed passes of the vocoder.

Both run on a lane of their own. A GPU may still be at them while the loop hears and thinks; what they made is taken
once they are over.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from antiphon.engine.dialogue import Dialogue
from antiphon.engine.events import Event
from antiphon.engine.forwards import Forwards
from antiphon.engine.lanes import Lane
from antiphon.engine.members import Member, speaking
from antiphon.engine.meter import Meter
from antiphon.engine.speak.chunks import ChunkResult, Solving
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.turn import Turn
from antiphon.scheduler._core import Plan, Scheduler
from antiphon.scheduler.buffers import PlanBuffers

Advance = Callable[[Member[Any], Callable[[], Sequence[Event]]], None]


class SpeechWork:
    """Runs what the scheduler plans of speech, and hands each turn its wave."""

    def __init__(
        self,
        decoder: SpeechDecoder,
        lane: Lane,
        dialogues: Mapping[int, Dialogue],
        scheduler: Scheduler,
        buffers: PlanBuffers,
        meter: Meter,
        *,
        plan: Callable[[], Plan],
        advance: Advance,
        fail: Callable[[Dialogue, Turn, Exception], None],
        clock: Callable[[], float],
    ) -> None:
        """`dialogues` are the open ones by the scheduler's numbers; `plan` plans speech alone, into `buffers`;
        `advance` lets a turn take what was made for it; `fail` ends a turn whose own chunk raises."""
        self._decoder = decoder
        self._dialogues = dialogues
        self._scheduler = scheduler
        self._buffers = buffers
        self._meter = meter
        self._plan = plan
        self._advance = advance
        self._clock = clock
        self._begun: dict[int, Member[Solving]] = {}  # chunks, by their dialogue's number
        self._solving, self._vocoding = (Forwards(lane, fail) for _ in range(2))
        self._under_way: list[Callable[[], bool]] = []  # what to do once it is over, in order
        self.batches = 0  # Euler steps of packs

    @property
    def begun(self) -> int:
        """Chunks that were begun and are not spoken."""
        return len(self._begun)

    @property
    def is_under_way(self) -> bool:
        """Whether something was launched and what it made was not taken."""
        return bool(self._under_way)

    @property
    def solve_seconds(self) -> float:
        """What the flow took so far."""
        return self._solving.seconds

    @property
    def vocode_seconds(self) -> float:
        """What the vocoder took so far."""
        return self._vocoding.seconds

    def drop(self, number: int) -> None:
        """Forget a dialogue's chunk, whatever state it is in."""
        self._begun.pop(number, None)

    def step(self, wait: bool) -> bool:
        """The decoder's next forwards. Those a GPU is still at are waited for with `wait` alone: the LM need not.

        Returns whether there was any work.
        """
        if not (wait or self._is_over):
            return True
        worked = self.is_under_way
        self._take()
        plan = self._plan()
        worked |= plan.solves + plan.vocodes > 0
        self._solve(plan)
        if self._is_over and self._take():  # as on the CPU always
            plan = self._plan()  # what was solved just now becomes audio at once
        self._vocode(plan)
        if self._is_over:
            self._take()
        return worked

    @property
    def _is_over(self) -> bool:
        return self._solving.are_over and self._vocoding.are_over

    def _take(self) -> bool:
        """Wait for what is under way and take what it made. Returns whether a solve is done with its steps."""
        under_way, self._under_way = self._under_way, []
        return any([take() for take in under_way])

    def _solve(self, plan: Plan) -> None:
        """The planned Euler steps."""
        numbers = self._buffers.solves[: plan.solves].tolist()
        if not numbers:
            return
        self._begin(numbers, self._solving)
        for _ in range(plan.solve_repeats):
            running = [self._begun[number] for number in numbers if number in self._begun]
            self.batches += 1
            for member, solving in self._solving.launch(speaking, running, self._decoder.advance):
                self._begun[member.dialogue.number] = replace(member, request=solving)
        solved = [self._begun[number].request for number in numbers if number in self._begun]
        frames = [solving.job.flow_frames for solving in solved] * plan.solve_repeats
        self._under_way.append(partial(self._solved, numbers, frames))

    def _solved(self, numbers: Sequence[int], frames: Sequence[int]) -> bool:
        """The planned Euler steps are over. Returns whether a solve is done with them."""
        self._meter.solve(frames, self._solving.settle())
        advanced = [place for place, number in enumerate(numbers) if number in self._begun]  # others were cancelled
        self._scheduler.solves_done(np.array(advanced, np.int32))
        return any(self._begun[numbers[place]].request.is_done for place in advanced)

    def _vocode(self, plan: Plan) -> None:
        """The planned pass of the vocoder."""
        numbers = self._buffers.vocodes[: plan.vocodes].tolist()
        if not numbers:
            return
        self._begin(numbers, self._vocoding)  # those that need nothing of the flow
        solved = [self._begun[number] for number in numbers if number in self._begun]
        spoken = self._vocoding.launch(speaking, solved, self._decoder.finish)
        self._under_way.append(partial(self._spoken, numbers, spoken))

    def _spoken(self, numbers: Sequence[int], spoken: Sequence[tuple[Member[Solving], ChunkResult]]) -> bool:
        """The planned pass of the vocoder is over. Returns False: it does no steps."""
        made = [(result.job.flow_frames, result.job.wave_frames) for _, result in spoken]
        self._meter.vocode(made, self._vocoding.settle())
        places = [numbers.index(member.dialogue.number) for member, _ in spoken]
        self._scheduler.vocodes_done(np.array(places, np.int32))
        for member, result in spoken:
            self.drop(member.dialogue.number)
            self._advance(member, partial(member.turn.spoken, result, self._clock()))
        return False

    def _begin(self, numbers: Sequence[int], forwards: Forwards) -> None:
        """Prepare the chunks of those dialogues whose solve has not begun."""
        jobs = [
            Member(dialogue, turn, answer.chunk_job)
            for number in numbers
            if number not in self._begun
            for dialogue in [self._dialogues[number]]
            for turn, answer in [dialogue.running]
            if answer.chunk_job is not None
        ]
        if jobs:
            for member, solving in forwards.launch(speaking, jobs, self._decoder.begin):
                self._begun[member.dialogue.number] = Member(member.dialogue, member.turn, solving)
