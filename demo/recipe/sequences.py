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
from demo.recipe.voices import ASSISTANT_SPEEDS, Language

_TEXT_WEIGHT: Final = 4.0  # of a text id in an answer; a speech id has 1
_TEXT_PROMPTS: Final = 0.12  # of the dialogues
_NO_SPEECH: Final = 0.03  # of the questions: silence, noise or tones
_FOLLOW_UPS: Final = (0.3, 0.3)  # chance of a second turn after a sum, and of a third after a second
# A caller asks more than one thing, and what the instruction before them costs is paid once.
_MORE_QUESTIONS: Final = 0.55  # chance of a question after the others, about something else
_MOST_TURNS: Final = 5
# There are so many sums that, each question asked as often as any other, the rest would be a fifth and not be learnt.
_SUMS_ASKED: Final = 0.4  # of the questions; the others' kinds are asked equally often
# Adding is learnt from sums in writing, far more of them than can be spoken: a model that has seen as many as are
# spoken knows its table by heart and no other sum.
_SUMS_IN_PRETRAINING: Final = 0.4  # of the documents
_SUMS_IN_FINE_TUNING: Final = 0.2  # of the draws, so that adding stays more than a table
_SUMS: Final = 10  # of such a document
_ASKED_SUMS: Final = 0.25  # of them, with their question before
_MANDARIN_SUMS: Final = 0.4  # of such documents
_DRAWN_WEIGHT: Final = 0.2  # of a written sum's operands, which nothing foretells
_SUMS_IN_TEXTS: Final = 0.2  # of the other texts of pre-training
_TEXT, _SPEECH, _TRANSCRIPT, _INTERLEAVED = range(4)  # kinds of documents
_KINDS: Final = (0.15, 0.1, 0.45, 0.3)  # how often each of them is drawn
_HEARD_WEIGHT: Final = 0.1  # of the codes before a transcript
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
        self._asked: dict[str, list[tuple[int, Exchange]]] = defaultdict(list)  # kind → (recording, exchange)
        self._follow_ups: dict[str, list[int]] = defaultdict(list)  # question → recordings
        for index, one in enumerate(corpus.asked):
            if one.exchange is None:
                continue
            if one.exchange.kind == "memory":
                self._follow_ups[one.exchange.question].append(index)
            else:
                self._asked[one.exchange.kind].append((index, one.exchange))
        self._others = sorted(kind for kind in self._asked if kind != "sum")

    def draw(self, random: np.random.Generator) -> Weighted:
        """One dialogue, or now and then written sums."""
        if random.random() < _SUMS_IN_FINE_TUNING:
            return written_sums(self._vocabulary, random)
        in_text = random.random() < _TEXT_PROMPTS
        turns = self._question(in_text, random)
        while len(turns) < _MOST_TURNS and random.random() < _MORE_QUESTIONS:
            turns += self._question(in_text, random)
        return self._dialogue(turns, random)

    def _question(self, in_text: bool, random: np.random.Generator) -> list[tuple[list[int] | None, Exchange]]:
        """A question and what follows from its answer: the user's codes (None: text) and the exchange of each turn."""
        if not in_text and random.random() < _NO_SPEECH:
            codes = self._no_speech[int(random.integers(len(self._no_speech)))]
            return [(codes, Exchange("", domain.UNKNOWN["en"], "unknown"))]
        others = [kind for kind in self._others if not (in_text and kind == "unknown")]
        is_sum = not others or ("sum" in self._asked and random.random() < _SUMS_ASKED)
        some = self._asked["sum" if is_sum else others[int(random.integers(len(others)))]]
        recording, exchange = some[int(random.integers(len(some)))]
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
        return turns

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
    """Written sums; text, speech, speech with its transcript, and text with spans of speech."""

    vocabulary: Vocabulary
    texts: Sequence[str]
    answers: Answers
    heard: Sequence[Codes]  # users' codes, once for each augmented copy
    said: Sequence[str]  # what each of those clips says; empty where it is in no language of ours
    mixed: Sequence[list[int]]  # ids of interleaved documents

    def draw(self, random: np.random.Generator) -> Weighted:
        """One document."""
        if random.random() < _SUMS_IN_PRETRAINING:
            return written_sums(self.vocabulary, random)
        shares = np.array(_KINDS if self.mixed else _KINDS[:_INTERLEAVED])
        kind = int(random.choice(len(shares), p=shares / shares.sum()))
        if kind == _TEXT:
            return wanted(self.vocabulary.encode(self.texts[int(random.integers(len(self.texts)))]))
        if kind == _INTERLEAVED:
            return wanted(self.mixed[int(random.integers(len(self.mixed)))])
        copy = self.heard[int(random.integers(len(self.heard)))]
        clip = int(random.integers(len(copy)))
        if kind == _TRANSCRIPT and self.said[clip]:
            return self._transcript(copy[clip], self.said[clip])
        own = random.random() < 0.5
        codes = self.answers.spoken[int(random.integers(len(self.answers.spoken)))][1] if own else copy[clip]
        return wanted(self._speech(codes))

    def _transcript(self, codes: Sequence[int], said: str) -> Weighted:
        """What was heard, then what it says: hearing is learnt from words alone before it is learnt from answers."""
        begin, end = (self.vocabulary.control_id(f"<|{name}_of_audio|>") for name in ("begin", "end"))
        heard = wanted([begin, *self._speech(codes), end], _HEARD_WEIGHT)
        return heard + wanted(self.vocabulary.encode(said), _TEXT_WEIGHT)

    def _speech(self, codes: Sequence[int]) -> list[int]:
        return [self.vocabulary.speech_id(code) for code in codes]


def written_sums(vocabulary: Vocabulary, random: np.random.Generator) -> Weighted:
    """Sums, a line each and to the letter as answers have them; what follows from the operands counts most.

    A line each, because "… is twenty" followed by "three plus …" would read as twenty three.
    """
    language: Language = "zh" if random.random() < _MANDARIN_SUMS else "en"
    document = Weighted([], [])
    for _ in range(_SUMS):
        exchange = domain.written_sum(language, random)
        asked = f"{exchange.question}\n" if random.random() < _ASKED_SUMS else ""
        is_word = "等于" if language == "zh" else " is"
        drawn = exchange.answer.rindex(is_word) + len(is_word)
        document += wanted(vocabulary.encode(asked + exchange.answer[:drawn]), _DRAWN_WEIGHT)
        document += wanted(vocabulary.encode(exchange.answer[drawn:] + "\n"), _TEXT_WEIGHT)
    return document


def training_texts(count: int, random: np.random.Generator) -> list[str]:
    """Documents of a few exchanges each, a line a question and a line an answer; never a held-out sum."""
    by_language: dict[Language, list[Exchange]] = {"en": [], "zh": []}
    for exchange in domain.known_exchanges():
        by_language[exchange.language].append(exchange)
    texts = []
    for _ in range(count):
        if random.random() < _SUMS_IN_TEXTS:
            language: Language = "zh" if random.random() < _MANDARIN_SUMS else "en"
            chosen = [domain.written_sum(language, random) for _ in range(3)]
        else:
            known = by_language["zh" if random.random() < 0.2 else "en"]
            chosen = [known[int(index)] for index in random.integers(len(known), size=int(random.integers(2, 5)))]
        texts.append("\n".join(line for one in chosen for line in (one.question, one.answer)))
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
