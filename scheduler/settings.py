"""Budgets and measured costs the scheduler plans within. The C++ core and its Python twin read the same ones."""

from dataclasses import dataclass, fields
from math import inf, isfinite
from typing import Final

MOST_SLOTS: Final = 2**31 - 1  # pages, slots and positions stand in int32 buffers


def pages_for(positions: int, page_size: int) -> int:
    """How many pages hold `positions` positions."""
    return -(-positions // page_size)


@dataclass(frozen=True)
class Settings:
    """What a scheduler holds and how much one plan may ask for. Times are in seconds."""

    n_pages: int  # of the KV pool
    page_size: int = 64  # positions a page holds
    max_dialogues: int = 256  # open at once
    max_row_pages: int = 128  # pages of one dialogue: the width of a block table
    max_rows: int = 256  # dialogues in one LM forward
    max_tokens: int = 2_048  # positions in one LM forward
    max_solves: int = 64  # rows of one Euler step, and of one vocoder pass
    max_solve_frames: int = MOST_SLOTS  # mel frames, prompts included, of one Euler step: what fits into memory
    max_encodes: int = 64  # dialogues in one encoder pass
    max_encode_frames: int = MOST_SLOTS  # encoder frames of one pass: what fits into memory
    solve_steps: int = 10  # Euler steps of a solve
    max_repeats: int = MOST_SLOTS  # Euler steps that one plan asks of a row
    lm_seconds: float = inf  # one LM forward; a prefill gets a page's worth of ids whatever the time
    solve_seconds: float = inf  # the Euler steps of one plan
    vocode_seconds: float = inf  # one vocoder pass
    encode_seconds: float = inf  # one encoder pass
    first_audio_seconds: float = 1.0  # a turn's first audio is due so long after its commit
    patience_seconds: float = 10.0  # an answer that has run dry is due again so long after it did
    max_lead_seconds: float = inf  # whoever has audio for longer than this pauses
    max_unread_seconds: float = inf  # whoever leaves more audio than this unread pauses
    heard_slack_seconds: float = 0.5  # a client may have heard so much more than the clock says
    frame_seconds: float = 256 / 22_050  # of audio in a mel frame

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and not 1 <= value <= MOST_SLOTS:
                raise ValueError(f"{field.name} is {value}; expected 1 to {MOST_SLOTS}")
            if field.type is float and not value >= 0:
                raise ValueError(f"{field.name} is {value}; expected 0 seconds or more")
        for name in ("first_audio_seconds", "patience_seconds", "frame_seconds"):
            if not isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}; expected finite seconds")
        if self.n_pages * self.page_size > MOST_SLOTS:
            raise ValueError(f"{self.n_pages} pages of {self.page_size} are more than {MOST_SLOTS} slots (int32)")
        if self.max_row_pages * self.page_size > MOST_SLOTS:
            raise ValueError(f"{self.max_row_pages} pages of {self.page_size} are more than {MOST_SLOTS} positions")


@dataclass(frozen=True)
class Costs:
    """What work takes on this machine, in seconds; 0 where it is not known, which then limits nothing.

    An Euler step of a row of T frames takes `solve_frame · T + solve_frame_squared · T²`.
    """

    lm_row: float = 0.0  # a decoding dialogue's share of an LM forward
    prefill_token: float = 0.0
    solve_frame: float = 0.0
    solve_frame_squared: float = 0.0
    vocode_frame: float = 0.0
    encode_frame: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{field.name} costs {value} seconds; expected a finite number of at least 0")
