"""Which positions the next LM forward computes, and whose KV gives way when pages run out.

Dialogues are known here as ids and numbers only. The rules:

1. Decoding dialogues (one id to compute) go before prefilling ones, each kind in order of arrival.
2. A prefill is cut to what the token budget leaves, so that decodes never wait for a long prompt.
3. Who lacks pages first takes those that hold only what was prefilled ahead of a commit, then those of idle dialogues,
   longest idle first, then those of the dialogues that arrived after it, latest first. A dialogue whose KV was dropped
   is prefilled again from its ids when its turn comes.
4. Prefills ahead of a commit come last: they take what is left of the token budget and of the free pages.

The first dialogue in order is therefore always served, if the pool can hold it at all: the engine never stands still.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LMWork:
    """One dialogue that waits for the LM."""

    dialogue: int
    computed: int  # positions whose KV is in the pool
    uncomputed: int  # ids after them, at least 1


@dataclass(frozen=True)
class IdleKV:
    """One dialogue that holds KV and does not want the LM."""

    dialogue: int
    computed: int
    ahead: int = 0  # of them the last ones, prefilled ahead of a commit


@dataclass(frozen=True)
class LMRow:
    """Compute the next `n_tokens` ids of a dialogue."""

    dialogue: int
    n_tokens: int


@dataclass(frozen=True)
class LMPlan:
    """First drop the KV of `dropped` and cut that of `trimmed`, then compute `rows` in one forward."""

    rows: tuple[LMRow, ...]
    dropped: tuple[int, ...]
    trimmed: tuple[tuple[int, int], ...] = ()  # dialogue, and how many pages it keeps


def pages_for(positions: int, page_size: int) -> int:
    """How many pages hold `positions` positions."""
    return -(-positions // page_size)


@dataclass
class _Pages:
    """Who holds how many pages. Whose KV gives way is moved from the one to the other."""

    free: int
    idle: dict[int, int]  # longest idle first
    ahead: dict[int, int]  # of the idle ones, pages that hold only what was prefilled ahead
    waiting: dict[int, int]  # of the dialogues that want the LM and have no row yet, in order of arrival
    dropped: list[int] = field(default_factory=list)
    trimmed: dict[int, int] = field(default_factory=dict)  # pages kept

    def find(self, needed: int) -> None:
        """Free pages until there are `needed`, or nobody is left to give any."""
        for dialogue, pages in self.ahead.items():
            given = min(pages, needed - self.free)
            if given > 0:
                self.ahead[dialogue] -= given
                self.idle[dialogue] -= given
                self.trimmed[dialogue] = self.idle[dialogue]
                self.free += given
        while needed > self.free and self.idle:
            victim = next(iter(self.idle))
            self.trimmed.pop(victim, None)
            self.ahead.pop(victim, None)
            self._drop(victim, self.idle)
        while needed > self.free and (victims := [dialogue for dialogue, pages in self.waiting.items() if pages]):
            self._drop(victims[-1], self.waiting)

    def _drop(self, victim: int, holders: dict[int, int]) -> None:
        self.dropped.append(victim)
        self.free += holders.pop(victim)


def plan_lm(
    work: Sequence[LMWork],  # in order of arrival
    idle: Sequence[IdleKV],  # longest idle first
    ahead: Sequence[LMWork] = (),  # of idle dialogues: what they will want once they commit
    *,
    free_pages: int,
    page_size: int,
    batch_tokens: int,
) -> LMPlan:
    """The next LM forward under a token budget and a page budget."""
    pages = _Pages(
        free_pages,
        idle={entry.dialogue: pages_for(entry.computed, page_size) for entry in idle if entry.computed},
        ahead={
            entry.dialogue: pages_for(entry.computed, page_size) - pages_for(entry.computed - entry.ahead, page_size)
            for entry in idle
        },
        waiting={entry.dialogue: pages_for(entry.computed, page_size) for entry in work},
    )
    rows: list[LMRow] = []

    def add_row(entry: LMWork, held: int) -> None:
        nonlocal batch_tokens
        room = (held + pages.free) * page_size - entry.computed
        if (n_tokens := min(entry.uncomputed, batch_tokens, room)) > 0:
            pages.free -= pages_for(entry.computed + n_tokens, page_size) - held
            batch_tokens -= n_tokens
            rows.append(LMRow(entry.dialogue, n_tokens))

    for entry in sorted(work, key=lambda entry: entry.uncomputed > 1):  # stable: arrival order within each kind
        if entry.dialogue in pages.dropped or batch_tokens == 0:
            continue
        held = pages.waiting.pop(entry.dialogue)
        pages.find(pages_for(entry.computed + min(entry.uncomputed, batch_tokens), page_size) - held)
        add_row(entry, held)
    for entry in ahead:
        if entry.dialogue not in pages.dropped and entry.dialogue not in pages.trimmed:
            add_row(entry, pages_for(entry.computed, page_size))
    return LMPlan(tuple(rows), tuple(pages.dropped), tuple(pages.trimmed.items()))
