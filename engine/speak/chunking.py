"""The streaming modes, and when buffered speech tokens become a chunk in the official one.

Source: zai-org/GLM-4-Voice web_demo.py (`inference_fn`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Final, Literal, get_args

from antiphon.engine.errors import InputError

OFFICIAL_SCHEDULE: Final = (25, 50, 100, 150, 200)  # tokens; the last one repeats

StreamingMode = Literal["seamless", "reference"]
STREAMING_MODES: Final[tuple[str, ...]] = get_args(StreamingMode)
DEFAULT_STREAMING: Final[StreamingMode] = "seamless"
FinishReason = Literal["stop", "length"]
FINISH_REASONS: Final[tuple[str, ...]] = get_args(FinishReason)


@dataclass(frozen=True)
class TokenChunk:
    """Speech tokens that are spoken in one go."""

    tokens: tuple[int, ...]  # at least one
    final: bool  # nothing follows: no mel is held back for the next chunk


@dataclass
class Chunking:
    """Buffers one turn's speech tokens and says when they become a chunk.

    The demo looks at its buffer *before* it takes in a token. So a full buffer waits for whatever token comes next,
    speech or text, and the buffer never holds more than the size that is due.
    """

    schedule: tuple[int, ...] = OFFICIAL_SCHEDULE
    buffer: list[int] = field(default_factory=list)
    flushed: int = 0  # chunks so far: the place in the schedule

    def __post_init__(self) -> None:
        self.schedule = checked_schedule(self.schedule)

    @property
    def due_size(self) -> int:
        """Tokens that fill the buffer now."""
        return self.schedule[min(self.flushed, len(self.schedule) - 1)]

    def take_speech(self, token: int) -> TokenChunk | None:
        """Take in a speech token; the chunk that was full before it came, if there is one."""
        chunk = self.take_text()
        self.buffer.append(token)
        return chunk

    def take_text(self) -> TokenChunk | None:
        """A text token came; it is no part of speech, but a full buffer waits no longer."""
        return self._flush(final=False) if len(self.buffer) >= self.due_size else None

    def finish(self, reason: FinishReason) -> TokenChunk | None:
        """The turn is over. On "stop" (`<|user|>`) what is buffered is the final chunk.

        Where nothing is buffered there is no final chunk, and on "length" there never is one: the demo then leaves
        unspoken what is buffered and what earlier chunks held back. A fault, kept in this mode.
        """
        if reason == "length" or not self.buffer:
            self.buffer.clear()
            return None
        return self._flush(final=True)

    def _flush(self, *, final: bool) -> TokenChunk:
        chunk = TokenChunk(tuple(self.buffer), final)
        self.buffer.clear()
        self.flushed += 1
        return chunk


def checked_schedule(schedule: Sequence[int]) -> tuple[int, ...]:
    """`schedule` as a tuple. Raises InputError unless it holds one or more whole numbers of at least 1."""
    try:
        sizes = tuple(index(size) for size in schedule)
    except TypeError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise InputError(
            f"schedule is {schedule!r}; expected one or more chunk sizes in tokens, each a whole number of at least 1."
        )
    return sizes


def checked_reason(reason: str) -> FinishReason:
    """`reason` if it is one. Raises InputError naming the known ones."""
    if reason == "stop":
        return "stop"
    if reason == "length":
        return "length"
    raise InputError(f"finish reason {reason!r} is unknown; expected one of {', '.join(map(repr, FINISH_REASONS))}.")
