"""The split of the interleaved stream: fed in pieces equals fed whole, and no half characters come out."""

from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.engine.think.split import IncrementalText, InterleavedSplitter, Piece, SpeechPiece, TextPiece
from antiphon.engine.think.vocab import Vocabulary

IDS = st.lists(st.integers(0, 1023) | st.integers(128, 255), max_size=60)  # any ids, and many bytes of split characters


def _text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))


def _codes(pieces: list[Piece]) -> list[int]:
    return [code for piece in pieces if isinstance(piece, SpeechPiece) for code in piece.codes]


def test_text_and_speech_come_in_order(vocabulary: Vocabulary) -> None:
    splitter = InterleavedSplitter(vocabulary)
    user = vocabulary.control_id("<|user|>")
    ids = [*vocabulary.encode("Hello"), 448, 449, *vocabulary.encode(" you"), 959, user]
    assert splitter.push(ids) == [TextPiece("Hello"), SpeechPiece((0, 1)), TextPiece(" you"), SpeechPiece((511,))]
    assert splitter.finish() == []


def test_a_character_is_held_back_until_it_is_complete(vocabulary: Vocabulary) -> None:
    splitter = InterleavedSplitter(vocabulary)
    first, *rest = "😀".encode()  # ids below 256 are the single bytes
    assert splitter.push([first]) == []
    assert splitter.push([448]) == [SpeechPiece((0,))]
    assert splitter.push(rest[:-1]) == []
    assert splitter.push(rest[-1:]) == [TextPiece("😀")]


def test_a_character_never_completed_is_replaced_at_the_end(vocabulary: Vocabulary) -> None:
    splitter = InterleavedSplitter(vocabulary)
    assert splitter.push("a😀".encode()[:3]) == [TextPiece("a")]
    assert splitter.finish() == [TextPiece("\ufffd")]


@settings(max_examples=200, deadline=None)
@given(ids=IDS, size=st.integers(1, 7))
def test_fed_in_pieces_equals_fed_whole(vocabulary: Vocabulary, ids: list[int], size: int) -> None:
    splitter = InterleavedSplitter(vocabulary)
    pieces = [piece for at in range(0, len(ids), size) for piece in splitter.push(ids[at : at + size])]
    pieces += splitter.finish()
    assert _text(pieces) == vocabulary.decode(ids)
    assert _codes(pieces) == [vocabulary.speech_code(token) for token in ids if vocabulary.is_speech(token)]


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=30))
def test_good_text_is_never_replaced_on_the_way(vocabulary: Vocabulary, text: str) -> None:
    incremental = IncrementalText(vocabulary)
    written = ""
    for token in vocabulary.encode(text):
        written += incremental.push(token)
        assert text.startswith(written)
    assert written + incremental.finish() == text
