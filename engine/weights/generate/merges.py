"""Byte-pair merges for a random checkpoint: learnt from the built-in text, then made up to the number that is wanted.

Every rank beyond the 256 bytes is two earlier ones joined, as in any byte-pair vocabulary, so that all can be reached.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, product
from string import ascii_letters, ascii_lowercase
from typing import Final

from antiphon.engine.errors import InputError
from antiphon.engine.weights.generate.corpus import TEXT

_BYTES: Final = 256
_WORD: Final = re.compile(r" ?[^\W\d_]+|_[^\W\d_]+| ?[^\s\w]+")  # never across what the model's own pattern cuts
_HAN: Final = range(0x4E00, 0xA000)
_LONGEST_MADE_UP: Final = 4  # letters

Pair = tuple[bytes, bytes]


def ranks(count: int) -> dict[bytes, int]:
    """`count` tokens with their ranks: the bytes, what the built-in text teaches, then characters and letter groups.

    Raises InputError when `count` is less than the bytes or more than can be made up.
    """
    tokens = [bytes([byte]) for byte in range(_BYTES)]
    known = set(tokens)
    for token in chain(learned(), _made_up()):
        if len(tokens) == count:
            break
        if token not in known:
            known.add(token)
            tokens.append(token)
    if len(tokens) != count:
        raise InputError(f"{count} ranks were asked for; expected {_BYTES} to {len(tokens)}.")
    return {token: rank for rank, token in enumerate(tokens)}


def words(vocabulary: dict[bytes, int]) -> list[int]:
    """The ranks of the built-in text's English words that are one token with the space before them."""
    spelled = sorted({word.encode() for word in re.findall(r" [A-Za-z]+", " ".join(TEXT.split()))})
    return [vocabulary[word] for word in spelled if word in vocabulary]


def learned() -> Iterator[bytes]:
    """The merges that the built-in text teaches, the most frequent first, until each of its words is one token."""
    counts = Counter(word.encode() for word in _WORD.findall(" ".join(TEXT.split())))
    pieces = {word: [bytes([byte]) for byte in word] for word in counts}
    pairs: Counter[Pair] = Counter()
    for word, split in pieces.items():
        _count(pairs, split, counts[word])
    while pairs:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        yield best[0] + best[1]
        for word, split in pieces.items():
            if best[0] + best[1] in word and best in zip(split, split[1:], strict=False):
                _count(pairs, split, -counts[word])
                pieces[word] = _joined(split, best)
                _count(pairs, pieces[word], counts[word])
        pairs = +pairs  # drops what has gone to zero


def _count(pairs: Counter[Pair], split: list[bytes], by: int) -> None:
    for pair in zip(split, split[1:], strict=False):
        pairs[pair] += by


def _joined(split: list[bytes], pair: Pair) -> list[bytes]:
    joined: list[bytes] = []
    for piece in split:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _made_up() -> Iterator[bytes]:
    """Han characters, then groups of letters with and without a space, each after what it is joined from."""
    characters = [chr(code).encode() for code in _HAN]
    yield from dict.fromkeys(character[:2] for character in characters)
    yield from characters
    yield from (f" {letter}".encode() for letter in ascii_letters)
    yield from (first.encode() + second.encode() for first, second in product(ascii_letters, repeat=2))
    for length in range(2, _LONGEST_MADE_UP + 1):
        for letters in product(ascii_lowercase, repeat=length):
            group = "".join(letters).encode()
            yield from (group, b" " + group)
