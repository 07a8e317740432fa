"""The model's stream of ids, taken apart into text and speech as it comes."""

import codecs
from collections.abc import Iterable
from dataclasses import dataclass

from antiphon.engine.think.vocab import Vocabulary


@dataclass(frozen=True)
class TextPiece:
    """Some of an answer's text, in whole characters; never empty."""

    text: str


@dataclass(frozen=True)
class SpeechPiece:
    """Speech codes that follow one another; never empty."""

    codes: tuple[int, ...]


Piece = TextPiece | SpeechPiece


class IncrementalText:
    """Text from ids in pieces. The pieces joined equal `Vocabulary.decode` of all the ids.

    A character whose bytes have not all come is held back; bytes that can be no character become U+FFFD.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters that `token` completes, perhaps none."""
        return self._decoder.decode(self._vocabulary.text_bytes(token))

    def finish(self) -> str:
        """What stands for a character that was never completed; afterwards a new text begins."""
        return self._decoder.decode(b"", final=True)


class InterleavedSplitter:
    """Splits one answer. Text and codes come out in the order of their ids; control and unassigned ids give nothing."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._text = IncrementalText(vocabulary)

    def push(self, ids: Iterable[int]) -> list[Piece]:
        """The pieces that `ids` complete; neighbours of one kind are one piece."""
        pieces: list[Piece] = []
        for token in ids:
            if self._vocabulary.is_speech(token):
                _append(pieces, SpeechPiece((self._vocabulary.speech_code(token),)))
            elif text := self._text.push(token):
                _append(pieces, TextPiece(text))
        return pieces

    def finish(self) -> list[Piece]:
        """What was held back at the end of the answer."""
        rest = self._text.finish()
        return [TextPiece(rest)] if rest else []


def _append(pieces: list[Piece], piece: Piece) -> None:
    """Add `piece`, joined to its neighbour where that is of its kind."""
    match pieces[-1:], piece:
        case [TextPiece(text)], TextPiece(more):
            pieces[-1] = TextPiece(text + more)
        case [SpeechPiece(codes)], SpeechPiece(following):
            pieces[-1] = SpeechPiece(codes + following)
        case _:
            pieces.append(piece)
