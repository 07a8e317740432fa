"""The page pool's rules in plain Python, written to be checked by eye."""

from collections import Counter
from collections.abc import Sequence

from antiphon.scheduler.errors import OutOfPages

MOST_PAGES = 2**31 - 1  # block tables hold page numbers as i32


class PagePool:
    """A fixed number of KV pages with counts of references; see `antiphon.scheduler._core.PagePool`."""

    def __init__(self, n_pages: int) -> None:
        if not 1 <= n_pages <= MOST_PAGES:
            raise ValueError(f"a pool holds 1 to {MOST_PAGES} pages, not {n_pages}")
        self._references = [0] * n_pages

    @property
    def n_pages(self) -> int:
        return len(self._references)

    @property
    def free_pages(self) -> int:
        return self._references.count(0)

    def references(self, page: int) -> int:
        if not 0 <= page < self.n_pages:
            raise ValueError(f"page {page} is not one of this pool's {self.n_pages} pages")
        return self._references[page]

    def allocate(self, n: int) -> list[int]:
        if n < 0:
            raise ValueError(f"cannot allocate {n} pages")
        if n > self.free_pages:
            raise OutOfPages(n, self.free_pages, self.n_pages)
        pages = [page for page, count in enumerate(self._references) if count == 0][:n]
        for page in pages:
            self._references[page] = 1
        return pages

    def retain(self, pages: Sequence[int]) -> None:
        for page in pages:
            if self.references(page) == 0:
                raise ValueError(
                    f"page {page} of {self.n_pages} is free (0 references): allocate it, it cannot be retained"
                )
        for page in pages:
            self._references[page] += 1

    def release(self, pages: Sequence[int]) -> None:
        named: Counter[int] = Counter()
        for page in pages:
            named[page] += 1
            held = self.references(page)
            if named[page] > held:
                times = list(pages).count(page)
                raise ValueError(f"page {page} of {self.n_pages}: {times} releases asked for, references held: {held}")
        for page in pages:
            self._references[page] -= 1
