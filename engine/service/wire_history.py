"""A history from a client: checked, field by field, in time that does not grow with what is refused."""

import asyncio
from collections.abc import Sequence
from typing import Final

from antiphon.engine.config import SessionConfig
from antiphon.engine.history import HistoryItem, Role
from antiphon.engine.service.host import Host
from antiphon.engine.service.refusals import FieldViolation, InvalidRequestError, Reason, RefusalError
from antiphon.v1 import session_pb2

_ROLES: Final[tuple[Role, Role]] = ("user", "assistant")
_BYTES_PER_ID: Final = 16  # of text: prose has 3 to 5, so what has more than this many for every id cannot fit


def check_codec(codec_id: str, host: Host) -> None:
    """Raises RefusalError (MODEL_MISMATCH) for speech tokens of another tokenizer."""
    _check_model(codec_id, host.codec_id, "codec_id")


def text_violations(text: str, field: str, host: Host, wrong: list[FieldViolation]) -> None:
    """What is wrong with the length of a text goes to `wrong`."""
    limit = host.engine.config.max_text_characters
    if len(text) > limit:
        wrong.append(FieldViolation(field, f"{len(text)} characters; the limit is {limit}."))


def history_items(
    items: Sequence[session_pb2.HistoryItem], where: str, host: Host, wrong: list[FieldViolation]
) -> tuple[HistoryItem, ...]:
    """The history as the engine takes it; what is wrong with its fields goes to `wrong`.

    Raises InvalidRequestError (HISTORY_TOO_LARGE) before anything looks at its ids, RefusalError (MODEL_MISMATCH).
    """
    _check_counts(items, where, host)
    if len(items) % 2:
        wrong.append(FieldViolation(where, f"{len(items)} items; expected to end with the assistant's."))
    return tuple(_item(item, index, f"{where}[{index}]", host, wrong) for index, item in enumerate(items))


async def check_room(session: SessionConfig, where: str, host: Host) -> None:
    """The past and the instructions have to leave room for a turn and an answer.

    Raises InvalidRequestError (HISTORY_TOO_LARGE), and TextError or TokenError for contents that cannot be used.
    """
    turns = [*session.history, HistoryItem("user", text="?")]
    prompt = await asyncio.to_thread(host.engine.lm.chat_prompt, turns, session.instructions)
    if len(prompt) >= host.max_context_tokens:
        raise _too_large(
            where, f"it makes {len(prompt)} ids, with the instructions; the model holds {host.max_context_tokens}."
        )


def _check_counts(items: Sequence[session_pb2.HistoryItem], where: str, host: Host) -> None:
    limit = host.settings.max_history_items
    if len(items) > limit:
        raise _too_large(where, f"{len(items)} items; the limit is {limit}.")
    ids = sum(len(item.speech_tokens.ids) + len(item.interleaved_tokens.ids) for item in items)
    if ids > host.max_context_tokens:
        raise _too_large(where, f"{ids} ids; the model holds {host.max_context_tokens}.")
    size, limit = sum(len(item.text.encode()) for item in items), _BYTES_PER_ID * host.max_context_tokens
    if size > limit:
        raise _too_large(where, f"{size} bytes of text; the limit is {limit}.")


def _too_large(where: str, description: str) -> InvalidRequestError:
    return InvalidRequestError(
        [FieldViolation(where, f"{description} Leave out the oldest turns.")], Reason.HISTORY_TOO_LARGE
    )


def _item(
    item: session_pb2.HistoryItem, index: int, where: str, host: Host, wrong: list[FieldViolation]
) -> HistoryItem:
    is_user = index % 2 == 0
    role = session_pb2.ROLE_USER if is_user else session_pb2.ROLE_ASSISTANT
    if item.role != role:
        wrong.append(FieldViolation(f"{where}.role", f"{item.role}; expected {role}: user and assistant in turn."))
    name = _ROLES[index % 2]
    match item.WhichOneof("content"):
        case "text":
            if is_user and not item.text.strip():  # an answer may be empty: it was cut before anything was heard
                wrong.append(FieldViolation(f"{where}.text", "nothing but white space; expected another character."))
            text_violations(item.text, f"{where}.text", host, wrong)
            return HistoryItem(name, text=item.text)
        case "speech_tokens":
            check_codec(item.speech_tokens.codec_id, host)
            if is_user and not item.speech_tokens.ids:
                wrong.append(FieldViolation(f"{where}.speech_tokens.ids", "none; expected at least one."))
            limit = host.engine.lm.vocabulary.n_codes
            _check_ids(item.speech_tokens.ids, limit, f"{where}.speech_tokens.ids", wrong)
            return HistoryItem(name, speech=tuple(item.speech_tokens.ids))
        case "interleaved_tokens" if not is_user:
            _check_model(item.interleaved_tokens.vocabulary_id, host.vocabulary_id, "vocabulary_id")
            limit = host.engine.lm.config.vocab_size
            _check_ids(item.interleaved_tokens.ids, limit, f"{where}.interleaved_tokens.ids", wrong)
            return HistoryItem("assistant", ids=tuple(item.interleaved_tokens.ids))
        case "interleaved_tokens":
            wrong.append(FieldViolation(f"{where}.interleaved_tokens", "of the user; expected text or speech_tokens."))
        case _:
            wrong.append(FieldViolation(f"{where}.content", "absent; expected text or tokens."))
    return HistoryItem(name, text="")


def _check_ids(ids: Sequence[int], limit: int, field: str, wrong: list[FieldViolation]) -> None:
    bad = next((index for index, one in enumerate(ids) if not 0 <= one < limit), None)
    if bad is not None:
        wrong.append(FieldViolation(field, f"{ids[bad]} at index {bad}; expected 0 to {limit - 1}."))


def _check_model(given: str, own: str, what: str) -> None:
    if given and given != own:
        raise RefusalError(
            Reason.MODEL_MISMATCH, f"the tokens are of the {what} {given[:64]!r}; this server's is {own!r}."
        )
