"""One dialogue of the service: a session of the engine, what it hears, what it says, and the events of both.

It outlives the calls that carry it, one at a time. Two tasks belong to it: one follows the session's events, one sends
audio when it is due.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Final

from antiphon.engine.events import InterruptionReason
from antiphon.engine.hear.turn_taking import EndReason, SpeechStarted
from antiphon.engine.service import wire_events
from antiphon.engine.service.convert import DialogueSettings, check_text, updated_detection
from antiphon.engine.service.event_log import EventLog
from antiphon.engine.service.host import Caller, Host
from antiphon.engine.service.listening import DetectedListening, Listening, ManualListening
from antiphon.engine.service.logs import log_event
from antiphon.engine.service.quotas import Lease, SpeedLimit
from antiphon.engine.service.refusals import FieldViolation, InvalidRequestError, Reason, RefusalError
from antiphon.engine.service.speaking import Speaking
from antiphon.engine.service.status import status_of_error
from antiphon.engine.service.wire_events import TurnSpan
from antiphon.engine.session import Session
from antiphon.engine.timeline import InputSample
from antiphon.engine.types import Float32Array
from antiphon.engine.units import OUTPUT_RATE
from antiphon.v1.dialogue_pb2 import ConfigUpdate, ConverseRequest, ConverseResponse
from antiphon.v1.events_pb2 import SessionStarted as SessionStartedMessage

_OF_A_REQUEST: Final = frozenset(  # reasons that refuse one request; all others end the call
    {
        Reason.TURN_EMPTY,
        Reason.TURN_HOLDS_AUDIO,
        Reason.TOO_MANY_TURNS,
        Reason.FIELD_INVALID,
        Reason.REQUEST_UNKNOWN,
        Reason.DRAINING,
    }
)


class LiveDialogue:
    """Made by `open_dialogue`, ended by `close`. Used on one asyncio loop."""

    def __init__(self, host: Host, settings: DialogueSettings, session: Session, caller: Caller, lease: Lease) -> None:
        """`session` is entered; the dialogue owns it and `lease` from here on."""
        self.host = host
        self.settings = settings
        self.key = caller.key
        self.api_key = caller.api_key  # that opened or resumed it last
        self.session_id = secrets.token_hex(12)
        self.resume_token = secrets.token_urlsafe(24) if settings.resume_window else ""
        self.opened_at = host.clock.now()
        self.log = EventLog(host.settings.max_resume_bytes if settings.resume_window else 0)
        self.fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # fails when the engine is lost
        self._session = session
        self._lease = lease
        self._listening = self._new_listening()
        self._speaking = Speaking(host, settings, session, self.log, self._listening, self.session_id)
        self._speed: SpeedLimit | None = None  # of the call under way
        self._busy = asyncio.Lock()  # one request at a time, over all calls
        self._requests: set[asyncio.Task[None]] = set()  # being done; more than one only where a call broke off
        self._tasks = [
            asyncio.create_task(self._keep(self._speaking.follow()), name=f"follow {self.session_id}"),
            asyncio.create_task(self._keep(self._speaking.pace()), name=f"pace {self.session_id}"),
        ]

    # The calls that carry it

    async def begin_call(self, last_sequence: int) -> None:
        """A call takes the dialogue up, after the events up to `last_sequence`. Raises RefusalError (EVENTS_LOST)."""
        limits = self.host.settings
        async with self._busy:  # what the call before it asked is still being done
            self.log.open(last_sequence)
            self._speaking.await_playback(True)
            if self.settings.listens and self.settings.input is not None:
                self._speed = SpeedLimit(
                    self.settings.input.rate, limits.max_vad_input_speed, limits.max_vad_input_burst, self.host.clock
                )

    @property
    def is_lost(self) -> bool:
        """Whether its engine is gone, and with it what the dialogue was."""
        return self._session.is_lost

    def end_call(self) -> None:
        """The call is over; the dialogue waits for another, or for `close`. No audio goes out meanwhile."""
        self.log.close()

    def started_message(self) -> ConverseResponse:
        """The first event of every call."""
        return ConverseResponse(
            session_started=SessionStartedMessage(
                session_id=self.session_id,
                resume_token=self.resume_token,
                config=self.settings.to_message(),
                next_input_sample=self._listening.accepted,
            )
        )

    async def wait_until_quiet(self) -> None:
        """Return once every committed turn was answered."""
        await self._speaking.wait_until_quiet()

    async def close(self) -> None:
        """End the dialogue; on return nothing of it is left."""
        tasks = [*self._tasks, *self._requests]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._session.close()
        finally:
            self._lease.release()
            if not self.fault.cancel() and not self.fault.cancelled():
                self.fault.exception()  # it was told, or nobody was left to be told
        log_event(
            self.host.log,
            logging.INFO,
            "dialogue_ended",
            session=self.session_id,
            turns=self._speaking.n_turns,
            seconds=self.host.clock.now() - self.opened_at,
        )

    # What the client asks

    async def handle(self, request: ConverseRequest) -> None:
        """Do what is asked. What concerns the request alone is told as `error`; what ends the call is raised.

        Once begun it is done to its end, even if the call breaks off: audio is accepted whole or not at all.
        """
        await self._unbroken(lambda: self._handle(request))

    async def end_side(self) -> None:
        """The client has ended its side: what it said is answered, and nobody interrupts any more."""
        await self._unbroken(self._end_side)

    async def _unbroken(self, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._alone(work))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        await asyncio.shield(task)

    async def _alone(self, work: Callable[[], Awaitable[None]]) -> None:
        async with self._busy:
            await work()

    async def _handle(self, request: ConverseRequest) -> None:
        kind = request.WhichOneof("request")
        try:
            match kind:
                case "audio":
                    await self._hear(request.audio.data)
                case "text":
                    await self._read(request.text.text)
                case "commit_input":
                    await self._listening.commit()
                case "clear_input":
                    await self._listening.clear()
                case "cancel_response":
                    await self._speaking.cancel(request.cancel_response.response_id)
                case "playback_update":
                    await self._speaking.take_report(request.playback_update)
                case "config_update":
                    self._configure(request.config_update)
                case "config" | "resume":
                    raise RefusalError(
                        Reason.CONFIG_REPEATED, f"`{kind}` is the first message or none; open another call for it."
                    )
                case _:
                    raise RefusalError(
                        Reason.REQUEST_UNKNOWN, "the message holds no request that this server knows; it was ignored."
                    )
        except RefusalError as error:
            if error.reason not in _OF_A_REQUEST:
                raise
            self.refuse(error, kind or "")

    async def _end_side(self) -> None:
        await self._listening.end()
        self._speaking.await_playback(False)

    async def _hear(self, data: bytes) -> None:
        wire = self.settings.input
        if wire is None:
            raise RefusalError(
                Reason.INPUT_FORMAT_MISSING, "audio came, and `config.input_audio` did not say what it is."
            )
        samples = wire.samples_in(data)
        if not samples:
            return
        if self._speed is not None:
            self._speed.take(samples)
        await self.host.shared_quotas.take_audio(self.key, samples, wire.rate)
        await self._listening.hear(wire.decode(data))

    async def _read(self, text: str) -> None:
        check_text(text, "text.text", self.host)
        if self._listening.holds_audio:
            raise RefusalError(
                Reason.TURN_HOLDS_AUDIO, "the caller's turn holds audio; commit or clear it before `text`."
            )
        self.check_turn()
        at = self._listening.accepted
        await self._session.push_text(text)
        await self.end_turn(TurnSpan(EndReason.COMMITTED, at, at))

    def _configure(self, update: ConfigUpdate) -> None:
        if not update.HasField("turn_detection"):
            raise InvalidRequestError(
                [FieldViolation("config_update.turn_detection", "absent; expected what changes.")]
            )
        detection = updated_detection(
            update.turn_detection, self.settings.detection, self.settings.listens, "config_update.turn_detection"
        )
        self.settings = replace(self.settings, detection=detection)
        self._listening.configure(detection)

    # What listening asks (listening.Floor)

    async def push(self, samples: Float32Array) -> None:
        """More of the caller's turn."""
        assert self.settings.input is not None, "audio is heard in the format that was given"
        await self._session.push_audio(samples, self.settings.input.rate)

    async def caller_paused(self) -> None:
        """The caller's turn may be over."""
        await self._session.caller_paused()

    async def forget(self) -> None:
        """The caller's turn so far is dropped."""
        await self._session.clear()

    def check_turn(self) -> None:
        """Raises RefusalError (TOO_MANY_TURNS, DRAINING)."""
        if self.host.drain.begun.is_set():
            raise RefusalError(Reason.DRAINING, "the server shuts down and takes no new turn; go to another.")
        if not self._speaking.has_room:
            waiting = self.host.settings.max_waiting_turns
            raise RefusalError(
                Reason.TOO_MANY_TURNS, f"{waiting} turns wait for their answers already; wait for one to be answered."
            )

    async def end_turn(self, span: TurnSpan) -> None:
        """The caller's turn is complete."""
        await self._speaking.end_turn(span)

    async def barge_in(self) -> None:
        """The caller speaks into the answer under way, and has heard enough of those behind it, too."""
        await self._speaking.cut(InterruptionReason.BARGE_IN, queued=True)

    def speech_started(self, decision: SpeechStarted) -> None:
        """The caller has begun a turn."""
        self.log.append(wire_events.speech_started(decision))

    def idle(self, at: InputSample) -> None:
        """Nobody has spoken for a while."""
        self.log.append(wire_events.idle_timeout(at))

    def refuse(self, error: RefusalError, request: str) -> None:
        """A request is refused, and the call goes on."""
        metadata: Mapping[str, str] = {"request": request}
        self.log.append(wire_events.error_event(status_of_error(error, metadata=metadata)))

    def _new_listening(self) -> Listening:
        settings, longest = self.settings, self.host.engine.config.max_turn_seconds
        if settings.input is None:  # nothing will be heard
            return ManualListening(self, OUTPUT_RATE, longest)
        if not settings.listens:
            return ManualListening(self, settings.input.rate, longest)
        return DetectedListening(self, settings.input.rate, settings.detection, self.host.voice_activity)

    async def _keep(self, work: Coroutine[None, None, None]) -> None:
        """Run a task of the dialogue; if it fails, the call learns of it."""
        try:
            await work
        except Exception as error:  # whatever it was, the dialogue cannot go on
            if not self.fault.done():
                self.fault.set_exception(error)
