"""What was said in a dialogue, as data: enough to build the same prompt again."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["user", "assistant"]


@dataclass(frozen=True)
class HistoryItem:
    """One side of one past turn. Exactly one of the three contents is given."""

    role: Role
    text: str | None = None
    speech: tuple[int, ...] | None = None  # codes of the speech tokenizer
    ids: tuple[int, ...] | None = None  # LM ids as they were emitted, text and speech interleaved
