"""One dialogue's ids. The scheduler knows how many of them are computed, and in which pages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from antiphon.engine.errors import ContextOverflowError, OutOfPagesError, TokenError
from antiphon.engine.think.ids import check_ids
from antiphon.engine.weights.configs import LanguageModelConfig
from antiphon.scheduler._core import Scheduler


@dataclass(frozen=True)
class SharedStart:
    """Ids that a sequence begins with, whose keys and values lie in pinned pages."""

    prefix: int  # as the scheduler knows them
    ids: tuple[int, ...]


class LMSequence:
    """Ids, of which the first `computed` have their keys and values in `pages`.

    Invariant: the scheduler's dialogue `number` has as many positions as there are ids, at most the model's context.
    Made by `LMRunner.new_sequence`.
    """

    def __init__(self, config: LanguageModelConfig, scheduler: Scheduler, number: int, ids: Sequence[int] = ()) -> None:
        self.number = number
        self._config = config
        self._scheduler = scheduler
        self._ids = list(ids)
        self._is_open = True

    @property
    def ids(self) -> Sequence[int]:
        """All ids so far. Change them by `extend`, `rewrite` and `truncate` alone."""
        return self._ids

    @property
    def pages(self) -> Sequence[int]:
        """The pages of the cache this sequence holds, in the order of its positions."""
        return self._scheduler.pages(self.number) if self._is_open else ()

    @property
    def computed(self) -> int:
        """How many positions have their keys and values in the cache."""
        return self._scheduler.positions(self.number)[0] if self._is_open else 0

    @property
    def uncomputed(self) -> int:
        """How many ids wait to be computed."""
        return len(self._ids) - self.computed

    @property
    def room(self) -> int:
        """How many more ids the model's context takes."""
        return self._config.context - len(self._ids)

    def extend(self, ids: Iterable[int]) -> None:
        """Append ids. Raises TokenError for one outside the vocabulary, ContextOverflowError when they do not fit the
        context, OutOfPagesError when the pool could not hold them."""
        self._append(self._checked(len(self._ids), list(ids)))

    def truncate(self, length: int) -> None:
        """Keep the first `length` ids; pages past them are released. Raises TokenError unless there are that many."""
        if not 0 <= length <= len(self._ids):
            raise TokenError(f"cannot keep the first {length} of {len(self._ids)} ids; expected 0 to {len(self._ids)}.")
        self._scheduler.truncate(self.number, length)
        del self._ids[length:]

    def rewrite(self, start: int, ids: Iterable[int]) -> None:
        """Make `ids` what follows the first `start` ids. What they share with those that stood there stays computed;
        pages past it are released. Raises as `extend` does, and then changes nothing."""
        new, old = list(ids), self._ids[start:]
        shared = next((at for at, (one, other) in enumerate(zip(new, old, strict=False)) if one != other), None)
        shared = min(len(new), len(old)) if shared is None else shared
        more = self._checked(start + shared, new[shared:])
        self.truncate(start + shared)
        self._append(more)

    def close(self) -> None:
        """Release everything; the sequence is empty afterwards. Closing twice does nothing."""
        if self._is_open:
            self._is_open = False
            self._scheduler.close(self.number)
            self._ids.clear()

    def _append(self, more: list[int]) -> None:
        self._scheduler.extend(self.number, len(more))
        self._ids += more

    def _checked(self, kept: int, more: list[int]) -> list[int]:
        """`more`, which may follow the first `kept` ids."""
        check_ids(more, self._config.vocab_size, "the extension of a sequence")
        if kept + len(more) > self._config.context:
            raise ContextOverflowError(
                f"{kept} ids and {len(more)} more make {kept + len(more)}; expected at most the model's context of "
                f"{self._config.context}. Drop the oldest turns."
            )
        most = len(self._ids) + self._scheduler.room(self.number)
        if kept + len(more) > most:
            raise OutOfPagesError(
                f"{kept} ids and {len(more)} more make {kept + len(more)}; expected at most {most}, which is what the "
                "KV pool holds. Make it larger, or drop the oldest turns."
            )
        return more
