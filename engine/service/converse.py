"""One Converse call: a client's requests to its dialogue, the dialogue's events to the client, until one of them ends.

However a call ends, nothing of it stays: its tasks end with it, and the dialogue with all it holds, unless a resume
window keeps the dialogue for another call.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any, Final

from antiphon.engine.errors import SessionClosedError
from antiphon.engine.service.convert import dialogue_settings, duration
from antiphon.engine.service.host import Caller, Host, Send
from antiphon.engine.service.live_dialogue import LiveDialogue
from antiphon.engine.service.logs import Fields, log_event
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.v1.dialogue_pb2 import ConverseRequest, ConverseResponse
from antiphon.v1.events_pb2 import GoAway
from antiphon.v1.session_pb2 import SessionConfig

# What ends the dialogue with its call, whatever the resume window.
_FINAL: Final = frozenset({Reason.SESSION_TOO_LONG, Reason.DRAINING})


async def converse(requests: AsyncIterator[ConverseRequest], send: Send, host: Host, caller: Caller) -> None:
    """Serve one call. Returns when the client has ended its side and all was answered and sent.

    `requests` ends when the client ends its side, and raises ClientGoneError when the client is gone. Raises what it
    or `send` raise, RefusalError and the engine's errors (`antiphon.engine.service.status`) where the call ends with
    one. Cancelling it is as good as a client that is gone.
    """
    first = await anext(requests, None)
    kind = None if first is None else first.WhichOneof("request")
    if first is None or kind not in ("config", "resume"):
        raise RefusalError(
            Reason.CONFIG_MISSING, f"the call began with {kind or 'no request'}; send `config` or `resume` first."
        )
    if kind == "config":
        dialogue = await open_dialogue(first.config, host, caller)
        await ConverseCall(dialogue, requests, send).run(last_sequence=0)
    else:
        dialogue = await host.dialogues.take(first.resume, caller)
        await ConverseCall(dialogue, requests, send).run(first.resume.last_event_sequence)


async def open_dialogue(config: SessionConfig, host: Host, caller: Caller) -> LiveDialogue:
    """A new dialogue. Raises RefusalError and EngineFullError."""
    with host.door.enter(host.engine.occupancies):
        settings = await dialogue_settings(config, host)
        session_config = replace(settings.session, tenant=caller.key or "")
        lease = await host.shared_quotas.dialogue(caller.key)
        try:
            session = await host.engine.session(session_config, checked=True).__aenter__()
            dialogue = LiveDialogue(host, settings, session, caller, lease)
        except BaseException:
            lease.release()
            raise
    fields: Fields = {"session": dialogue.session_id, "peer": caller.peer}
    if caller.key is not None:
        fields["key"] = caller.key
    log_event(host.log, logging.INFO, "dialogue_opened", **fields)
    return dialogue


class ConverseCall:
    """A call that carries a dialogue, from its first message to its end."""

    def __init__(self, dialogue: LiveDialogue, requests: AsyncIterator[ConverseRequest], send: Send) -> None:
        self._dialogue = dialogue
        self._host = dialogue.host
        self._requests = requests
        self._send = send
        self._sending = asyncio.Lock()
        self._taken_over = asyncio.Event()
        self._let_go = asyncio.Event()

    async def hand_over(self) -> None:
        """Another call takes the dialogue: this one ends with SESSION_RESUMED. Returns once it has let go."""
        self._taken_over.set()
        await self._let_go.wait()

    async def run(self, last_sequence: int) -> None:
        """Carry the dialogue until the call ends."""
        dialogue, dialogues = self._dialogue, self._host.dialogues
        dialogues.carry(dialogue, self)
        is_final = False
        try:
            await dialogue.begin_call(last_sequence)
            await self._give(dialogue.started_message())
            await first_of(
                self._converse(),
                self._write(),
                self._drain(),
                self._limit_time(),
                self._await_hand_over(),
                self._await_fault(),
            )
            is_final = True
        except SessionClosedError:  # the engine is gone
            is_final = True
            raise
        except RefusalError as error:
            is_final = error.reason in _FINAL
            raise
        finally:
            dialogue.end_call()
            await self._leave(is_final or dialogue.fault.done())

    async def _leave(self, is_final: bool) -> None:
        """Let the dialogue go: to another call, to wait for one, or to its end."""
        dialogue, dialogues = self._dialogue, self._host.dialogues
        window = min(dialogue.settings.resume_window, self._time_left)
        if is_final or window <= 0:
            # Shielded: a call may be cancelled again while its dialogue is still closing.
            closing = dialogues.end(dialogue)
            self._let_go.set()
            await asyncio.shield(closing)
            return
        dialogues.keep(dialogue, window)
        self._let_go.set()

    async def _converse(self) -> None:
        """Take requests until the client ends its side, then answer and send what is left."""
        async for request in self._requests:
            await self._dialogue.log.wait_for_room()
            await self._dialogue.handle(request)
        await self._dialogue.end_side()
        await self._dialogue.wait_until_quiet()
        await self._flush()

    async def _write(self) -> None:
        while True:
            event = await self._dialogue.log.take()
            await self._give(event)

    async def _give(self, event: ConverseResponse) -> None:
        async with self._sending:
            await self._send(event)

    async def _flush(self) -> None:
        """Wait until all events were sent: the last is taken from the log, and then under the lock."""
        await self._dialogue.log.wait_until_drained()
        async with self._sending:
            pass

    async def _drain(self) -> None:
        """Once the server shuts down, finish the answers under way as far as time allows, and end."""
        drain = self._host.drain
        await drain.begun.wait()
        await self._give(_go_away(GoAway.REASON_DRAINING, drain.time_left))
        try:
            async with asyncio.timeout(drain.time_left):
                await self._dialogue.wait_until_quiet()
                await self._flush()
        except TimeoutError:
            pass
        raise RefusalError(Reason.DRAINING, "the server shuts down; build the dialogue up again on another.")

    async def _limit_time(self) -> None:
        """End the dialogue when it has lasted as long as it may; tell so some time before."""
        await asyncio.sleep(self._time_left - self._host.settings.max_session_notice)
        await self._give(_go_away(GoAway.REASON_MAX_DURATION, self._time_left))
        await asyncio.sleep(self._time_left)
        raise RefusalError(
            Reason.SESSION_TOO_LONG,
            f"the dialogue has lasted {self._host.settings.max_session:g} s; open another, with its history.",
        )

    async def _await_hand_over(self) -> None:
        await self._taken_over.wait()
        raise RefusalError(Reason.SESSION_RESUMED, "another call has resumed this dialogue; do not try again.")

    async def _await_fault(self) -> None:
        await asyncio.shield(self._dialogue.fault)

    @property
    def _time_left(self) -> float:
        """Seconds until the dialogue has lasted as long as it may, 0 or more."""
        return max(0.0, self._dialogue.opened_at + self._host.settings.max_session - self._host.clock.now())


async def first_of(*work: Coroutine[Any, Any, None]) -> None:
    """Run all of them until one returns or raises, and do as it does; the others are cancelled, and over on return."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _go_away(reason: GoAway.Reason, time_left: float) -> ConverseResponse:
    return ConverseResponse(go_away=GoAway(reason=reason, time_left=duration(time_left)))
