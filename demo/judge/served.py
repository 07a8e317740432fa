"""Questions put to a served engine, over the network as any client asks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from antiphon.client import CallConfig, Client, Sampling
from antiphon.engine.hear.resample import resample
from antiphon.engine.service.client_config import MULAW_8K, AudioFormat, linear16
from antiphon.engine.think.vocab import Vocabulary
from antiphon.engine.units import MODEL_INPUT_RATE, OUTPUT_RATE
from demo.recipe.augment import telephone_band
from demo.recipe.spelled import normalised

LONGEST = 200  # ids of an answer


@dataclass(frozen=True)
class Question:
    """A spoken question and what is to be answered."""

    sound: np.ndarray  # f32[n] at 16 kHz
    text: str
    answer: str


@dataclass(frozen=True)
class Line:
    """The formats of a call."""

    into: AudioFormat
    out: AudioFormat
    is_telephone: bool = False  # the network between passes 300 to 3,400 Hz, both ways


WIDE = Line(linear16(MODEL_INPUT_RATE), linear16(OUTPUT_RATE))
TELEPHONE = Line(MULAW_8K, MULAW_8K, is_telephone=True)


@dataclass(frozen=True)
class Received:
    """One answer as it came over the network, beside the question."""

    question: Question
    text: str
    wave: np.ndarray  # f32[n] at `rate`
    rate: int
    codes: tuple[int, ...]  # the answer's speech tokens
    first_audio: float | None  # s from the end of the turn, by the server's clock; None: nothing was spoken
    took: float  # s from the request to its last event, by the client's

    @property
    def is_right(self) -> bool:
        """Whether the text is the expected one."""
        return normalised(self.text) == normalised(self.question.answer)

    @property
    def seconds(self) -> float:
        """Of its audio."""
        return len(self.wave) / self.rate


async def ask(
    client: Client,
    vocabulary: Vocabulary,
    questions: Sequence[Question],
    line: Line = WIDE,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Received]:
    """Ask one question after the other, each in a dialogue of its own; the most probable ids answer."""
    config = CallConfig(
        input_audio=line.into,
        output_audio=line.out,
        sampling=Sampling(temperature=0.0, seed=seed, max_output_tokens=LONGEST),
    )
    answers = []
    for question in questions:
        sound = question.sound
        if line.is_telephone:
            sound = telephone_band(sound, MODEL_INPUT_RATE)
        sound = resample(sound, MODEL_INPUT_RATE, line.into.rate)
        began = perf_counter()
        answer = await client.answer(np.clip(sound, -1.0, 1.0), config)
        took = perf_counter() - began
        ids = [token for item in answer.completed.history if item.role == "assistant" for token in item.ids or ()]
        codes = tuple(vocabulary.speech_code(token) for token in ids if vocabulary.is_speech(token))
        timing = answer.completed.timing
        wave = np.asarray(answer.audio.samples)
        if line.is_telephone and wave.size:
            wave = telephone_band(wave, line.out.rate)
        answers.append(Received(question, answer.text, wave, line.out.rate, codes, timing.first_audio, took))
        progress(len(answers))
    return answers


async def speak(client: Client, codes: Sequence[int]) -> np.ndarray:
    """Speech tokens spoken by the server, f32[n] at 22.05 kHz."""
    pieces = [piece.samples async for piece in client.detokenize(codes, WIDE.out)]
    return np.concatenate([np.zeros(0, np.float32), *pieces])
