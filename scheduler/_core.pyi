"""The scheduler's C++ core."""

from collections.abc import Sequence

from antiphon.scheduler.buffers import Int32Array, PlanBuffers
from antiphon.scheduler.errors import OutOfPages as OutOfPages
from antiphon.scheduler.hearing import Hearing
from antiphon.scheduler.settings import Costs, Settings

class PagePool:
    """A fixed number of KV pages, 0 to n_pages - 1, each with a count of references; one without references is free.

    Every call does all of what it was asked, or raises and changes nothing. A page named twice in one call counts
    twice. Calls from several threads are safe: none lets go of the interpreter's lock before it ends.
    """

    def __init__(self, n_pages: int) -> None:
        """Make a pool of free pages. ValueError unless 1 <= n_pages <= 2**31 - 1 (block tables are i32)."""

    @property
    def n_pages(self) -> int:
        """How many pages there are, free or not."""

    @property
    def free_pages(self) -> int:
        """How many pages are free."""

    def allocate(self, n: int) -> list[int]:
        """Take the n lowest-numbered free pages, ascending, each with one reference.

        Raises OutOfPages when fewer are free, ValueError when n is negative.
        """

    def retain(self, pages: Sequence[int]) -> None:
        """Add a reference to each page. ValueError when one is unknown or free."""

    def release(self, pages: Sequence[int]) -> None:
        """Take a reference from each page; one left without any is free.

        ValueError when a page is unknown, free, or named more often than it has references.
        """

    def references(self, page: int) -> int:
        """How many references a page has; 0 when it is free. ValueError when it is unknown."""

class Plan:
    """How much a plan wrote into each buffer of `PlanBuffers`."""

    @property
    def lm_rows(self) -> int:
        """Rows of the LM forward: entries of lm_dialogues, lm_ends, context_lens, and one fewer than of cu_seqlens."""

    @property
    def lm_tokens(self) -> int:
        """Positions of the LM forward: entries of positions and slots."""

    @property
    def lm_pages(self) -> int:
        """Pages of the row that has most: the columns of block_tables that matter."""

    @property
    def dropped(self) -> int:
        """Dialogues whose KV was given up."""

    @property
    def encodes(self) -> int:
        """Dialogues of the encoder pass."""

    @property
    def solves(self) -> int:
        """Rows of the Euler steps: entries of solves and solve_steps."""

    @property
    def solve_repeats(self) -> int:
        """Euler steps that these rows do in one go: as many as fit into the time and `max_repeats`, none beyond the end
        of a solve."""

    @property
    def vocodes(self) -> int:
        """Dialogues of the vocoder pass."""

    @property
    def paused(self) -> int:
        """Dialogues that have work and wait with it: far ahead of their playback, or with audio unread."""

    @property
    def wake(self) -> float:
        """When the first of the paused goes on by itself; inf where none does. Plan again then, at the latest."""

class Scheduler:
    """Every dialogue's pages, positions, deadlines and waiting work; plans what the next forwards compute.

    Dialogues are numbers that the caller gives. A turn is `listen` → `commit` → ids and chunks → `end` → `finish`, or
    `cancel`. After each plan the forwards are run, and `lm_done`, `solves_done`, `vocodes_done`, `encodes_done` say
    which rows came out well; the others are planned again. What was cancelled or closed in between is left out.

    Every call does all of what it was asked, or raises ValueError with the numbers and changes nothing. Calls of
    several threads take turns; `plan` lets go of the interpreter's lock meanwhile. All times are seconds of one clock.
    """

    def __init__(self, settings: Settings, buffers: PlanBuffers) -> None:
        """A scheduler that writes its plans into `buffers`, whose shapes must be those of `settings`."""

    @property
    def dialogues(self) -> int:
        """How many are open."""

    @property
    def n_pages(self) -> int:
        """Pages of the pool."""

    @property
    def free_pages(self) -> int:
        """Pages that nobody holds."""

    @property
    def pinned_pages(self) -> int:
        """Pages of all pinned prefixes."""

    def positions(self, dialogue: int) -> tuple[int, int]:
        """(positions whose KV is in the pages, positions there are ids for)."""

    def pages(self, dialogue: int) -> list[int]:
        """The pages it holds, in the order of its positions."""

    def room(self, dialogue: int) -> int:
        """How many more ids it may have: what the pool, but for the pinned pages, and a block table can hold."""

    def playback(self, dialogue: int, now: float) -> tuple[float, float, float]:
        """Seconds of the answer's audio (sent, heard by now as far as is known, left to play)."""

    # Coming and going

    def open(self, dialogue: int, now: float, prefix: int | None = None) -> None:
        """A dialogue begins; with a pinned prefix, its ids begin with the prefix's positions, already computed."""

    def close(self, dialogue: int) -> None:
        """It is over: all it holds is free."""

    def pin(self, prefix: int, dialogue: int, positions: int) -> int:
        """Pin and share the dialogue's full pages of its first `positions` ids, under a number of the caller's.

        Returns how many positions these are; 0 where there is no full page yet, or too little of the pool would be
        left for some open dialogue. Other dialogues have them by `open(..., prefix=prefix)`.
        """

    def unpin(self, prefix: int) -> None:
        """Let a prefix go. ValueError while dialogues are open that began with it."""

    # Ids

    def extend(self, dialogue: int, n: int) -> None:
        """n more ids follow. ValueError beyond `room`."""

    def extend_each(self, dialogues: Int32Array) -> None:
        """One more id follows in each of these dialogues, i32[n]: all of a forward at once."""

    def truncate(self, dialogue: int, length: int) -> None:
        """Only the first `length` ids stay; pages past them are free."""

    def drop(self, dialogue: int) -> None:
        """Give up its KV, but for a shared prefix; it is computed again from its ids."""

    # Turns

    def listen(self, dialogue: int, now: float) -> None:
        """Its caller speaks: what ids there are may be computed ahead, where nobody else needs row, token or page."""

    def encode(self, dialogue: int, hearing: Hearing, frames: int, since: float) -> None:
        """So many encoder frames of its audio wait since then, to be encoded in one pass; 0: none.

        They take the place of those that waited before.
        """

    def commit(self, dialogue: int, committed: float) -> None:
        """Its turn waits for an answer, since `committed`: the first audio is due `first_audio_seconds` later."""

    def chunk(self, dialogue: int, solve_frames: int, wave_frames: int) -> None:
        """A chunk of speech waits: the flow solves `solve_frames` with its prompt, `wave_frames` become audio.

        Without frames to solve it goes to the vocoder at once.
        """

    def end(self, dialogue: int) -> None:
        """The answer has all its ids. Chunks may still come."""

    def finish(self, dialogue: int, now: float) -> None:
        """Nobody waits for it any more: the answer is all there, or what was listened to is forgotten."""

    def cancel(self, dialogue: int, length: int, now: float) -> None:
        """`finish`, with the first `length` ids kept: rows, pages and the solve are free at once."""

    # Playback

    def sent(self, dialogue: int, seconds: float, now: float) -> float:
        """Audio was handed to its client; returns for how many seconds playback had run dry before."""

    def heard(self, dialogue: int, seconds: float, now: float) -> None:
        """The client reports how much of the answer was heard; the clock bounds what is believed."""

    def read(self, dialogue: int, seconds: float) -> None:
        """The client has taken so much audio: less of it counts as unread."""

    # Planning

    def set_costs(self, costs: Costs) -> None:
        """What work takes, as measured lately."""

    def plan(self, now: float, lm: bool = True, speech: bool = True, hear: bool = True) -> Plan:
        """Plan the next forwards and write them into the buffers.

        Of a kind that is still running, pass False: its buffers and its rows stay as they are. A new plan of a kind
        takes the place of one that was not done.
        """

    # What has been done of the latest plan: the rows given, by their place in the plan, or all

    def lm_done(self, rows: Int32Array | None = None) -> None:
        """These rows' positions have their KV."""

    def solves_done(self, rows: Int32Array | None = None) -> None:
        """These rows have done the plan's Euler steps."""

    def vocodes_done(self, rows: Int32Array | None = None) -> None:
        """These dialogues' chunks are audio. Hand it out, say so by `sent`, and the next chunk may come."""

    def encodes_done(self, rows: Int32Array | None = None) -> None:
        """These dialogues' waiting audio is encoded."""
