"""Packed forwards on one lane."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from antiphon.engine.dialogue import Dialogue
from antiphon.engine.lanes import Lane, Span
from antiphon.engine.members import Member, Request, Result
from antiphon.engine.stopwatch import Stage
from antiphon.engine.turn import Turn


@dataclass(frozen=True)
class _Launched:
    """A forward that was launched, whether or not it came out well."""

    span: Span
    turns: list[tuple[Turn, Stage]]  # whose time it took; none where it raised
    members: Sequence[Member[Any]]  # kept until it is over: what they ask for may lie in tensors of another lane


class Forwards:
    """Launches packed forwards of one kind, in order. A GPU may still be at them until they are settled."""

    def __init__(self, lane: Lane, fail: Callable[[Dialogue, Turn, Exception], None]) -> None:
        """`fail` ends a turn whose own request raises."""
        self._lane = lane
        self._fail = fail
        self._launched: list[_Launched] = []  # and not settled
        self._seconds = 0.0

    def launch(
        self,
        stage: Callable[[Turn], Stage],
        members: Sequence[Member[Request]],
        forward: Callable[[Sequence[Request]], Sequence[Result]],
    ) -> list[tuple[Member[Request], Result]]:
        """One packed forward of what `members` ask for, each with its result, whose tensors this lane may use.

        Where the batch raises, each member is run by itself, so that only the turn whose own request raises is lost.
        """
        turns = [(member.turn, stage(member.turn)) for member in members]
        span = self._lane.begin()
        try:
            results = list(zip(members, forward([member.request for member in members]), strict=True))
        except Exception as error:  # whatever a stage raises, it must not end the other callers' dialogues
            span.end()
            self._launched.append(_Launched(span, [], members))
            if len(members) > 1:
                return [one for member in members for one in self.launch(stage, [member], forward)]
            for member in members:
                self._fail(member.dialogue, member.turn, error)
            return []
        span.end()
        self._launched.append(_Launched(span, turns, members))
        return results

    @property
    def seconds(self) -> float:
        """What all that were settled took."""
        return self._seconds

    @property
    def are_over(self) -> bool:
        """Whether to settle them waits for nothing."""
        return all(forward.span.is_over for forward in self._launched)

    def settle(self) -> float:
        """Wait for all that were launched, and count their time to the turns in them. Returns the seconds they took.

        What a GPU raises here leaves it unusable for everyone, so nothing is saved of it.
        """
        launched, self._launched = self._launched, []
        total = 0.0
        for forward in launched:
            seconds = forward.span.wait()
            total += seconds
            for turn, stage in forward.turns:
                turn.spent(stage, seconds)
        self._seconds += total
        return total

    def run(
        self,
        stage: Callable[[Turn], Stage],
        members: Sequence[Member[Request]],
        forward: Callable[[Sequence[Request]], Sequence[Result]],
    ) -> tuple[list[tuple[Member[Request], Result]], float]:
        """`launch`, and `settle` at once."""
        results = self.launch(stage, members, forward)
        return results, self.settle()
