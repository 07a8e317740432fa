"""The first turn of an engine, before anyone waits for one: kernels are compiled, memory is taken."""

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np

from antiphon.engine.config import SessionConfig
from antiphon.engine.errors import AntiphonError
from antiphon.engine.events import ResponseCompleted
from antiphon.engine.session import Session
from antiphon.engine.think.sampling import SamplingParams
from antiphon.engine.units import MODEL_INPUT_RATE

_TOKENS: Final = 60  # the first chunk of audio is among them


class Sessions(Protocol):
    """An engine, as far as it is needed here."""

    @property
    def session(self) -> Callable[[SessionConfig], Session]: ...


async def one_turn(engine: Sessions) -> None:
    """A second of noise, and its answer. Raises AntiphonError when it is not answered."""
    second = np.random.default_rng(0).normal(scale=0.05, size=MODEL_INPUT_RATE).astype(np.float32)
    async with engine.session(SessionConfig(sampling=SamplingParams(max_new_tokens=_TOKENS))) as session:
        await session.push_audio(second, MODEL_INPUT_RATE)
        await session.commit()
        async for event in session.events():
            if isinstance(event, ResponseCompleted):
                if event.failure is not None:
                    raise AntiphonError(f"the engine could not answer: {event.failure.kind}.")
                return
