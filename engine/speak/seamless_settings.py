"""Settings of seamless streaming."""

from dataclasses import dataclass, replace
from operator import index
from typing import Self

from antiphon.engine.errors import InputError
from antiphon.engine.speak.chunking import checked_schedule


@dataclass(frozen=True)
class SeamlessSettings:
    """How a turn is cut into chunks, and what a chunk looks back and ahead on.

    The numbers were found on a small model. With the published decoder the edge may reach beyond one token (then hold
    14 frames back) and a short prompt may cost prosody: measure, where real weights are at hand.
    """

    first_chunk: int = 10  # speech tokens
    first_chunk_at_most: int = 25  # where fewer would be played before the next chunk can be there (schedule.py)
    schedule: tuple[int, ...] = (15, 25, 50)  # tokens of the chunks after it; the last one repeats
    least_chunk: int = 5  # tokens of a chunk made early because the lead runs out
    prompt_tokens: int = 25  # the flow's prompt: so many last tokens and their final mel
    held_back_frames: int = 7  # of mel, made again by the next chunk and faded into its version: one token's
    look_ahead: int | None = None  # mel frames the vocoder knows beyond what it speaks; None: what is exact, 19
    provisional: int = 7  # of them, how many may be held-back ones
    history_tokens: int = 750  # the encoder's: a minute; older blocks leave, so that no turn grows in cost or memory

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", checked_schedule(self.schedule))
        for name, least in (
            ("first_chunk", 1),
            ("first_chunk_at_most", 1),
            ("least_chunk", 1),
            ("prompt_tokens", 0),
            ("held_back_frames", 0),
            ("provisional", 0),
            ("history_tokens", 0),
        ):
            _check_count(name, getattr(self, name), least)
        if self.look_ahead is not None:
            _check_count("look_ahead", self.look_ahead, 0)
        if self.provisional > self.held_back_frames:
            raise InputError(
                f"provisional is {self.provisional} and held_back_frames {self.held_back_frames}; expected no more "
                "provisional frames than are held back."
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Tokens of the chunks in order; the last one repeats."""
        return (self.first_chunk, *self.schedule)

    def with_(self, **given: int | tuple[int, ...] | None) -> Self:
        """These settings with those of `given` that are not None. Errors as the constructor."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def _check_count(name: str, value: int, least: int) -> None:
    try:
        whole = index(value)
    except TypeError:
        whole = least - 1
    if whole < least:
        raise InputError(f"{name} is {value!r}; expected a whole number of at least {least}.")
