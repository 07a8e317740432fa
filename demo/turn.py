"""One spoken turn of a newcomer: a question to an embedded engine, streamed as a caller has it."""

from dataclasses import dataclass
from typing import Final

import numpy as np

import antiphon
from antiphon.engine.errors import AntiphonError
from antiphon.engine.units import OUTPUT_RATE
from antiphon.events import AudioOutput, ResponseCompleted, TextDelta, Timing

_MOST_PROBABLE: Final = antiphon.SessionConfig(sampling=antiphon.SamplingParams(temperature=0.0, max_new_tokens=400))


@dataclass(frozen=True)
class Turn:
    """An answer."""

    text: str
    wave: np.ndarray  # f32[n] at 22.05 kHz
    timing: Timing

    @property
    def seconds(self) -> float:
        """Of its speech."""
        return len(self.wave) / OUTPUT_RATE


async def one_turn(
    engine: antiphon.Engine,
    question: np.ndarray,  # f32[n]
    rate: int,  # of the question, Hz
) -> Turn:
    """The most probable answer, in a dialogue of its own. Raises AntiphonError where there is none."""
    text: list[str] = []
    waves = [np.zeros(0, np.float32)]
    async with engine.session(_MOST_PROBABLE) as session:
        await session.push_audio(question, rate)
        await session.commit()
        async for event in session.events():
            match event:
                case TextDelta():
                    text.append(event.text)
                case AudioOutput():
                    waves.append(event.samples)
                case ResponseCompleted():
                    if event.failure is not None:
                        raise AntiphonError(event.failure.message)
                    return Turn("".join(text), np.concatenate(waves), event.timing)
    raise AntiphonError("the session ended before its answer did.")
