"""Words out of CTC scores: the most probable line of words that are known, by a beam search over prefixes.

A recogniser of this size hears sounds well and knows little of English spelling, so it is told which words there are.
It is not told which of them may follow another: every line of words is as probable as any other.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from string import ascii_lowercase
from typing import Final

import torch

from demo.recipe import domain
from demo.recipe.spelled import BLANK, normalised, words
from demo.recipe.words import english_words

_BEAM: Final = 24  # prefixes
_LEAST: Final = -9.0  # log-probability of a symbol in a frame below which it is not looked at
_MOST: Final = 8  # symbols of a frame that are
_UNSAID_SPACE: Final = -4.0  # added where a word begins without a space before it
_LETTER: Final = -3.0  # added for a letter by itself: a word is spelled now and then, mostly it is said
_WORDS_OF_A_LETTER: Final = frozenset("ai")
_NEVER: Final = -math.inf


class Lexicon:
    """Words, and the beginnings of words. A Chinese character is a word of its own and always known."""

    def __init__(self, known: Iterable[str]) -> None:
        self._words = frozenset(known)
        self._beginnings = frozenset(word[:length] for word in self._words for length in range(1, len(word) + 1))

    def __len__(self) -> int:
        return len(self._words)

    def is_word(self, text: str) -> bool:
        """Whether it is one of them."""
        return text in self._words

    def begins(self, text: str) -> bool:
        """Whether a word begins so."""
        return text in self._beginnings


@cache
def lexicon() -> Lexicon:
    """The recipe's words: those of any sentence, those of the domain, and single letters."""
    answers = [text for exchange in domain.known_exchanges() for text in (exchange.question, exchange.answer)]
    answers += domain.UNKNOWN.values()
    return Lexicon({*english_words(), *ascii_lowercase, *(word for text in answers for word in words(text))})


def read_words(
    scores: torch.Tensor,  # f[T, symbols], not normalised
    symbols: Sequence[str],  # blank first
    known: Lexicon,
) -> str:
    """The most probable line of known words; nothing where no line ends in a whole word.

    Sums over alignments (Graves et al. 2006; prefix search as in Hannun et al. 2014, arXiv:1408.2873).
    """
    if not len(scores):
        return ""
    logs = scores.float().log_softmax(dim=1)
    best, numbers = logs.topk(min(_MOST, logs.shape[1]), dim=1)
    # A prefix's log-probability, of its alignments that end in blank and of those that do not.
    beam: dict[str, tuple[float, float]] = {"": (0.0, _NEVER)}
    for blank, values, chosen in zip(logs[:, BLANK].tolist(), best.tolist(), numbers.tolist(), strict=True):
        heard = [(symbols[n], v) for n, v in zip(chosen, values, strict=True) if n != BLANK and v > _LEAST]
        after: dict[str, list[float]] = {}
        for prefix, (ended, open_) in beam.items():
            either = _sum(ended, open_)
            _add(after, prefix, 0, either + blank)
            for symbol, value in heard:
                if prefix.endswith(symbol):
                    _add(after, prefix, 1, open_ + value)
                for longer, cost in _extended(prefix, symbol, known):
                    again = ended if prefix.endswith(symbol) else either
                    _add(after, longer, 1, again + value + cost)
        kept = sorted(after.items(), key=lambda item: _sum(*item[1]), reverse=True)[:_BEAM]
        beam = {prefix: (ended, open_) for prefix, (ended, open_) in kept}
    whole = {p: _sum(*both) + _cost_of(_last(p)) for p, both in beam.items() if _is_whole(p, known)}
    return normalised(max(whole, key=lambda prefix: whole[prefix])) if whole else ""


def _extended(prefix: str, symbol: str, known: Lexicon) -> list[tuple[str, float]]:
    """What `prefix` may become with one more symbol, and at what cost."""
    word = _last(prefix)
    if symbol == " ":
        return [(prefix + " ", _cost_of(word))] if known.is_word(word) else []
    if not symbol.isascii():
        return [(prefix + symbol, _cost_of(word))] if not word or known.is_word(word) else []
    longer = [(prefix + symbol, 0.0)] if known.begins(word + symbol) else []
    if known.is_word(word) and known.begins(symbol):
        longer.append((f"{prefix} {symbol}", _UNSAID_SPACE + _cost_of(word)))
    return longer


def _cost_of(word: str) -> float:
    """Of a word that is over."""
    return _LETTER if len(word) == 1 and word not in _WORDS_OF_A_LETTER else 0.0


def _last(prefix: str) -> str:
    """The letters after the last space or character: a word or its beginning; empty where none has begun."""
    at = len(prefix)
    while at and prefix[at - 1].isascii() and prefix[at - 1] != " ":
        at -= 1
    return prefix[at:]


def _is_whole(prefix: str, known: Lexicon) -> bool:
    word = _last(prefix)
    return not word or known.is_word(word)


def _add(after: dict[str, list[float]], prefix: str, which: int, value: float) -> None:
    both = after.setdefault(prefix, [_NEVER, _NEVER])
    both[which] = _sum(both[which], value)


def _sum(one: float, other: float) -> float:
    """log(e^one + e^other)."""
    high, low = (one, other) if one >= other else (other, one)
    return high if low == _NEVER else high + math.log1p(math.exp(low - high))
