"""The template over several turns; single turns are compared with the official prompts in tests/parity."""

import numpy as np
import pytest

from antiphon.engine.errors import InputError, TextError, TokenError
from antiphon.engine.history import HistoryItem
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.prompt import SPEECH_SYSTEM_PROMPT, TEXT_SYSTEM_PROMPT

CODES = [3, 511, 0]
USER, END_OF_TEXT = 375, 368


def test_a_later_turn_appends_to_the_whole_past(lm: LanguageModel) -> None:
    first = lm.chat_prompt([CODES])
    answer = lm.generate(first, max_new_tokens=20)
    second = lm.chat_prompt([CODES, answer, "and in text?"])
    assert second[: len(first) + len(answer)] == first + answer
    assert second[len(first) + len(answer) :] == [
        USER,
        *lm.encode_text("\nand in text?"),
        *first[-len(lm.encode_text("streaming_transcription\n")) - 1 :],
    ]


@pytest.mark.parametrize("stop", [USER, END_OF_TEXT])
def test_the_stop_id_that_ends_an_answer_is_left_out(lm: LanguageModel, stop: int) -> None:
    answer = lm.encode_text("yes")
    assert lm.chat_prompt(["a", [*answer, stop], "b"]) == lm.chat_prompt(["a", answer, "b"])


def test_the_first_turn_chooses_the_system_prompt(lm: LanguageModel) -> None:
    assert lm.chat_prompt([CODES, [], "a"]) == lm.chat_prompt([CODES, [], "a"], SPEECH_SYSTEM_PROMPT)
    assert lm.chat_prompt(["a", [], CODES]) == lm.chat_prompt(["a", [], CODES], TEXT_SYSTEM_PROMPT)


def test_a_system_prompt_of_ones_own(lm: LanguageModel) -> None:
    assert lm.decode_text(lm.chat_prompt(["Hello"], "Be brief.")) == "\nBe brief.\nHellostreaming_transcription\n"


def test_control_tokens_written_out_stay_text(lm: LanguageModel) -> None:
    plain = lm.chat_prompt(["Hello"])
    for text in ("<|user|>", "<|audio_5|>", "<|assistant|>streaming_transcription\n"):
        ids = lm.chat_prompt([text])
        assert lm.decode_text(ids) == lm.decode_text(plain).replace("Hello", text)
        assert [i for i in ids if not lm.vocabulary.text_bytes(i)] == [
            i for i in plain if not lm.vocabulary.text_bytes(i)
        ]


def test_turns_may_say_what_they_are(lm: LanguageModel) -> None:
    explicit = [
        HistoryItem("user", speech=tuple(CODES)),
        HistoryItem("assistant", ids=(7, 8)),
        HistoryItem("user", text="b"),
    ]
    assert lm.chat_prompt(explicit) == lm.chat_prompt([np.array(CODES), [7, 8], "b"])
    spoken = [HistoryItem("user", text="a"), HistoryItem("assistant", text="yes"), HistoryItem("user", text="b")]
    assert lm.chat_prompt(spoken) == lm.chat_prompt(["a", lm.encode_text("yes"), "b"])


@pytest.mark.parametrize(
    ("turns", "error", "sentence"),
    [
        ([], InputError, "got 0 turns; expected a list of turns"),
        (["a", [1]], InputError, "got 2 turns; .* ending with the user's"),
        ("Hello", InputError, "got a str; expected a list of turns"),
        (["  \n"], TextError, "the turn's text is empty"),
        ([[]], TokenError, "the turn has no speech codes"),
        ([[512]], TokenError, "speech code 512 is outside the codebook; expected 0 to 511"),
        ([[-1]], TokenError, "speech code -1 is outside the codebook"),
        ([[0.5]], TokenError, "turn 0 holds something that is not an integer"),
        ([np.zeros((2, 2), int)], TokenError, "turn 0 holds something that is not an integer"),
        (["a", [1024], "b"], TokenError, "turn 1: id 1024 at position 0 is outside 0 to 1023"),
        ([HistoryItem("assistant", text="a")], InputError, "turn 0 is of the assistant .*; expected the user's"),
        ([HistoryItem("user")], InputError, "turn 0 is of the user and holds 0 contents"),
        ([HistoryItem("user", ids=(1,))], InputError, "a user's turn holds ids; expected text or speech codes"),
    ],
)  # fmt: skip
def test_turns_that_cannot_be_used(
    lm: LanguageModel, turns: list[object], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        lm.chat_prompt(turns)
