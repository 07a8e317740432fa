"""Which positions the next LM forward computes, and whose KV gives way when pages run out.

Dialogues are known here as ids and numbers only. The rules:

1. Decoding dialogues (one id to compute) go before prefilling ones, each kind in order of arrival.
2. A prefill is cut to what the token budget leaves, so that decodes never wait for a long prompt.
3. Who lacks pages first takes them from idle dialogues, longest idle first, then from the dialogues that arrived after
   it, latest first. A dialogue whose KV was dropped is prefilled again from its ids when its turn comes.

The first dialogue in order is therefore always served, if the pool can hold it at all: the engine never stands still.
"""

from collections.abc import Sequence
from dataclasses import dataclass


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


@dataclass(frozen=True)
class LMRow:
    """Compute the next `n_tokens` ids of a dialogue."""

    dialogue: int
    n_tokens: int


@dataclass(frozen=True)
class LMPlan:
    """First drop the KV of `dropped`, then compute `rows` in one forward."""

    rows: tuple[LMRow, ...]
    dropped: tuple[int, ...]


def pages_for(positions: int, page_size: int) -> int:
    """How many pages hold `positions` positions."""
    return -(-positions // page_size)


def plan_lm(
    work: Sequence[LMWork],  # in order of arrival
    idle: Sequence[IdleKV],  # longest idle first
    *,
    free_pages: int,
    page_size: int,
    batch_tokens: int,
) -> LMPlan:
    """The next LM forward under a token budget and a page budget."""
    idle_left = [(entry.dialogue, pages_for(entry.computed, page_size)) for entry in idle if entry.computed]
    waiting = {entry.dialogue: pages_for(entry.computed, page_size) for entry in work}
    rows: list[LMRow] = []
    dropped: list[int] = []
    for entry in sorted(work, key=lambda entry: entry.uncomputed > 1):  # stable: arrival order within each kind
        if entry.dialogue in dropped or batch_tokens == 0:
            continue
        held = waiting.pop(entry.dialogue)
        n_tokens = min(entry.uncomputed, batch_tokens)
        needed = pages_for(entry.computed + n_tokens, page_size) - held
        while needed > free_pages and idle_left:
            victim, pages = idle_left.pop(0)
            dropped.append(victim)
            free_pages += pages
        while needed > free_pages and (victims := [dialogue for dialogue, pages in waiting.items() if pages]):
            dropped.append(victims[-1])
            free_pages += waiting.pop(victims[-1])
        n_tokens = min(n_tokens, (held + free_pages) * page_size - entry.computed)
        if n_tokens <= 0:
            continue
        free_pages -= pages_for(entry.computed + n_tokens, page_size) - held
        batch_tokens -= n_tokens
        rows.append(LMRow(entry.dialogue, n_tokens))
    return LMPlan(tuple(rows), tuple(dropped))
