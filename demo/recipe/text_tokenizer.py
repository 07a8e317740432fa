"""The demo's own text vocabulary: byte pairs learnt from its words, in the files of the official tokenizer."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from string import ascii_uppercase
from typing import Final

from antiphon.engine.think.prompt import SPEECH_SYSTEM_PROMPT, TEXT_SYSTEM_PROMPT
from antiphon.engine.think.vocab import Vocabulary
from antiphon.engine.weights.generate.text_files import TextTokenizer
from demo.recipe import domain
from demo.recipe.scales import CODES, FIRST_SPEECH_ID, TEXT_RANKS
from demo.recipe.voices import LANGUAGES
from demo.recipe.words import english_words, han_characters

# What the official pattern never cuts, for the texts that are learnt from. Chinese is learnt by character, and numbers
# by their parts, " six" and "teen": with one id for each number up to twenty, sums were learnt by heart (0.04 of the
# held-out ones right in writing), since nothing says that sixteen and six have anything in common.
_WORD: Final = re.compile(r"[\u4e00-\u9fff]|(?:teen|ty)\b|[ _\n]?[A-Za-z]+?(?=(?:teen|ty)\b|[^A-Za-z]|$)| ?[^\s\w]+")
_DOMAIN_WEIGHT: Final = 20  # a word of the domain counts so many times one of the open vocabulary
_HAN_WEIGHT: Final = 5
_PROMPT_WEIGHT: Final = 10_000


def write(folder: Path) -> Vocabulary:
    """Learn the vocabulary, write its two files into `folder`, and read them back."""
    folder.mkdir(parents=True, exist_ok=True)
    TextTokenizer(learn(_counts(), TEXT_RANKS), FIRST_SPEECH_ID, CODES).write(folder)
    return Vocabulary.read(folder)


def learn(counts: Counter[str], size: int) -> dict[bytes, int]:
    """The 256 bytes, then the most frequent pairs of neighbours within words, up to `size` ranks or until none is left.

    Source: Sennrich et al. 2016 (arXiv 1508.07909).
    """
    words = {word: [bytes([byte]) for byte in word.encode()] for word in counts}
    tokens = [bytes([byte]) for byte in range(256)]
    known = set(tokens)
    pairs: Counter[tuple[bytes, bytes]] = Counter()
    for word, pieces in words.items():
        _count(pairs, pieces, counts[word])
    while len(tokens) < size and pairs:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        joined = best[0] + best[1]
        if joined not in known:
            known.add(joined)
            tokens.append(joined)
        for word, pieces in words.items():
            if best in zip(pieces, pieces[1:], strict=False):
                _count(pairs, pieces, -counts[word])
                words[word] = _merged(pieces, joined)
                _count(pairs, words[word], counts[word])
        pairs = +pairs  # drops what has gone to zero
    return {token: rank for rank, token in enumerate(tokens)}


def _counts() -> Counter[str]:
    counts: Counter[str] = Counter()
    exchanges = [
        *domain.known_exchanges(),
        *(one for language in LANGUAGES for total in (1, 2) for one in domain.follow_up(total, language)),
    ]
    _add(counts, (f" {one.question} {one.answer}" for one in exchanges), _DOMAIN_WEIGHT)
    _add(counts, (f"\n{one.question}" for one in exchanges), 1)
    _add(counts, (f"{one.answer}" for one in exchanges), _DOMAIN_WEIGHT)
    _add(counts, (f"{word} {word}" for word in english_words()), 1)
    _add(counts, (f"{text} {text}" for text in domain.UNKNOWN.values()), _DOMAIN_WEIGHT)
    _add(counts, (" slowly quickly",), _DOMAIN_WEIGHT)
    _add(counts, han_characters(), _HAN_WEIGHT)
    _add(counts, (f"{letter} {letter}" for letter in ascii_uppercase), 1)
    _add(counts, ("\n" + SPEECH_SYSTEM_PROMPT, "\n" + TEXT_SYSTEM_PROMPT, "streaming_transcription"), _PROMPT_WEIGHT)
    return counts


def _add(counts: Counter[str], texts: Iterable[str], weight: int) -> None:
    for text in texts:
        for word in _WORD.findall(text):
            counts[word] += weight


def _count(pairs: Counter[tuple[bytes, bytes]], pieces: list[bytes], by: int) -> None:
    for pair in zip(pieces, pieces[1:], strict=False):
        pairs[pair] += by


def _merged(pieces: list[bytes], joined: bytes) -> list[bytes]:
    merged: list[bytes] = []
    for piece in pieces:
        if merged and merged[-1] + piece == joined:
            merged[-1] = joined
        else:
            merged.append(piece)
    return merged
