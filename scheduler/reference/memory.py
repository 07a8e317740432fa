"""Every dialogue's pages: who holds which, which are shared as a prefix, and what is given up."""

from dataclasses import dataclass, field

from antiphon.scheduler.reference.dialogue import Dialogue, Phase
from antiphon.scheduler.reference.page_pool import PagePool
from antiphon.scheduler.settings import Settings


@dataclass
class Prefix:
    """Full pages of positions that many dialogues begin with. The pin itself holds a reference to each."""

    pages: list[int]
    dialogues: int  # open ones that began with it


@dataclass
class Memory:
    """The pool and the dialogues. A page past a dialogue's `shared` ones has one holder."""

    settings: Settings
    pool: PagePool
    dialogues: list[Dialogue] = field(default_factory=list)  # one that closes leaves its place to the last
    prefixes: dict[int, Prefix] = field(default_factory=dict)

    def find(self, number: int) -> Dialogue:
        """The open dialogue of this number."""
        for dialogue in self.dialogues:
            if dialogue.number == number:
                return dialogue
        raise ValueError(f"dialogue {number} is not open ({len(self.dialogues)} are)")

    def pages_for(self, positions: int) -> int:
        """How many pages hold `positions` positions."""
        return -(-positions // self.settings.page_size)

    @property
    def pinned(self) -> int:
        """Pages of all prefixes."""
        return sum(len(prefix.pages) for prefix in self.prefixes.values())

    def most_pages(self, dialogue: Dialogue) -> int:
        """Pages the dialogue could hold if every other gave up its own."""
        return min(self.settings.n_pages - self.pinned + dialogue.shared, self.settings.max_row_pages)

    def reserve(self, dialogue: Dialogue, positions: int) -> None:
        """Take what pages are missing for so many positions in all."""
        missing = self.pages_for(positions) - len(dialogue.pages)
        if missing > 0:
            dialogue.pages += self.pool.allocate(missing)

    def drop(self, dialogue: Dialogue) -> None:
        """Give up the dialogue's own pages; what lies in shared ones stays computed."""
        dialogue.planned = 0
        dialogue.computed = min(dialogue.computed, dialogue.shared * self.settings.page_size)
        self._keep(dialogue, dialogue.shared)

    def ahead_pages(self, dialogue: Dialogue) -> int:
        """Pages that hold only what was computed ahead of a commit."""
        past = max(self.pages_for(dialogue.past), dialogue.shared)
        return max(0, len(dialogue.pages) - past) if dialogue.phase is Phase.LISTENING else 0

    def trim(self, dialogue: Dialogue) -> None:
        """Give up what a listening dialogue has computed ahead."""
        dialogue.planned = 0
        dialogue.computed = min(dialogue.computed, max(dialogue.past, dialogue.shared * self.settings.page_size))
        self._keep(dialogue, self.pages_for(dialogue.computed))

    def truncate(self, dialogue: Dialogue, length: int) -> None:
        """Keep the first `length` positions. A shared page is never written: one that is cut is let go."""
        dialogue.total = length
        dialogue.past = min(dialogue.past, length)
        dialogue.planned = min(dialogue.planned, max(0, length - dialogue.computed))
        dialogue.computed = min(dialogue.computed, length)
        if length < dialogue.shared * self.settings.page_size:
            dialogue.shared = length // self.settings.page_size
            dialogue.computed = dialogue.shared * self.settings.page_size
        self._keep(dialogue, self.pages_for(dialogue.computed + dialogue.planned))

    def open(self, number: int, now: float, prefix: int | None) -> None:
        """A new dialogue, which begins with the prefix's positions, if one is named."""
        dialogue = Dialogue(number, touched=now, prefix=prefix)
        if prefix is not None:
            known = self.prefixes[prefix]
            known.dialogues += 1
            dialogue.pages = list(known.pages)
            self.pool.retain(dialogue.pages)
            dialogue.shared = len(dialogue.pages)
            dialogue.computed = dialogue.total = dialogue.shared * self.settings.page_size
        self.dialogues.append(dialogue)

    def close(self, dialogue: Dialogue) -> None:
        """Free what the dialogue holds."""
        self._keep(dialogue, 0)
        if dialogue.prefix is not None:
            self.prefixes[dialogue.prefix].dialogues -= 1
        index = self.dialogues.index(dialogue)
        self.dialogues[index] = self.dialogues[-1]
        self.dialogues.pop()

    def pin(self, prefix: int, dialogue: Dialogue, positions: int) -> int:
        """Share the full pages of the first `positions` computed ones; how many positions that are.

        0, and nothing changes, where there is no full page, or where some open dialogue would no longer fit.
        """
        count = min(positions, dialogue.computed) // self.settings.page_size
        left = self.settings.n_pages - self.pinned - count
        if count == 0 or left < 1:
            return 0
        for other in self.dialogues:
            own = count if other is dialogue else other.shared
            if self.pages_for(other.total) > left + own:
                return 0
        pages = dialogue.pages[:count]
        self.pool.retain(pages)
        self.prefixes[prefix] = Prefix(pages, 1)
        dialogue.prefix, dialogue.shared = prefix, count
        return count * self.settings.page_size

    def unpin(self, prefix: int) -> None:
        """Let a prefix go that no open dialogue began with."""
        self.pool.release(self.prefixes.pop(prefix).pages)

    def _keep(self, dialogue: Dialogue, count: int) -> None:
        self.pool.release(dialogue.pages[count:])
        del dialogue.pages[count:]
