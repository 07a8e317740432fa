"""The first stage: every clip that anything is trained or tested on.

assistant         22.05 kHz: answers in each delivery, and open vocabulary; never a held-out sum's answer
users             16 kHz: questions, then open vocabulary, by the training voices
test-known        new recordings of known questions by the training voices
test-voices       the same kinds by voices that no training hears
test-sums         sums that no training sees, by the training voices
test-open         open vocabulary by the training voices
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from antiphon.engine.units import MODEL_INPUT_RATE, OUTPUT_RATE
from demo.recipe import domain
from demo.recipe.clips import ClipSet, Line, make_clips
from demo.recipe.domain import Exchange
from demo.recipe.scales import Scale
from demo.recipe.stage import Stage
from demo.recipe.voices import ASSISTANT_SPEEDS, LANGUAGES, Language, Speaker, assistant, foreigner, user
from demo.recipe.words import draw as draw_words
from demo.recipe.words import english_sentence, english_words, mandarin_sentence

_MANDARIN_SHARE: Final = 0.2  # of open vocabulary
_DELIVERY_SHARE: Final = 0.2  # of questions
_MEMORY_SHARE: Final = 0.06
_REPEAT_SHARE: Final = 0.12
_UNKNOWN_SHARE: Final = 0.12
_HIGHEST_TOTAL: Final = {language: 2 * largest for language, largest in domain.LARGEST_OPERAND.items()}

_FOREIGN: Final[dict[str, str]] = {
    "de": "wie spät ist es heute morgen ich möchte einen kaffee bitte wo liegt der bahnhof schönes wetter danke freund",
    "fr": "bonjour comment allez vous je voudrais du pain merci beaucoup quelle heure est il demain la maison rouge",
    "es": "buenos días cómo estás quiero una mesa para dos gracias dónde está la estación mañana por la tarde",
    "it": "buongiorno come stai vorrei un gelato grazie dove si trova la stazione domani mattina la casa bella",
    "pl": "dzień dobry jak się masz poproszę herbatę dziękuję gdzie jest dworzec jutro rano piękny dom",
    "ru": "привет как дела я хочу чай спасибо где вокзал завтра утром красивый дом сколько времени",
    "fi": "hyvää päivää mitä kuuluu haluan kahvia kiitos missä on asema huomenna aamulla kaunis talo",
    "nl": "goedemorgen hoe gaat het ik wil graag koffie dank je waar is het station morgen mooi huis",
    "sv": "god morgon hur mår du jag vill ha kaffe tack var ligger stationen imorgon vackert hus",
    "tr": "günaydın nasılsın kahve istiyorum teşekkürler istasyon nerede yarın sabah güzel ev kaç para",
}
UNKNOWN_FORMS: Final = (
    "what is the {0} of the {1}",
    "who is the {0} {1}",
    "why does the {0} {1}",
    "where is my {0} {1}",
    "when did the {0} {1} the {2}",
    "can you {0} the {1} for me",
    "how many {0} are in the {1}",
    "tell me about the {0} {1}",
)


@dataclass(frozen=True)
class Asked:
    """A recording that was, or will be made, of a question."""

    line: Line
    exchange: Exchange | None  # None: open vocabulary


@dataclass(frozen=True)
class Recordings:
    """What a trained checkpoint is measured on: the test sets, and the assistant's answers as they were recorded."""

    assistant: ClipSet
    tests: Mapping[str, tuple[ClipSet, Sequence[Asked]]]


@dataclass(frozen=True)
class Corpus(Recordings):
    """All that was planned, and the clips of it."""

    users: ClipSet
    asked: Sequence[Asked]  # in the order of `users`

    @property
    def phonemes(self) -> tuple[str, ...]:
        """One numbering of the labels for both large sets."""
        return tuple(sorted({*self.assistant.phonemes, *self.users.phonemes}, key=lambda name: (name != "_", name)))


def make_corpus(stage: Stage, scale: Scale, seed: int, workers: int) -> Corpus:
    """Plan every set and speak what is not yet on the disk."""
    measured = make_recordings(stage.folder, scale, seed, workers, stage.say)
    asked = plan_users(scale, seed)
    users = make_clips(stage.folder / "users", [one.line for one in asked], MODEL_INPUT_RATE, workers, stage.say)
    corpus = Corpus(measured.assistant, measured.tests, users, asked)
    for one in (corpus.assistant, corpus.users):
        one.renumber(corpus.phonemes)
    return corpus


def make_recordings(folder: Path, scale: Scale, seed: int, workers: int, progress: Callable[[str], None]) -> Recordings:
    """The same without what only training hears."""

    def clips(name: str, lines: Sequence[Line], rate: int) -> ClipSet:
        return make_clips(folder / name, lines, rate, workers, progress)

    tests = {
        name: (clips(f"test-{name}", [one.line for one in plan], MODEL_INPUT_RATE), plan)
        for name, plan in plan_tests(scale, seed).items()
    }
    return Recordings(clips("assistant", plan_assistant(scale, seed), OUTPUT_RATE), tests)


def repeated(scale: Scale, seed: int) -> list[Exchange]:
    """The phrases to be said again."""
    return list(domain.repeating(english_words(), scale.repeated_phrases, seed))


def plan_assistant(scale: Scale, seed: int) -> list[Line]:
    """Every answer once in each delivery, then sentences of any words."""
    random = np.random.default_rng((seed, 1))
    answers = {(exchange.answer, exchange.language) for exchange in domain.known_exchanges()}
    answers |= {(text, language) for language, text in domain.UNKNOWN.items()}
    for language, highest in _HIGHEST_TOTAL.items():
        for total in range(highest + 2):
            answers |= {(one.answer, one.language) for one in domain.follow_up(total, language)}
    answers |= {(exchange.answer, exchange.language) for exchange in repeated(scale, seed)}
    lines = [
        Line(text, assistant(language, delivery), language)
        for text, language in sorted(answers)
        for delivery in ASSISTANT_SPEEDS
    ]
    for _ in range(scale.assistant_open_clips):
        lines.append(_assistant_open(random, None))
    return [lines[index] for index in random.permutation(len(lines))]


def plan_users(scale: Scale, seed: int) -> list[Asked]:
    """Questions: every known one as often as any other, deliveries, follow-ups, phrases, and what has no answer."""
    random = np.random.default_rng((seed, 2))
    known = list(domain.known_exchanges())
    phrases = repeated(scale, seed)
    asked: list[Asked] = []
    while len(asked) < scale.domain_clips:
        exchange = known[len(asked) % len(known)]
        draw = random.random()
        if draw < _DELIVERY_SHARE:
            exchange = domain.with_delivery(known[int(random.integers(len(known)))], random)
        elif draw < _DELIVERY_SHARE + _MEMORY_SHARE:
            language: Language = "zh" if random.random() < _MANDARIN_SHARE else "en"
            follow = domain.follow_up(1, language)
            exchange = follow[int(random.integers(len(follow)))]
        elif draw < _DELIVERY_SHARE + _MEMORY_SHARE + _REPEAT_SHARE:
            exchange = phrases[int(random.integers(len(phrases)))]
        elif draw < _DELIVERY_SHARE + _MEMORY_SHARE + _REPEAT_SHARE + _UNKNOWN_SHARE:
            asked.append(_unknown(random))
            continue
        asked.append(_ask(exchange, random))
    return asked + [_open(random) for _ in range(scale.open_clips)]


def plan_tests(scale: Scale, seed: int) -> dict[str, list[Asked]]:
    """The test sets. Their speakers' manners are drawn anew, so that no recording stands in two sets."""
    random = np.random.default_rng((seed, 3))
    known = list(domain.known_exchanges())
    sums = [exchange for language in LANGUAGES for exchange in domain.sums(language, held_out=True)]

    def draw(exchanges: list[Exchange], held_out: bool = False) -> list[Asked]:
        order = random.permutation(max(len(exchanges), scale.test_clips)) % len(exchanges)
        return [_ask(exchanges[index], random, held_out) for index in order[: scale.test_clips]]

    return {
        "known": draw(known),
        "voices": draw(known, held_out=True),
        "sums": draw(sums),
        "open": [_open(random) for _ in range(scale.test_clips)],
        "delivery": draw([domain.with_delivery(known[index], random) for index in random.permutation(len(known))]),
        "memory": draw([one for language in LANGUAGES for one in domain.follow_up(1, language)]),
        "unknown": [_unknown(random) for _ in range(scale.test_clips)],
        "assistant": [Asked(_assistant_open(random, ""), None) for _ in range(scale.test_clips)],
    }


def _assistant_open(random: np.random.Generator, delivery: str | None) -> Line:
    """A sentence of any words by the assistant; no delivery: one of the three."""
    mandarin = random.random() < _MANDARIN_SHARE
    delivery = str(random.choice(("", "", "slowly", "quickly"))) if delivery is None else delivery
    if mandarin:
        return Line(mandarin_sentence(random), assistant("zh", delivery), "zh")
    return Line(english_sentence(random), assistant("en", delivery))


def _ask(exchange: Exchange, random: np.random.Generator, held_out: bool = False) -> Asked:
    speaker = user(exchange.language, random, held_out)
    return Asked(Line(exchange.question, speaker, exchange.language), exchange)


def _open(random: np.random.Generator) -> Asked:
    if random.random() < _MANDARIN_SHARE:
        return Asked(Line(mandarin_sentence(random), user("zh", random), "zh"), None)
    return Asked(Line(english_sentence(random), user("en", random)), None)


def _unknown(random: np.random.Generator) -> Asked:
    """Something outside the domain: another question, words in a row, Mandarin, or a language it does not know."""
    draw = random.random()
    if draw < 0.25:
        speaker = foreigner(random)
        return _unanswerable(_foreign_words(speaker, random), speaker)
    if draw < 0.4:
        text = mandarin_sentence(random)
        return _unanswerable(text, user("zh", random), "zh")
    words = draw_words(english_words(), 3, random)
    form = UNKNOWN_FORMS[int(random.integers(len(UNKNOWN_FORMS)))]
    text = form.format(*words) if draw < 0.85 else english_sentence(random)
    return _unanswerable(text, user("en", random))


def _unanswerable(text: str, speaker: Speaker, language: Language = "en") -> Asked:
    return Asked(Line(text, speaker, language), Exchange(text, domain.UNKNOWN[language], "unknown", language))


def _foreign_words(speaker: Speaker, random: np.random.Generator) -> str:
    words = _FOREIGN[speaker.voice.split("+")[0]].split()
    return " ".join(draw_words(words, int(random.integers(3, 8)), random))
