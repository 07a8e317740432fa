"""Who takes part in a packed forward of the loop."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from antiphon.engine.dialogue import Dialogue
from antiphon.engine.loop_seconds import LoopSeconds
from antiphon.engine.stopwatch import Stage
from antiphon.engine.turn import Turn

Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Member(Generic[Request]):
    """One turn's part in a packed forward."""

    dialogue: Dialogue
    turn: Turn
    request: Request


@dataclass(frozen=True)
class LoopStats:
    """What the loop holds, and since its start: the packed forwards of each kind, and what its time went to."""

    dialogues: int
    turns: int  # listening, queued or being answered
    clips: int  # apart from any dialogue
    total_pages: int
    free_pages: int
    hear_batches: int
    lm_batches: int
    speak_batches: int  # Euler steps of the flow
    seconds: LoopSeconds


def hearing(_: Turn) -> Stage:
    """Its time counts as spent on hearing."""
    return Stage.HEAR


def thinking(turn: Turn) -> Stage:
    """Its time counts as spent on the prompt, or on the answer once that has an id."""
    return Stage.DECODE if turn.answer is not None and turn.answer.ids else Stage.PREFILL


def speaking(_: Turn) -> Stage:
    """Its time counts as spent on speech."""
    return Stage.SPEAK
