"""One dialogue's ids and the pages that hold their keys and values."""

from collections.abc import Iterable, Sequence

from antiphon.engine.errors import ContextOverflowError, TokenError
from antiphon.engine.think.ids import check_ids
from antiphon.engine.weights.configs import LanguageModelConfig
from antiphon.scheduler.pages import PagePool
from antiphon.scheduler.planning import pages_for


class LMSequence:
    """Ids, of which the first `computed` have their keys and values in `pages`.

    Invariants: `computed` ≤ `len(ids)` ≤ the model's context; `pages` hold `computed` positions, and more only after a
    step that failed. Made by `LMRunner.new_sequence`; the runner alone moves `computed` forward.
    """

    def __init__(self, config: LanguageModelConfig, pool: PagePool, page_size: int) -> None:
        self._config = config
        self._pool = pool
        self._page_size = page_size
        self._ids: list[int] = []
        self._pages: list[int] = []
        self._computed = 0

    @property
    def ids(self) -> Sequence[int]:
        """All ids so far. Change them by `extend`, `rewrite` and `truncate` alone."""
        return self._ids

    @property
    def pages(self) -> Sequence[int]:
        """The pages of the cache this sequence holds, in the order of its positions."""
        return self._pages

    @property
    def computed(self) -> int:
        """How many positions have their keys and values in the cache."""
        return self._computed

    @property
    def uncomputed(self) -> int:
        """How many ids wait to be computed."""
        return len(self._ids) - self._computed

    @property
    def room(self) -> int:
        """How many more ids the model's context takes."""
        return self._config.context - len(self._ids)

    def extend(self, ids: Iterable[int]) -> None:
        """Append ids. Raises TokenError for one outside the vocabulary, ContextOverflowError when they do not fit."""
        more = list(ids)
        check_ids(more, self._config.vocab_size, "the extension of a sequence")
        self._check_room(len(self._ids), len(more))
        self._ids += more

    def truncate(self, length: int) -> None:
        """Keep the first `length` ids; pages past them are released. Raises TokenError unless there are that many."""
        if not 0 <= length <= len(self._ids):
            raise TokenError(f"cannot keep the first {length} of {len(self._ids)} ids; expected 0 to {len(self._ids)}.")
        del self._ids[length:]
        self._computed = min(self._computed, length)
        self._release_from(pages_for(self._computed, self._page_size))

    def rewrite(self, start: int, ids: Iterable[int]) -> None:
        """Make `ids` what follows the first `start` ids. What they share with those that stood there stays computed;
        pages past it are released. Raises as `extend` does, and then changes nothing."""
        new, old = list(ids), self._ids[start:]
        shared = next((at for at, (one, other) in enumerate(zip(new, old, strict=False)) if one != other), None)
        shared = min(len(new), len(old)) if shared is None else shared
        more = new[shared:]
        check_ids(more, self._config.vocab_size, "the extension of a sequence")
        self._check_room(start + shared, len(more))
        self.truncate(start + shared)
        self._ids += more

    def forget_computed(self, keep: int = 0) -> None:
        """Release the pages past the first `keep` positions and keep the ids: the next steps compute them again.

        For when pages are short.
        """
        self._computed = min(self._computed, keep)
        self._release_from(pages_for(self._computed, self._page_size))

    def close(self) -> None:
        """Release everything; the sequence is empty afterwards. Closing twice does nothing."""
        self.truncate(0)

    def pages_needed(self, n_tokens: int) -> int:
        """Further pages that computing `n_tokens` more positions takes."""
        return max(0, pages_for(self._computed + n_tokens, self._page_size) - len(self._pages))

    def reserve(self, n_tokens: int) -> None:
        """Take the pages for `n_tokens` more positions. For the runner; raises the pool's OutOfPages."""
        self._pages += self._pool.allocate(self.pages_needed(n_tokens))

    def advance(self, n_tokens: int) -> None:
        """Count `n_tokens` more positions as computed. For the runner."""
        self._computed += n_tokens

    def _check_room(self, kept: int, more: int) -> None:
        if kept + more > self._config.context:
            raise ContextOverflowError(
                f"{kept} ids and {more} more make {kept + more}; expected at most the model's context of "
                f"{self._config.context}. Drop the oldest turns."
            )

    def _release_from(self, index: int) -> None:
        self._pool.release(self._pages[index:])
        del self._pages[index:]
