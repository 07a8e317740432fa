"""A dialogue of several turns as one prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, cast

import numpy as np
import torch

from antiphon.engine.errors import InputError
from antiphon.engine.history import HistoryItem, Role
from antiphon.engine.think.ids import as_ids
from antiphon.engine.think.prompt import (
    SPEECH_SYSTEM_PROMPT,
    TEXT_SYSTEM_PROMPT,
    prompt_prefix,
    speech_turn,
    text_turn,
)
from antiphon.engine.think.vocab import Vocabulary

# Text; or integers: the codes of a user's speech, the ids of an assistant's answer as it was emitted.
Turn = HistoryItem | str | Sequence[int] | np.ndarray | torch.Tensor
_ROLES: Final[tuple[Role, Role]] = ("user", "assistant")


@dataclass(frozen=True)
class Past:
    """What comes before a user's turn, in ids."""

    system: list[int]
    turns: list[list[int]]  # each a user's turn and its answer, oldest first


def as_history(turns: Sequence[Turn]) -> list[HistoryItem]:
    """Each turn with its role: user and assistant in turn, the user first and last.

    Raises InputError for no turns, a wrong order, or an item that does not hold exactly one content.
    """
    if isinstance(turns, str) or not isinstance(turns, Sequence) or len(turns) % 2 == 0:
        given = f"{len(turns)} turns" if isinstance(turns, list | tuple) else f"a {type(turns).__name__}"
        raise InputError(f"got {given}; expected a list of turns, user and assistant in turn, ending with the user's.")
    return [_item(turn, index) for index, turn in enumerate(turns)]


def dialogue_prompt(
    vocabulary: Vocabulary,
    history: Sequence[HistoryItem],
    stop_ids: Sequence[int],
    system_prompt: str | None = None,
) -> list[int]:
    """The prompt that `history` makes, up to where the next answer begins.

    The kind of the first turn chooses between the two official system prompts, unless one is given. A stop id that ends
    an answer is left out, since the next turn begins with its own `<|user|>`.
    Raises TextError, TokenError or InputError for contents that cannot be used.
    """
    *past, last = history
    is_text = history[0].text is not None
    before = dialogue_past(vocabulary, past, stop_ids, is_text, system_prompt)
    return [*before.system, *chain.from_iterable(before.turns), *user_turn(vocabulary, last)]


def dialogue_past(
    vocabulary: Vocabulary,
    history: Sequence[HistoryItem],
    stop_ids: Sequence[int],
    next_is_text: bool,
    system_prompt: str | None = None,
) -> Past:
    """What comes before the next user's turn: the system prompt and `history`, which ends in an answer or is empty.

    Where it is empty the kind of the next turn chooses the system prompt. Raises as `dialogue_prompt`.
    """
    if system_prompt is None:
        is_text = history[0].text is not None if history else next_is_text
        system_prompt = TEXT_SYSTEM_PROMPT if is_text else SPEECH_SYSTEM_PROMPT
    turns = [
        [*user_turn(vocabulary, asked), *answer_ids(vocabulary, answered, stop_ids)]
        for asked, answered in zip(history[::2], history[1::2], strict=True)
    ]
    return Past(prompt_prefix(vocabulary, system_prompt), turns)


def user_turn(vocabulary: Vocabulary, item: HistoryItem) -> list[int]:
    """The ids of a user's turn, up to where the answer begins."""
    if item.text is not None:
        return text_turn(vocabulary, item.text)
    if item.speech is not None:
        return speech_turn(vocabulary, item.speech)
    raise InputError("a user's turn holds ids; expected text or speech codes.")


def answer_ids(vocabulary: Vocabulary, item: HistoryItem, stop_ids: Sequence[int]) -> list[int]:
    """The ids of an answer; one that was cut before anything was heard has none."""
    if item.text is not None:
        return vocabulary.encode(item.text)
    if item.speech is not None:
        return [vocabulary.speech_id(code) for code in item.speech]
    ids = list(item.ids or ())
    return ids[:-1] if ids and ids[-1] in stop_ids else ids


def _item(turn: Turn, index: int) -> HistoryItem:
    role = _ROLES[index % 2]
    if isinstance(turn, HistoryItem):
        contents = sum(content is not None for content in (turn.text, turn.speech, turn.ids))
        if turn.role != role or contents != 1:
            raise InputError(
                f"turn {index} is of the {turn.role} and holds {contents} contents; expected the {role}'s turn, with "
                "one of text, speech and ids."
            )
        return turn
    if isinstance(turn, str):
        return HistoryItem(role, text=turn)
    integers = tuple(as_ids(cast(Sequence[int], turn), f"turn {index}"))
    return HistoryItem("user", speech=integers) if role == "user" else HistoryItem("assistant", ids=integers)
