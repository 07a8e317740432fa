"""Instructions that several dialogues of one tenant begin with: computed once, in pinned pages that all of them share.

Nothing is shared between tenants: how fast the first answer comes would tell one what another's instructions are. The
official system prompts fill no page of 64 positions, so there is nothing of them to share.
"""

from dataclasses import dataclass, field

from antiphon.engine.dialogue import Dialogue
from antiphon.engine.think.sequence import SharedStart
from antiphon.scheduler._core import Scheduler

Key = tuple[str, str]  # tenant, instructions


@dataclass
class _Shared:
    start: SharedStart
    users: set[int] = field(default_factory=set)  # dialogues that began with it, and the one that computed it


class SharedPrompts:
    """Of one loop. They stay pinned as long as a dialogue uses them."""

    def __init__(self, scheduler: Scheduler, page_size: int, least_pages: int) -> None:
        """`least_pages`: that are left unpinned, for whoever shares nothing."""
        self._scheduler = scheduler
        self._page_size = page_size
        self._least_pages = least_pages
        self._shared: dict[Key, _Shared] = {}
        self._keys: dict[int, Key] = {}  # of the dialogues that use one
        self._pinned = 0  # so far: each has a number of its own

    def join(self, number: int, tenant: str, instructions: str | None) -> SharedStart | None:
        """What a dialogue that is about to be opened begins with; None: it computes all by itself."""
        shared = None if instructions is None else self._shared.get((tenant, instructions))
        if instructions is None or shared is None:
            return None
        shared.users.add(number)
        self._keys[number] = (tenant, instructions)
        return shared.start

    def offer(self, dialogue: Dialogue) -> None:
        """Ids of the dialogue were computed: share its instructions, if nobody has, and they are among them."""
        instructions, length = dialogue.config.instructions, dialogue.system_length
        if instructions is None or not length or dialogue.number in self._keys:
            return
        key, scheduler = (dialogue.config.tenant, instructions), self._scheduler
        left = scheduler.n_pages - scheduler.pinned_pages - length // self._page_size
        if key in self._shared or dialogue.sequence.computed < length or left < self._least_pages:
            return
        positions = scheduler.pin(self._pinned, dialogue.number, length)
        if positions:
            start = SharedStart(self._pinned, tuple(dialogue.sequence.ids[:positions]))
            self._shared[key] = _Shared(start, {dialogue.number})
            self._keys[dialogue.number] = key
            self._pinned += 1

    def leave(self, number: int) -> None:
        """A dialogue was closed."""
        key = self._keys.pop(number, None)
        if key is not None:
            self._shared[key].users.discard(number)
            if not self._shared[key].users:
                self._scheduler.unpin(self._shared.pop(key).start.prefix)
