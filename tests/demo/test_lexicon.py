"""The judge's reading of CTC scores: words that are known, whatever the best path spells."""

from string import ascii_lowercase

import pytest
import torch

from demo.judge.lexicon import Lexicon, lexicon, read_words
from demo.recipe import domain
from demo.recipe.spelled import word_error_rate, words

SYMBOLS = ("", " ", *ascii_lowercase, "二", "加")
KNOWN = Lexicon(["culture", "too", "to", "of", "t", "a"])


def scores(path: str, least: float = -6.0) -> torch.Tensor:
    """f32[T, symbols] whose best path is `path`, `_` for blank."""
    made = torch.full((len(path), len(SYMBOLS)), least)
    for row, sign in zip(made, path, strict=True):
        row[0 if sign == "_" else SYMBOLS.index(sign)] = 0.0
    return made


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("c_u_l_t_u_r_e", "culture"),
        ("to_o", "too"),
        ("too_", "to"),  # without a blank between them two equal signs are one
        ("t_o_ _o_f_", "to of"),
        ("t_o_o_f_", "to of"),  # the space was not heard
        ("二加_", "二加"),
        ("____", ""),
        ("", ""),
    ],
)
def test_known_words_are_read_as_they_are_spelt(path: str, text: str) -> None:
    assert read_words(scores(path), SYMBOLS, KNOWN) == text


def test_a_misspelt_word_is_the_likeliest_known_one() -> None:
    heard = scores("c_u_l_c_u_r_e")
    heard[6, SYMBOLS.index("t")] = -1.0  # where the best path has a second c
    assert read_words(heard, SYMBOLS, KNOWN) == "culture"


def test_what_is_no_word_is_not_read_as_one() -> None:
    assert read_words(scores("z_z_z", least=-30.0), SYMBOLS, KNOWN) == ""


def test_every_answer_is_in_the_lexicon() -> None:
    answers = [one.answer for one in domain.known_exchanges()] + list(domain.UNKNOWN.values())
    latin = {word for answer in answers for word in words(answer) if word.isascii()}
    assert all(lexicon().is_word(word) for word in latin)


def test_words_that_sound_alike_are_no_error() -> None:
    assert word_error_rate([("the see is blue", "the sea is blue")]) == 0
    assert word_error_rate([("the sky is blue", "the sea is blue")]) == 0.25
