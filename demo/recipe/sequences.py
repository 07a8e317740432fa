"""What the language model is trained on, as ids with a weight for each: documents and dialogues."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from antiphon.engine.think.prompt import (
    SPEECH_SYSTEM_PROMPT,
    TEXT_SYSTEM_PROMPT,
    prompt_prefix,
    speech_turn,
    text_turn,
)
from antiphon.engine.think.vocab import Vocabulary
from antiphon.engine.units import SPEECH_TOKENS_PER_BLOCK, TEXT_TOKENS_PER_BLOCK
from demo.recipe import domain
from demo.recipe.data import Corpus
from demo.recipe.domain import Delivery, Exchange
from demo.recipe.tokens import Codes
from demo.recipe.voices import ASSISTANT_SPEEDS, LANGUAGES, Language

_TEXT_WEIGHT: Final = 4.0  # of a text id in an answer; a speech id has 1
_TEXT_PROMPTS: Final = 0.12  # of the dialogues
_NO_SPEECH: Final = 0.03  # of the dialogues: silence, noise or tones
_FOLLOW_UPS: Final = (0.3, 0.3)  # chance of a second turn after a sum, and of a third after a second
_WRITTEN_SUMS: Final = 0.5  # of the texts of pre-training: sums alone, of larger numbers too
_WRITTEN_OPERAND: Final = 49
_WRITTEN_IN_DIALOGUES: Final = 0.12  # of fine-tuning: larger sums in writing, so that adding stays more than a table
_NOISE: Final = 0.03  # of the user's codes, replaced by any


@dataclass(frozen=True)
class Weighted:
    """Ids, and how much the prediction of each counts."""

    ids: list[int]
    weights: list[float]

    def __add__(self, other: "Weighted") -> "Weighted":
        return Weighted(self.ids + other.ids, self.weights + other.weights)


def given(ids: Sequence[int]) -> Weighted:
    """What the model is given and need not predict."""
    return Weighted(list(ids), [0.0] * len(ids))


def wanted(ids: Sequence[int], weight: float = 1.0) -> Weighted:
    """What it must predict."""
    return Weighted(list(ids), [weight] * len(ids))


def interleaved(text: Sequence[int], speech: Sequence[int]) -> list[int]:
    """13 text ids, 26 speech ids, and so on; what is left of the longer follows."""
    ids: list[int] = []
    rounds = -(-len(text) // TEXT_TOKENS_PER_BLOCK)
    for index in range(rounds):
        ids += text[index * TEXT_TOKENS_PER_BLOCK : (index + 1) * TEXT_TOKENS_PER_BLOCK]
        ids += speech[index * SPEECH_TOKENS_PER_BLOCK : (index + 1) * SPEECH_TOKENS_PER_BLOCK]
    return ids + list(speech[rounds * SPEECH_TOKENS_PER_BLOCK :])


class Answers:
    """The assistant's codes of every answer, by text and delivery."""

    def __init__(self, corpus: Corpus, codes: Codes) -> None:
        delivery_of = {speed: delivery for delivery, speed in ASSISTANT_SPEEDS.items()}
        self._codes: dict[tuple[str, str], list[int]] = {}
        self.spoken: list[tuple[str, list[int]]] = []  # every text in the plain delivery
        for line, one in zip(corpus.assistant.lines, codes, strict=True):
            delivery = delivery_of[line.speaker.speed]
            self._codes[line.text, delivery] = one
            if not delivery:
                self.spoken.append((line.text, one))

    def codes(self, text: str, delivery: Delivery) -> list[int]:
        """How `text` is spoken."""
        return self._codes[text, delivery]


class Dialogues:
    """Draws dialogues of one to three turns, from the users' recordings."""

    def __init__(
        self, vocabulary: Vocabulary, corpus: Corpus, answers: Answers, heard: Sequence[Codes], no_speech: Codes
    ) -> None:
        """`heard` are the users' codes, once for each augmented copy."""
        self._vocabulary = vocabulary
        self._answers = answers
        self._heard = heard
        self._no_speech = no_speech
        self._written = [text for one in LANGUAGES for text in domain.written_sums(one, _WRITTEN_OPERAND)]
        self._asked: list[tuple[int, Exchange]] = []  # index of the recording
        self._follow_ups: dict[str, list[int]] = defaultdict(list)  # question → recordings
        for index, one in enumerate(corpus.asked):
            if one.exchange is None:
                continue
            if one.exchange.kind == "memory":
                self._follow_ups[one.exchange.question].append(index)
            else:
                self._asked.append((index, one.exchange))

    def draw(self, random: np.random.Generator) -> Weighted:
        """One dialogue, or now and then a written sum."""
        if random.random() < _WRITTEN_IN_DIALOGUES:
            text = self._written[int(random.integers(len(self._written)))]
            return wanted(self._vocabulary.encode(text))
        if random.random() < _NO_SPEECH:
            codes = self._no_speech[int(random.integers(len(self._no_speech)))]
            silent = Exchange("", domain.UNKNOWN["en"], "unknown")
            return self._dialogue([(codes, silent)], random)
        recording, exchange = self._asked[int(random.integers(len(self._asked)))]
        in_text = exchange.kind != "unknown" and random.random() < _TEXT_PROMPTS
        turns = [self._turn(recording, exchange, in_text, random)]
        for chance in _FOLLOW_UPS:
            if exchange.total is None or random.random() >= chance:
                break
            possible = [f for f in domain.follow_up(exchange.total, exchange.language) if self._follow_ups[f.question]]
            highest = 2 * domain.LARGEST_OPERAND[exchange.language] + 1
            if not possible or exchange.total > highest:
                break
            exchange = possible[int(random.integers(len(possible)))]
            recordings = self._follow_ups[exchange.question]
            turns.append(self._turn(recordings[int(random.integers(len(recordings)))], exchange, in_text, random))
        return self._dialogue(turns, random)

    def _turn(
        self, recording: int, exchange: Exchange, in_text: bool, random: np.random.Generator
    ) -> tuple[list[int] | None, Exchange]:
        """The user's codes (None: text) and the exchange."""
        return (None if in_text else self._heard[int(random.integers(len(self._heard)))][recording]), exchange

    def _dialogue(self, turns: Sequence[tuple[list[int] | None, Exchange]], random: np.random.Generator) -> Weighted:
        vocabulary = self._vocabulary
        in_text = turns[0][0] is None
        sequence = given(prompt_prefix(vocabulary, TEXT_SYSTEM_PROMPT if in_text else SPEECH_SYSTEM_PROMPT))
        for codes, exchange in turns:
            if codes is None:
                sequence += given(text_turn(vocabulary, exchange.question))
            else:
                sequence += given(speech_turn(vocabulary, _noisy(codes, vocabulary.n_codes, random)))
            sequence += self.answer(exchange)
        # `<|user|>` ends an answer: the next turn's own, and here one more.
        return _ended(sequence + wanted([vocabulary.control_id("<|user|>")], _TEXT_WEIGHT), vocabulary)

    def answer(self, exchange: Exchange) -> Weighted:
        """Text and speech, interleaved."""
        vocabulary = self._vocabulary
        speech = [vocabulary.speech_id(code) for code in self._answers.codes(exchange.answer, exchange.delivery)]
        ids = interleaved(vocabulary.encode(exchange.answer), speech)
        return Weighted(ids, [1.0 if vocabulary.is_speech(token) else _TEXT_WEIGHT for token in ids])


@dataclass(frozen=True)
class Documents:
    """Text, speech, and text with spans of speech, a third each."""

    vocabulary: Vocabulary
    texts: Sequence[str]
    answers: Answers
    heard: Sequence[Codes]
    mixed: Sequence[list[int]]  # ids of interleaved documents

    def draw(self, random: np.random.Generator) -> Weighted:
        """One document."""
        kind = int(random.integers(3 if self.mixed else 2))
        if kind == 0:
            return wanted(self.vocabulary.encode(self.texts[int(random.integers(len(self.texts)))]))
        if kind == 1:
            copy = self.heard[int(random.integers(len(self.heard)))]
            own = random.random() < 0.5
            codes = self.answers.spoken[int(random.integers(len(self.answers.spoken)))][1]
            codes = codes if own else copy[int(random.integers(len(copy)))]
            return wanted([self.vocabulary.speech_id(code) for code in codes])
        return wanted(self.mixed[int(random.integers(len(self.mixed)))])


def training_texts(count: int, random: np.random.Generator) -> list[str]:
    """Documents of a few exchanges each: question, answer, question, answer; never a held-out sum."""
    known = domain.known_exchanges()
    by_language: dict[Language, list[Exchange]] = {"en": [], "zh": []}
    for exchange in known:
        by_language[exchange.language].append(exchange)
    written = {language: list(domain.written_sums(language, _WRITTEN_OPERAND)) for language in LANGUAGES}
    texts = []
    for _ in range(count):
        if random.random() < _WRITTEN_SUMS:
            all_sums = written["zh" if random.random() < 0.3 else "en"]
            texts.append(" ".join(all_sums[int(index)] for index in random.integers(len(all_sums), size=3)))
            continue
        exchanges = by_language["zh" if random.random() < 0.2 else "en"]
        chosen = [exchanges[int(index)] for index in random.integers(len(exchanges), size=int(random.integers(2, 5)))]
        texts.append(" ".join(f"{one.question} {one.answer}" for one in chosen))
    return texts


def _noisy(codes: Sequence[int], n_codes: int, random: np.random.Generator) -> list[int]:
    replaced = random.random(len(codes)) < _NOISE
    others = random.integers(n_codes, size=len(codes))
    noisy: list[int] = np.where(replaced, others, np.asarray(codes)).tolist()
    return noisy


def _ended(sequence: Weighted, vocabulary: Vocabulary) -> Weighted:
    """Every `<|user|>` that follows an answer must be predicted, those between turns too."""
    user = vocabulary.control_id("<|user|>")
    weights = [
        _TEXT_WEIGHT if token == user and index and sequence.weights[index - 1] else weight
        for index, (token, weight) in enumerate(zip(sequence.ids, sequence.weights, strict=True))
    ]
    return Weighted(sequence.ids, weights)
