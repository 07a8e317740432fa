"""The clock that wires a random language model to answer in the official rhythm, by its weights alone.

The first dimensions of the residual stream are a clock's hands. Every id carries in its embedding the step of the
answer that it stands for, no layer writes to the hands, and the head's row of an id of step k asks for the hands of
step k − 1. So the id given last decides the step, and the rest of the stream, random and shaped by the whole context,
decides which of the step's ids comes.

An answer has two to four rounds of 39 steps: 13 of text, 26 of speech. It starts after any id that is no part of an
answer, such as the newline that ends every prompt, in the first step of one of the last rounds but one; after the last
step comes `<|user|>`.

    hands    minute: one of 13 | third of the round: text, speech, speech | round: one of four
    beside   start: on where no hand is | bias: always on

A row's sum over its three hands, less the bias three times, is exactly 0 where all three agree, and lower by at least
`_MARGIN` times a hand where one does not: the answer's ids keep scores of their own size, and all others are far below.
"""

from dataclasses import dataclass
from typing import Final

import torch

from antiphon.engine.units import SPEECH_TOKENS_PER_BLOCK, TEXT_TOKENS_PER_BLOCK

STEPS_PER_ROUND: Final = TEXT_TOKENS_PER_BLOCK + SPEECH_TOKENS_PER_BLOCK
NO_STEP: Final = -1  # of an id that is no part of an answer
_MINUTES: Final = TEXT_TOKENS_PER_BLOCK
_THIRDS: Final = STEPS_PER_ROUND // _MINUTES
_HANDS: Final = 3

# Beside a stream of unit variance: the hands come out of the final norm at two to four, so that a step's wrong ids
# score 60 to 120 below its right ones, out of reach at any temperature in use. Both are exact in bfloat16.
_AMPLITUDE: Final = 4.0
_MARGIN: Final = 32.0


@dataclass(frozen=True)
class Clock:
    """Where the hands lie, and what they show."""

    rounds: int = 4  # of the longest answer
    shortest: int = 2

    @property
    def width(self) -> int:
        """Residual dimensions that are the clock's."""
        return _MINUTES + _THIRDS + self.rounds + 2

    @property
    def steps(self) -> int:
        return self.rounds * STEPS_PER_ROUND

    def is_text(self, step: int) -> bool:
        """Whether the step's ids are text."""
        return step % STEPS_PER_ROUND < TEXT_TOKENS_PER_BLOCK

    def embedding(
        self,
        steps: torch.Tensor,  # i64[N], NO_STEP for ids that are no part of an answer
    ) -> torch.Tensor:
        """f32[N, width]: what ids of these steps put on the clock."""
        shown = torch.zeros(len(steps), self.width)
        answer = steps != NO_STEP
        for hand in self._hands(steps[answer]):
            shown[answer.nonzero()[:, 0], hand] = 1.0
        shown[~answer, -2] = 1.0
        shown[:, -1] = 1.0
        return _AMPLITUDE * shown

    def head(
        self,
        steps: torch.Tensor,  # i64[N], `steps` itself for the id that ends an answer
    ) -> torch.Tensor:
        """f32[N, width]: what the head's rows of ids of these steps ask of the clock."""
        asked = torch.zeros(len(steps), self.width)
        follows = steps > 0
        for hand in self._hands(steps[follows] - 1):
            asked[follows.nonzero()[:, 0], hand] = 1.0
        asked[self._begins(steps), -2] = float(_HANDS)
        asked[:, -1] = -float(_HANDS)
        return _MARGIN * asked

    def _begins(self, steps: torch.Tensor) -> torch.Tensor:
        """Whether an answer may begin with these steps."""
        round_ = steps.div(STEPS_PER_ROUND, rounding_mode="floor")
        return (steps >= 0) & (steps % STEPS_PER_ROUND == 0) & (round_ <= self.rounds - self.shortest)

    def _hands(self, steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The dimension that each hand points at."""
        in_round = steps % STEPS_PER_ROUND
        minute = in_round % _MINUTES
        third = _MINUTES + in_round.div(_MINUTES, rounding_mode="floor")
        round_ = _MINUTES + _THIRDS + steps.div(STEPS_PER_ROUND, rounding_mode="floor")
        return minute, third, round_
