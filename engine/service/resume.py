"""Dialogues whose call broke off, or may: what a `resume` finds."""

import asyncio
import hmac
from typing import Protocol

from antiphon.engine.service.host import Caller
from antiphon.engine.service.keys import ApiKeys
from antiphon.engine.service.live_dialogue import LiveDialogue
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.v1.dialogue_pb2 import Resume


class Carrier(Protocol):
    """The call that carries a dialogue."""

    async def hand_over(self) -> None:
        """Another call takes the dialogue: end with SESSION_RESUMED. Returns once it is let go."""


class ResumableDialogues:
    """The dialogues of one server that can be resumed. Used on its asyncio loop alone."""

    def __init__(self) -> None:
        self._dialogues: dict[str, LiveDialogue] = {}
        self._carriers: dict[str, Carrier] = {}  # of those that have a call, or seem to
        self._ends: dict[str, asyncio.TimerHandle] = {}  # of those that have none
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._dialogues)

    @property
    def waiting(self) -> list[LiveDialogue]:
        """Those without a call."""
        return [dialogue for name, dialogue in self._dialogues.items() if name in self._ends]

    def carry(self, dialogue: LiveDialogue, carrier: Carrier) -> None:
        """A call carries the dialogue from now on."""
        if (end := self._ends.pop(dialogue.session_id, None)) is not None:
            end.cancel()
        if dialogue.resume_token:
            self._dialogues[dialogue.session_id] = dialogue
            self._carriers[dialogue.session_id] = carrier

    def keep(self, dialogue: LiveDialogue, seconds: float) -> None:
        """Its call broke off: keep the dialogue for so long."""
        self._carriers.pop(dialogue.session_id, None)
        loop = asyncio.get_running_loop()
        self._ends[dialogue.session_id] = loop.call_later(seconds, lambda: self.end(dialogue))

    def end(self, dialogue: LiveDialogue) -> asyncio.Task[None]:
        """The dialogue is over. The task returned closes it, whoever waits."""
        self._dialogues.pop(dialogue.session_id, None)
        self._carriers.pop(dialogue.session_id, None)
        if (end := self._ends.pop(dialogue.session_id, None)) is not None:
            end.cancel()
        closing = asyncio.create_task(dialogue.close(), name=f"close {dialogue.session_id}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    async def take(self, resume: Resume, caller: Caller) -> LiveDialogue:
        """The dialogue that `resume` names, without a call; `carry` or `keep` it.

        Raises RefusalError (SESSION_UNKNOWN, EVENTS_LOST).
        """
        dialogue = self._find(resume, caller)
        dialogue.log.check(resume.last_event_sequence)
        while (carrier := self._carriers.get(resume.session_id)) is not None:
            await carrier.hand_over()
            dialogue = self._find(resume, caller)
        if (end := self._ends.pop(dialogue.session_id, None)) is not None:
            end.cancel()
        dialogue.api_key = caller.api_key  # a name may have several keys: the dialogue goes by the one that uses it
        return dialogue

    def end_waiting(self) -> None:
        """End those without a call."""
        for dialogue in self.waiting:
            self.end(dialogue)

    def end_lost(self) -> None:
        """End those without a call whose engine is gone; those with one end with it."""
        for dialogue in self.waiting:
            if dialogue.is_lost:
                self.end(dialogue)

    def end_revoked(self, keys: ApiKeys) -> None:
        """End those without a call whose key was taken away; those with one end with it."""
        held = {dialogue: dialogue.api_key for dialogue in self.waiting if dialogue.api_key is not None}
        for dialogue in keys.revoked(held):
            self.end(dialogue)

    async def close(self) -> None:
        """End all of them. Those that a call carries end with it."""
        self.end_waiting()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _find(self, resume: Resume, caller: Caller) -> LiveDialogue:
        dialogue = self._dialogues.get(resume.session_id)
        token = "" if dialogue is None else dialogue.resume_token
        is_token = hmac.compare_digest(token.encode(), resume.resume_token.encode())
        if dialogue is None or dialogue.is_lost or not is_token or dialogue.key != caller.key:
            raise RefusalError(
                Reason.SESSION_UNKNOWN,
                "no dialogue waits under this session_id and resume_token for this key; open one with its history.",
            )
        return dialogue
