"""Test questions put to the model: what it answers in text, and the codes it would speak."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.split import InterleavedSplitter, SpeechPiece, TextPiece
from antiphon.engine.units import MODEL_INPUT_RATE
from demo.recipe.clips import ClipSet
from demo.recipe.data import UNKNOWN_FORMS, Asked
from demo.recipe.spelled import normalised

_AT_ONCE: Final = 32
LONGEST: Final = 200  # ids of an answer


@dataclass(frozen=True)
class Answered:
    """One answer beside the one that was expected."""

    expected: str
    text: str
    codes: tuple[int, ...]
    ended: bool  # by the model's own stop

    @property
    def right(self) -> bool:
        return normalised(self.text) == normalised(self.expected)


@dataclass(frozen=True)
class Share:
    """So many of so many, with Wilson's 95 % interval (JASA 22, 1927)."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        return self.hits / max(1, self.count)

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and the upper end."""
        n, p, z = max(1, self.count), self.value, 1.96
        centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, (centre - spread) / (1 + z * z / n)), min(1.0, (centre + spread) / (1 + z * z / n))

    def figures(self) -> dict[str, float | int | list[float]]:
        """As it is reported."""
        return {"share": round(self.value, 4), "n": self.count, "interval": [round(end, 4) for end in self.interval]}


def sounds_of(clips: ClipSet) -> list[np.ndarray]:
    """f32 at 16 kHz of each clip of a test set."""
    return [clips[index].samples.astype(np.float32) / 32_768 for index in range(len(clips))]


def ask_recordings(
    lm: LanguageModel, tokenizer: SpeechTokenizer, sounds: Sequence[np.ndarray], plan: Sequence[Asked]
) -> list[Answered]:
    """Answers to single spoken questions."""
    prompts = []
    for start in range(0, len(sounds), _AT_ONCE):
        batch = [(sound, MODEL_INPUT_RATE) for sound in sounds[start : start + _AT_ONCE]]
        prompts += [lm.chat_prompt([codes]) for codes in tokenizer.encode_batch(batch)]
    return answer(lm, prompts, [one.exchange.answer if one.exchange else "" for one in plan])


def ask_in_text(lm: LanguageModel, plan: Sequence[Asked]) -> list[Answered]:
    """Answers to the same questions in writing."""
    asked = [one.exchange for one in plan if one.exchange is not None]
    return answer(lm, [lm.chat_prompt([one.question]) for one in asked], [one.answer for one in asked])


def answer(lm: LanguageModel, prompts: Sequence[list[int]], expected: Sequence[str]) -> list[Answered]:
    """Greedy answers, in batches."""
    answers: list[Answered] = []
    for start in range(0, len(prompts), _AT_ONCE):
        for ids in lm.generate_batch(prompts[start : start + _AT_ONCE], LONGEST):
            answers.append(_answered(lm, ids, expected[len(answers)]))
    return answers


def share_right(answers: Sequence[Answered]) -> Share:
    """How many have the expected text."""
    return Share(sum(one.right for one in answers), len(answers))


def kind_of_unknown(asked: Asked) -> str:
    """What lies outside the domain about a recording of the test set "unknown"."""
    if asked.line.speaker.is_foreign:
        return "other languages"
    if asked.line.language == "zh":
        return "Mandarin outside the domain"
    is_question = any(asked.line.text.startswith(form.partition("{")[0]) for form in UNKNOWN_FORMS)
    return "questions outside the domain" if is_question else "words in a row"


def _answered(lm: LanguageModel, ids: list[int], expected: str) -> Answered:
    splitter = InterleavedSplitter(lm.vocabulary)
    pieces = [*splitter.push(ids), *splitter.finish()]
    text = "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))
    codes = tuple(code for piece in pieces if isinstance(piece, SpeechPiece) for code in piece.codes)
    return Answered(expected, text, codes, bool(ids) and ids[-1] in lm.config.stop_ids)
