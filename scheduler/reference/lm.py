"""Which positions the next LM forward computes, and whose KV gives way when pages run out.

1. The turn whose next audio is due first is always served. Then come all that decode (one id to compute), then the
   prefills, each kind by due time: a decode never waits for a long prompt.
2. Prefills share what tokens and time the decodes leave, but get a page's worth of ids in any case.
3. Who lacks pages takes them from those least expected to need theirs: first what was computed ahead of a commit, then
   all of an idle dialogue's KV, longest idle first; of listening ones likewise; of answering ones that wait for nothing
   now, latest due first; and last of those that wait behind it, from the end. A dialogue that lost its KV is prefilled
   again from its ids.
4. What listening dialogues have is computed ahead with what is left of the budgets and of the free pages: it costs
   nobody else his KV.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import floor

from antiphon.scheduler.buffers import PlanBuffers
from antiphon.scheduler.reference.dialogue import Dialogue, Phase
from antiphon.scheduler.reference.memory import Memory
from antiphon.scheduler.settings import Costs, Settings

Key = Callable[[Dialogue, float], tuple[float, ...]]  # of a dialogue at a moment


def affordable(seconds: float, each: float, most: int) -> int:
    """How many of `most` fit into the time; all where their cost is not known."""
    if each == 0 or seconds / each >= most:
        return most
    return max(0, floor(seconds / each))


@dataclass
class Budget:
    """What is left of one forward."""

    rows: int
    tokens: int
    decodes: int
    prefill_tokens: int

    @classmethod
    def of(cls, settings: Settings, costs: Costs, decoding: int) -> "Budget":
        """For a forward in which `decoding` dialogues have one id to compute."""
        decodes = min(decoding, max(1, affordable(settings.lm_seconds, costs.lm_row, settings.max_rows)))
        seconds = settings.lm_seconds - costs.lm_row * decodes
        prefill = min(settings.max_tokens - decodes, affordable(seconds, costs.prefill_token, settings.max_tokens))
        least = min(settings.page_size, settings.max_tokens)
        return cls(settings.max_rows, settings.max_tokens, decodes, max(least, prefill))

    def tokens_for(self, dialogue: Dialogue) -> int:
        """Positions that it may compute."""
        uncomputed = dialogue.total - dialogue.computed
        if self.rows == 0:
            return 0
        if dialogue.wants_lm and uncomputed == 1:
            return min(self.decodes, self.tokens, 1)
        return min(uncomputed if dialogue.wants_lm else dialogue.ahead, self.prefill_tokens, self.tokens)

    def take(self, dialogue: Dialogue, n_tokens: int) -> None:
        """Count a row."""
        self.rows -= 1
        self.tokens -= n_tokens
        if dialogue.wants_lm and dialogue.total - dialogue.computed == 1:
            self.decodes -= 1
        else:
            self.prefill_tokens -= n_tokens


@dataclass
class LMPlanning:
    """One plan in the making."""

    memory: Memory
    costs: Costs
    now: float
    key: Key  # orders the turns that wait, ascending
    rows: list[Dialogue] = field(default_factory=list)
    dropped: list[Dialogue] = field(default_factory=list)

    def run(self) -> None:
        """Decide rows and drops, and reserve the rows' pages."""
        settings, dialogues = self.memory.settings, self.memory.dialogues
        for dialogue in dialogues:
            dialogue.planned = 0
        self.waiting = sorted(
            (d for d in dialogues if d.wants_lm and not d.lm_paused(self.now, settings)),
            key=lambda d: self.key(d, self.now),
        )
        decoding = [d for d in self.waiting if d.total - d.computed == 1]
        prefilling = [d for d in self.waiting if d.total - d.computed > 1]
        ahead = [d for d in dialogues if d.ahead > 0]
        budget = Budget.of(settings, self.costs, len(decoding))
        head = self.waiting[:1]
        for dialogue in head + [d for d in decoding + prefilling if d not in head]:
            self._place(dialogue, budget, may_drop=True)
        for dialogue in sorted(ahead, key=lambda d: (d.since, d.number)):
            self._place(dialogue, budget, may_drop=False)

    def _place(self, dialogue: Dialogue, budget: Budget, *, may_drop: bool) -> None:
        n_tokens = budget.tokens_for(dialogue)
        if dialogue in self.dropped or n_tokens == 0:
            return
        memory, held = self.memory, len(dialogue.pages)
        needed = memory.pages_for(dialogue.computed + n_tokens) - held
        while may_drop and needed > memory.pool.free_pages and (victim := self._victim(dialogue)) is not None:
            if memory.ahead_pages(victim) > 0:
                memory.trim(victim)
            else:
                memory.drop(victim)
            if victim not in self.dropped:
                self.dropped.append(victim)
        room = (held + memory.pool.free_pages) * memory.settings.page_size - dialogue.computed
        n_tokens = min(n_tokens, room)
        if n_tokens == 0:
            return
        budget.take(dialogue, n_tokens)
        memory.reserve(dialogue, dialogue.computed + n_tokens)
        dialogue.planned = n_tokens
        dialogue.touched = self.now
        self.rows.append(dialogue)

    def _victim(self, dialogue: Dialogue) -> Dialogue | None:
        """Who gives up its pages for `dialogue`; None where nobody is left who may."""
        settings = self.memory.settings
        behind = self.waiting[self.waiting.index(dialogue) + 1 :]
        may = [d for d in self.memory.dialogues if d not in self.rows and len(d.pages) > d.shared]
        ahead = [d for d in may if self.memory.ahead_pages(d) > 0]
        idle = [d for d in may if d.phase in (Phase.IDLE, Phase.ENDING)]
        listening = [d for d in may if d.phase is Phase.LISTENING]
        answering = [d for d in may if d.phase is Phase.ANSWERING and d not in self.waiting]
        return next(
            iter(
                [
                    *sorted(ahead, key=lambda d: (d.touched, d.number)),
                    *sorted(idle, key=lambda d: (d.touched, d.number)),
                    *sorted(listening, key=lambda d: (d.touched, d.number)),
                    *sorted(answering, key=lambda d: (-d.lm_due(settings, self.now), -d.arrival)),
                    *[d for d in reversed(behind) if d in may],
                ]
            ),
            None,
        )

    def write(self, buffers: PlanBuffers) -> None:
        """What the forward needs to know of the rows, into the buffers."""
        size, at = self.memory.settings.page_size, 0
        buffers.cu_seqlens[0] = 0
        for row, dialogue in enumerate(self.rows):
            end = dialogue.computed + dialogue.planned
            buffers.lm_dialogues[row] = dialogue.number
            buffers.lm_ends[row] = dialogue.phase is Phase.ANSWERING and end == dialogue.total
            buffers.context_lens[row] = end
            for index in range(self.memory.pages_for(end)):
                buffers.block_tables[row, index] = dialogue.pages[index]
            for position in range(dialogue.computed, end):
                buffers.positions[at] = position
                buffers.slots[at] = dialogue.pages[position // size] * size + position % size
                at += 1
            buffers.cu_seqlens[row + 1] = at
        for index, dialogue in enumerate(self.dropped):
            buffers.dropped[index] = dialogue.number
