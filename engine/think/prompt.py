"""The official dialogue template, in ids.

    [gMASK]<sop><|system|>\\n{system prompt}
    <|user|>\\n{text, or <|begin_of_audio|>codes<|end_of_audio|>}<|assistant|>streaming_transcription\\n{answer}
    <|user|>\\n…

The lines are broken here only. A turn's ids are appended to the whole past, answers included as they were emitted.
Source: zai-org/GLM-4-Voice, web_demo.py; the prefix is what the tokenizer of glm-4-voice-9b puts first.
"""

from collections.abc import Sequence
from typing import Final

from antiphon.engine.errors import TextError, TokenError
from antiphon.engine.think.vocab import Vocabulary

# What the model was trained with, to the letter: the speech prompt ends in a space.
SPEECH_SYSTEM_PROMPT: Final = (
    "User will provide you with a speech instruction. Do it step by step. First, think about the instruction and "
    "respond in a interleaved manner, with 13 text token followed by 26 audio tokens. "
)
TEXT_SYSTEM_PROMPT: Final = (
    "User will provide you with a text instruction. Do it step by step. First, think about the instruction and "
    "respond in a interleaved manner, with 13 text token followed by 26 audio tokens."
)
_ANSWER_HEADER: Final = "streaming_transcription\n"


def prompt_prefix(vocabulary: Vocabulary, system_prompt: str) -> list[int]:
    """What comes before the first turn. Raises TextError when the system prompt is too long."""
    control = [vocabulary.control_id(name) for name in ("[gMASK]", "<sop>", "<|system|>")]
    return [*control, *vocabulary.encode("\n" + system_prompt)]


def text_turn(vocabulary: Vocabulary, text: str) -> list[int]:
    """A user's turn in text, up to where the answer begins. Raises TextError when it is empty or too long."""
    if not text.strip():
        raise TextError("the turn's text is empty; expected at least one character that is not white space.")
    # The newline and the text are cut into words together, as in the official prompt.
    return [vocabulary.control_id("<|user|>"), *vocabulary.encode("\n" + text), *_answer_header(vocabulary)]


def speech_turn(vocabulary: Vocabulary, codes: Sequence[int]) -> list[int]:
    """A user's turn in speech codes, up to where the answer begins. Raises TokenError when empty or out of range."""
    if len(codes) == 0:
        raise TokenError("the turn has no speech codes; expected at least one.")
    return [
        *speech_turn_so_far(vocabulary, codes),
        vocabulary.control_id("<|end_of_audio|>"),
        *_answer_header(vocabulary),
    ]


def speech_turn_so_far(vocabulary: Vocabulary, codes: Sequence[int]) -> list[int]:
    """The beginning of a user's turn of which these speech codes, perhaps none, are known: the ids of the whole turn
    begin with it. Raises TokenError for a code out of range."""
    user, begin = vocabulary.control_id("<|user|>"), vocabulary.control_id("<|begin_of_audio|>")
    return [user, *vocabulary.encode("\n"), begin, *(vocabulary.speech_id(code) for code in codes)]


def _answer_header(vocabulary: Vocabulary) -> list[int]:
    return [vocabulary.control_id("<|assistant|>"), *vocabulary.encode(_ANSWER_HEADER)]
