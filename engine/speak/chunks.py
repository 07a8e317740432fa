"""One streamed chunk's work in steps, for several dialogues at once: begin, ten Euler steps, finish.

    jobs ─begin─▶ solvings ─advance─▶ … ─advance─▶ solvings that are done ─finish─▶ results

Between two steps others may join or leave: the pack is made anew for each, and rows may stand at different steps of
their solves and be of different streaming modes. What comes before the steps and after them is the mode's own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

import torch

from antiphon.engine.errors import InputError
from antiphon.engine.speak.flow import FlowSolve
from antiphon.engine.timeline import mel_frames_of

Item = TypeVar("Item")
Made = TypeVar("Made")


class Steps(Protocol):
    """Advances solves: the flow itself, or the flow in buckets."""

    def step(self, solves: Sequence[FlowSolve]) -> list[FlowSolve]: ...


class SpeakingMode(ABC):
    """How chunks are prepared for the flow, and made sound of. Holds models and settings, nothing of any turn."""

    @abstractmethod
    def begin(self, jobs: Sequence["ChunkJob"]) -> list["Solving"]:
        """The solves of this mode's `jobs` before their first step, prepared together."""

    @abstractmethod
    def finish(self, solvings: Sequence["Solving"]) -> list["ChunkResult"]:
        """What became of this mode's solves, all of them done: seams and vocoder, packed."""


@dataclass(frozen=True)
class ChunkJob(ABC):
    """One chunk that is due: what the flow and the vocoder need of its dialogue. Each mode adds its own."""

    mode: SpeakingMode
    index: int  # in its turn, from 0
    tokens: tuple[int, ...]
    final: bool  # nothing follows: no mel is held back

    @property
    @abstractmethod
    def flow_frames(self) -> int:
        """Mel frames of the flow's call, prompt included; 0: the job needs nothing of the flow."""

    @property
    def wave_frames(self) -> int:
        """Mel frames that its tokens come to."""
        return mel_frames_of(len(self.tokens))


@dataclass(frozen=True)
class Solving:
    """A job between two steps. Never changed: each step makes new ones."""

    job: ChunkJob
    solve: FlowSolve | None  # None: the job needs nothing of the flow

    @property
    def is_done(self) -> bool:
        """Whether it may be finished, and is advanced no more."""
        return self.solve is None or self.solve.done

    @property
    def frames(self) -> int:
        """Mel frames, prompt included: the rows it adds to a step's pack, twice (the guidance pair)."""
        return 0 if self.solve is None else len(self.solve.x)

    def advanced(self, solve: FlowSolve) -> Self:
        return replace(self, solve=solve)


@dataclass(frozen=True)
class ChunkResult:
    """What became of a job. Each mode adds what it needs for the next one."""

    job: ChunkJob
    flow_mel: torch.Tensor  # f32[mel_bins, frames], after the prompt's frames, before the fade
    mel: torch.Tensor  # f32[mel_bins, frames] as given to the vocoder for good
    wave: torch.Tensor  # f32[samples] to be played


def begin_chunks(jobs: Sequence[ChunkJob]) -> list[Solving]:
    """The solvings of `jobs`, each of another dialogue, in their order."""
    return _by_mode(jobs, [job.mode for job in jobs], lambda mode, own: mode.begin(own))


def advance_chunks(flow: Steps, solvings: Sequence[Solving]) -> list[Solving]:
    """Each solving one Euler step further, in one forward; one that is done comes back as it is."""
    steps = iter(flow.step([s.solve for s in solvings if s.solve is not None and not s.is_done]))
    return [solving if solving.is_done else solving.advanced(next(steps)) for solving in solvings]


def finish_chunks(solvings: Sequence[Solving]) -> list[ChunkResult]:
    """The results of `solvings`, in their order. Raises InputError for one that is not done."""
    for solving in solvings:
        if not solving.is_done:
            step = 0 if solving.solve is None else solving.solve.step
            raise InputError(f"chunk {solving.job.index} stands at Euler step {step}; advance it until it is done.")
    return _by_mode(solvings, [solving.job.mode for solving in solvings], lambda mode, own: mode.finish(own))


def _by_mode(
    items: Sequence[Item], modes: Sequence[SpeakingMode], make: Callable[[SpeakingMode, Sequence[Item]], Sequence[Made]]
) -> list[Made]:
    """What each mode makes of its own items, all of one mode together, in the items' order."""
    made: dict[int, Made] = {}
    for mode in dict.fromkeys(modes):
        own = [i for i, one in enumerate(modes) if one is mode]
        made.update(zip(own, make(mode, [items[i] for i in own]), strict=True))
    return [made[i] for i in range(len(items))]
