"""Texts as the recognisers spell them: lower-case letters, spaces, Chinese characters; and how far two are apart."""

import re
from collections.abc import Sequence
from functools import cache
from string import ascii_lowercase
from typing import Final

import torch

from demo.recipe.words import han_characters

BLANK: Final = 0  # of CTC
# Among the recipe's words those that the assistant's voices say alike (espeak-ng's phonemes): no listener tells them
# apart, so no recogniser is asked to.
_ALIKE: Final = (
    "are r", "b be", "c sea see", "eye i", "hi high", "knot not", "know no", "knows nose", "peace piece",
    "to too two", "u you", "wait weight", "wood would",
    "上 尚", "久 九", "事 市 是", "再 在", "到 道", "名 明", "啡 非", "得 的", "提 题", "语 雨",
)  # fmt: skip


@cache
def alphabet() -> tuple[str, ...]:
    """What CTC may emit; the blank is first."""
    return ("", " ", *ascii_lowercase, *han_characters())


@cache
def _numbers() -> dict[str, int]:
    return {symbol: number for number, symbol in enumerate(alphabet())}


def spell(text: str) -> list[int]:
    """The alphabet's numbers of `text`; what it does not hold is left out."""
    return [_numbers()[symbol] for symbol in normalised(text) if symbol in _numbers()]


def normalised(text: str) -> str:
    """Lower case, single spaces, no punctuation."""
    return " ".join(re.sub(r"[^a-z\u4e00-\u9fff ]+", " ", text.lower()).split())


@cache
def _sounding() -> dict[str, str]:
    return {word: alike.split()[0] for alike in _ALIKE for word in alike.split()}


def words(text: str) -> list[str]:
    """English words and single Chinese characters."""
    return re.findall(r"[a-z]+|[\u4e00-\u9fff]", normalised(text))


def sounds(text: str) -> list[str]:
    """Its words as they are heard: of those that sound alike always the same one."""
    return [_sounding().get(word, word) for word in words(text)]


def read_ctc(
    scores: torch.Tensor,  # f[T, symbols]
    symbols: Sequence[str] | None = None,  # by default the alphabet
) -> str:
    """The best path's text."""
    best = torch.unique_consecutive(scores.argmax(dim=1)).tolist()
    return normalised("".join((symbols or alphabet())[number] for number in best if number != BLANK))


def edits(given: Sequence[str], wanted: Sequence[str]) -> int:
    """Insertions, deletions and substitutions between two sequences (Levenshtein)."""
    row = list(range(len(wanted) + 1))
    for i, one in enumerate(given, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(wanted, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (one != other))
    return row[-1]


def word_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Errors by word wanted, over (given, wanted) texts."""
    errors = sum(edits(sounds(given), sounds(wanted)) for given, wanted in pairs)
    return errors / max(1, sum(len(words(wanted)) for _, wanted in pairs))
