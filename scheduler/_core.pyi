"""The scheduler's C++ core."""

from collections.abc import Sequence

from antiphon.scheduler.errors import OutOfPages as OutOfPages

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
