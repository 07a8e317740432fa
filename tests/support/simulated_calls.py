"""Calls on a virtual clock: turns that arrive, are answered and played, on a machine whose stages take modelled times.

The LM and the speaking stages run beside each other, as on two streams, each one forward at a time. What a forward
computes is the scheduler's plan; here stand the callers, the stage times, and the policies that peers use.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

from antiphon.scheduler import _core, reference
from antiphon.scheduler.buffers import PlanBuffers
from antiphon.scheduler.reference.dialogue import Dialogue
from antiphon.scheduler.settings import Costs, Settings

TOKEN_FRAMES = 22_050 / 256 / 12.5  # mel frames of a speech token
IDS_PER_SPEECH_TOKEN = 1.5  # 13 text ids to 26 of speech
TICK = 1e-4  # seconds a round takes that runs nothing


@dataclass(frozen=True)
class Call:
    """One turn that is answered."""

    at: float  # its commit
    prompt: int  # ids
    speech_tokens: int  # of the answer
    stops_at: float  # seconds into playback at which its caller interrupts; inf: never
    growing: bool  # every chunk's flow has all before it as its prompt, as in reference mode; else 25 tokens


@dataclass
class Outcome:
    """What callers saw."""

    first_audio: list[float] = field(default_factory=list)  # seconds from the commit, a turn
    underruns: int = 0  # moments at which playback ran dry
    dry_seconds: float = 0.0

    def p95(self) -> float:
        """Of first audio."""
        return sorted(self.first_audio)[int(0.95 * len(self.first_audio))]


class ByArrival(reference.Scheduler):
    """First in, first out: turns are served in the order of their commits, whatever their playback needs."""

    def lm_key(self, dialogue: Dialogue, now: float) -> tuple[float, ...]:
        return (dialogue.arrival,)

    def speech_key(self, dialogue: Dialogue, now: float) -> tuple[float, ...]:
        return (dialogue.arrival,)


class RoundRobin(reference.Scheduler):
    """Each in turn: who was served longest ago comes next."""

    def __init__(self, settings: Settings, buffers: PlanBuffers) -> None:
        super().__init__(settings, buffers)
        self._clock = count(1)
        self._served: dict[tuple[str, int], int] = {}

    def lm_key(self, dialogue: Dialogue, now: float) -> tuple[float, ...]:
        return (self._served.get(("lm", dialogue.number), 0), dialogue.number)

    def speech_key(self, dialogue: Dialogue, now: float) -> tuple[float, ...]:
        return (self._served.get(("speech", dialogue.number), 0), dialogue.number)

    def plan(self, now: float, lm: bool = True, speech: bool = True, hear: bool = True) -> reference.Plan:
        plan = super().plan(now, lm, speech, hear)
        for stage, rows, done in (("lm", self._lm, lm), ("speech", self._solves, speech)):
            for row in rows if done else ():
                self._served[stage, row.number] = next(self._clock)
        return plan


Policy = Callable[[Settings, PlanBuffers], _core.Scheduler | reference.Scheduler]


@dataclass
class _Answer:
    call: Call
    ids: int  # still to come
    buffered: int = 0  # speech tokens that are no chunk yet
    spoken: int = 0  # in chunks
    chunks: int = 0
    chunk_tokens: int = 0  # of the chunk under way
    parts: float = 0.0  # of a speech token
    waiting: list[int] = field(default_factory=list)  # chunks behind it, in tokens


@dataclass
class Simulation:
    """One run: `Simulation(policy, settings, costs, calls).run()`."""

    policy: Policy
    settings: Settings
    costs: Costs
    calls: Sequence[Call]
    lm_base: float = 0.012  # seconds of an LM forward beside its rows and tokens
    solve_base: float = 0.0005  # seconds of an Euler step beside its rows
    schedule: Sequence[int] = (10, 15, 25, 50)  # tokens of a chunk; the last repeats
    end: float = 600.0

    def __post_init__(self) -> None:
        self.outcome = Outcome()
        self._buffers = PlanBuffers.allocate(self.settings)
        self._scheduler = self.policy(self.settings, self._buffers)
        self._scheduler.set_costs(self.costs)
        self._answers: dict[int, _Answer] = {}
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._lm_busy = self._speech_busy = False

    def run(self) -> Outcome:
        """Until every call is over."""
        for number, call in enumerate(self.calls):
            self._at(call.at, lambda now, number=number, call=call: self._begin(number, call, now))
        while self._events:
            now, _, happen = heapq.heappop(self._events)
            if now > self.end:
                raise AssertionError(f"{len(self._answers)} calls are not over at {now:.0f} s")
            happen(now)
            if not self._events or self._events[0][0] > now:
                self._start(now)
        return self.outcome

    def _at(self, when: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen))

    def _begin(self, number: int, call: Call, now: float) -> None:
        self._answers[number] = _Answer(call, round(call.speech_tokens * IDS_PER_SPEECH_TOKEN))
        self._scheduler.open(number, now)
        self._scheduler.extend(number, call.prompt)
        self._scheduler.commit(number, now)

    # What the machine does

    def _start(self, now: float) -> None:
        """Give an idle stage its next forward."""
        lm, speech = not self._lm_busy, not self._speech_busy
        if not (lm or speech):
            return
        plan = self._scheduler.plan(now, lm=lm, speech=speech, hear=False)
        if plan.wake < float("inf"):
            self._at(max(plan.wake, now + TICK), lambda now: None)
        if plan.lm_rows:
            self._lm_busy = True
            seconds = self.lm_base + self.costs.lm_row * plan.lm_rows + self.costs.prefill_token * plan.lm_tokens
            ends = [int(n) for n, end in self._rows(plan.lm_rows) if end]
            self._at(now + seconds, lambda now: self._lm_through(ends, now))
        if plan.solves or plan.vocodes:
            self._speech_busy = True
            solves = [self._answers[int(n)] for n in self._buffers.solves[: plan.solves]]
            vocodes = [int(n) for n in self._buffers.vocodes[: plan.vocodes]]
            seconds = plan.solve_repeats * (self.solve_base + sum(map(self._step_seconds, solves)))
            seconds += sum(self.costs.vocode_frame * self._answers[n].chunk_tokens * TOKEN_FRAMES for n in vocodes)
            self._at(now + seconds, lambda now: self._speech_through(vocodes, now))

    def _rows(self, n: int) -> zip:  # type: ignore[type-arg]
        return zip(self._buffers.lm_dialogues[:n].copy(), self._buffers.lm_ends[:n].copy(), strict=True)

    def _step_seconds(self, answer: _Answer) -> float:
        frames = self._solve_frames(answer)
        return self.costs.solve_frame * frames + self.costs.solve_frame_squared * frames**2

    def _solve_frames(self, answer: _Answer) -> int:
        prompt = answer.spoken if answer.call.growing else min(answer.spoken, 25)
        return int((prompt + answer.chunk_tokens) * TOKEN_FRAMES)

    def _lm_through(self, ends: Sequence[int], now: float) -> None:
        self._lm_busy = False
        self._scheduler.lm_done()
        for number in ends:
            if (answer := self._answers.get(number)) is not None:
                self._sampled(number, answer)

    def _sampled(self, number: int, answer: _Answer) -> None:
        answer.ids -= 1
        answer.parts += 1 / IDS_PER_SPEECH_TOKEN
        while answer.parts >= 1 - 1e-9:
            answer.parts -= 1
            answer.buffered += 1
        size = self.schedule[min(answer.chunks, len(self.schedule) - 1)]
        if answer.buffered >= size or (answer.ids == 0 and answer.buffered):
            answer.waiting.append(answer.buffered)
            answer.buffered = 0
            answer.chunks += 1
        if answer.ids == 0:
            self._scheduler.end(number)
        else:
            self._scheduler.extend(number, 1)
        self._next_chunk(number, answer)

    def _next_chunk(self, number: int, answer: _Answer) -> None:
        if answer.waiting and answer.chunk_tokens == 0:
            answer.chunk_tokens = answer.waiting.pop(0)
            self._scheduler.chunk(number, self._solve_frames(answer), int(answer.chunk_tokens * TOKEN_FRAMES))

    def _speech_through(self, vocodes: Sequence[int], now: float) -> None:
        self._speech_busy = False
        self._scheduler.solves_done()
        self._scheduler.vocodes_done()
        for number in vocodes:
            if (answer := self._answers.get(number)) is not None:
                self._sent(number, answer, now)

    # What the callers see

    def _sent(self, number: int, answer: _Answer, now: float) -> None:
        seconds, is_first = answer.chunk_tokens / 12.5, answer.spoken == 0
        answer.spoken += answer.chunk_tokens
        answer.chunk_tokens = 0
        late = self._scheduler.sent(number, seconds, now)
        if is_first:
            self.outcome.first_audio.append(now - answer.call.at)
            if answer.call.stops_at < float("inf"):
                self._at(now + answer.call.stops_at, lambda now: self._over(number))
        if late > 0.02:  # one message of 20 ms
            self.outcome.underruns += 1
            self.outcome.dry_seconds += late
        self._next_chunk(number, answer)
        if answer.ids == 0 and answer.chunk_tokens == 0:
            self._over(number)

    def _over(self, number: int) -> None:
        if self._answers.pop(number, None) is not None:
            self._scheduler.close(number)


def trace(seconds: float, rate: float, seed: int) -> list[Call]:
    """Turns by Poisson arrivals, `rate` a second: answers of 4 to 25 s, a third interrupted, a tenth growing."""
    chance, at, calls = Random(seed), 0.0, []
    while (at := at + chance.expovariate(rate)) < seconds:
        tokens = chance.randint(50, 310)
        stops = chance.uniform(1.0, tokens / 12.5) if chance.random() < 1 / 3 else float("inf")
        calls.append(Call(at, chance.randint(60, 500), tokens, stops, chance.random() < 0.1))
    return calls


def offered_load(calls: Sequence[Call], costs: Costs, schedule: Sequence[int] = (10, 15, 25, 50)) -> float:
    """Seconds of speaking-stage work a second, of what callers hear, while the calls come in: 1 fills the machine."""
    work = 0.0
    for call in calls:
        spoken = chunks = 0
        while spoken < min(call.speech_tokens, call.stops_at * 12.5):
            tokens = min(schedule[min(chunks, len(schedule) - 1)], call.speech_tokens - spoken)
            frames = int(((spoken if call.growing else min(spoken, 25)) + tokens) * TOKEN_FRAMES)
            work += 10 * (costs.solve_frame * frames + costs.solve_frame_squared * frames**2)
            work += costs.vocode_frame * tokens * TOKEN_FRAMES
            spoken, chunks = spoken + tokens, chunks + 1
    return work / calls[-1].at
