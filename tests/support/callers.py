"""Callers of an embedded engine: each runs one dialogue and keeps what it received."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

import antiphon
from antiphon.events import AudioOutput, Event, Interrupted, ResponseCompleted, TextDelta


@dataclass
class Received:
    """One answer, as its caller got it."""

    events: list[Event] = field(default_factory=list)

    @property
    def completed(self) -> ResponseCompleted:
        assert isinstance(self.events[-1], ResponseCompleted), "the answer is not complete"
        return self.events[-1]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def wave(self) -> np.ndarray:
        waves = [event.samples for event in self.events if isinstance(event, AudioOutput)]
        return np.concatenate([np.zeros(0, np.float32), *waves])

    @property
    def interrupted(self) -> Interrupted | None:
        return next((event for event in self.events if isinstance(event, Interrupted)), None)

    @property
    def heard_ids(self) -> list[int]:
        """The caller's speech codes, as the engine put them into the history."""
        return list(self.completed.history[0].speech or ())

    @property
    def answer_ids(self) -> list[int]:
        """The LM's ids that stay in the history."""
        return list(self.completed.history[1].ids or ())


async def receive(session: "antiphon.Session") -> Received:
    """The next answer of a session, to its end."""
    received = Received()
    async for event in session.events():
        if isinstance(event, antiphon.events.SessionStarted):
            continue
        received.events.append(event)
        if isinstance(event, ResponseCompleted):
            return received
    raise AssertionError("the session ended before its answer did")


async def ask(session: "antiphon.Session", pcm: np.ndarray, rate: int, cuts: Sequence[int] = ()) -> Received:
    """Push one spoken turn, cut at `cuts` samples, commit it, and receive the answer."""
    for piece in np.split(pcm, list(cuts)):
        await session.push_audio(piece, rate)
    await session.commit()
    return await receive(session)
