"""What the judge's hearing says of speech."""

from collections.abc import Sequence

import numpy as np

from demo.judge.recogniser import Judge
from demo.recipe.clips import ClipSet
from demo.recipe.data import Asked
from demo.recipe.questions import Share, sounds_of
from demo.recipe.spelled import edits, sounds, word_error_rate, words


def original_error(judge: Judge, clips: ClipSet, plan: Sequence[Asked]) -> float:
    """The judge's own word error rate on recordings: what stands beside every other figure."""
    heard = judge.hear([(sound, clips.rate) for sound in sounds_of(clips)])
    return word_error_rate([(text, one.line.text) for text, one in zip(heard, plan, strict=True)])


def heard_right(heard: Sequence[str], expected: Sequence[str]) -> Share:
    """How many sentences were heard exactly as expected."""
    hits = sum(_same(given, wanted) for given, wanted in zip(heard, expected, strict=True))
    return Share(hits, len(expected))


def shuffled_right(heard: Sequence[str], expected: Sequence[str], seed: int = 0) -> tuple[Share, float]:
    """The same with the answers dealt to other questions, and the share that chance would give.

    A judge that reports what it expects, or a test whose answers are all alike, shows here.
    """
    order = np.random.default_rng(seed).permutation(len(expected))
    wanted = [expected[index] for index in order]
    _, counts = np.unique([_key(text) for text in expected], return_counts=True)
    chance = float(np.square(counts / len(expected)).sum())
    return heard_right(heard, wanted), chance


def error_interval(pairs: Sequence[tuple[str, str]], seed: int = 0, draws: int = 1_000) -> tuple[float, float]:
    """The bootstrap's 95 % interval of the word error rate over (given, wanted) texts (Efron 1979)."""
    errors = np.array([edits(sounds(given), sounds(wanted)) for given, wanted in pairs])
    lengths = np.array([len(words(wanted)) for _, wanted in pairs])
    chosen = np.random.default_rng(seed).integers(len(pairs), size=(draws, len(pairs)))
    rates = errors[chosen].sum(axis=1) / np.maximum(1, lengths[chosen].sum(axis=1))
    low, high = np.quantile(rates, (0.025, 0.975))
    return float(low), float(high)


def _same(given: str, wanted: str) -> bool:
    return _key(given) == _key(wanted)


def _key(text: str) -> str:
    """As it sounds, without spaces: CTC may miss one, and no listener hears it."""
    return "".join(sounds(text))
