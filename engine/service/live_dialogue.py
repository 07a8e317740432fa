"""One dialogue of the service: a session of the engine, what it hears, what it says, and the events of both.

It outlives the calls that carry it, one at a time. Two tasks belong to it: one follows the session's events, one sends
audio when it is due.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Coroutine, Mapping
from fractions import Fraction
from typing import Final

from antiphon.engine.events import (
    AudioCompleted,
    AudioOutput,
    Event,
    Interrupted,
    InterruptionReason,
    ResponseCompleted,
    ResponseStarted,
    TextDelta,
)
from antiphon.engine.hear.turn_taking import EndReason, SpeechStarted
from antiphon.engine.service import wire_events
from antiphon.engine.service.convert import DialogueSettings, check_text, updated_detection
from antiphon.engine.service.event_log import EventLog
from antiphon.engine.service.host import Host
from antiphon.engine.service.listening import DetectedListening, Listening, ManualListening
from antiphon.engine.service.logs import log_event
from antiphon.engine.service.quotas import Lease, SpeedLimit
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.engine.service.speaking import AnswerVoice, CommittedTurn
from antiphon.engine.service.status import status_of_error
from antiphon.engine.service.wire_events import AnswerTimes, ModelIds, TurnSpan
from antiphon.engine.session import Session
from antiphon.engine.timeline import InputSample, wave_seconds
from antiphon.engine.types import Float32Array
from antiphon.engine.units import OUTPUT_RATE
from antiphon.v1.dialogue_pb2 import ConfigUpdate, ConverseRequest, ConverseResponse, PlaybackUpdate
from antiphon.v1.events_pb2 import SessionStarted as SessionStartedMessage

MADE_AHEAD_SECONDS: Final = 5.0  # audio taken from the engine before it is due; the rest waits there
_NOTHING_HEARD: Final = Fraction(0)
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

    def __init__(self, host: Host, settings: DialogueSettings, session: Session, key: str | None, lease: Lease) -> None:
        """`session` is entered; the dialogue owns it and `lease` from here on."""
        self.host = host
        self.settings = settings
        self.key = key
        self.session_id = secrets.token_hex(12)
        self.resume_token = secrets.token_urlsafe(24) if settings.resume_window else ""
        self.opened_at = host.clock.now()
        self.log = EventLog(host.settings.max_resume_bytes if settings.resume_window else 0)
        self.fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # fails when the engine is lost
        self._session = session
        self._lease = lease
        self._listening = self._new_listening()
        self._detection = settings.detection
        self._speed: SpeedLimit | None = None  # of the call under way
        self._turns: deque[CommittedTurn] = deque()  # the first is being answered, or about to be
        self._n_turns = 0
        self._voice: AnswerVoice | None = None  # of the answer under way
        self._side_ended = False  # the client sends no more: nobody will interrupt
        self._due = asyncio.Event()  # something changed that may let audio go out, or an answer be over
        self._pulled = asyncio.Event()  # audio went out, or was dropped
        self._quiet = asyncio.Event()  # no turn waits for its answer, none is being answered
        self._quiet.set()
        self.log.on_room = self._due.set
        self._tasks = [
            asyncio.create_task(self._keep(self._follow()), name=f"follow {self.session_id}"),
            asyncio.create_task(self._keep(self._pace()), name=f"pace {self.session_id}"),
        ]

    # The calls that carry it

    def begin_call(self, last_sequence: int = 0) -> None:
        """A call takes the dialogue up, after the events up to `last_sequence`. Raises RefusalError (EVENTS_LOST)."""
        limits = self.host.settings
        self.log.open(last_sequence)
        self._side_ended = False
        if self.settings.listens and self.settings.input is not None:
            self._speed = SpeedLimit(
                self.settings.input.rate, limits.max_vad_input_speed, limits.max_vad_input_burst, self.host.clock
            )

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
        await self._quiet.wait()

    async def close(self) -> None:
        """End the dialogue; on return nothing of it is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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
            turns=self._n_turns,
            seconds=self.host.clock.now() - self.opened_at,
        )

    # What the client asks

    async def handle(self, request: ConverseRequest) -> None:
        """Do what is asked. What concerns the request alone is told as `error`; what ends the call is raised."""
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
                    await self._cancel(request.cancel_response.response_id)
                case "playback_update":
                    await self._take_report(request.playback_update)
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

    async def end_side(self) -> None:
        """The client has ended its side: what it said is answered, and nobody interrupts any more."""
        await self._listening.end()
        self._side_ended = True
        self._due.set()

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
        self.host.quotas.take_audio(self.key, samples, wire.rate)
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
        self._detection = updated_detection(
            update.turn_detection, self._detection, self.settings.listens, "config_update.turn_detection"
        )
        self._listening.configure(self._detection)

    async def _cancel(self, response_id: str) -> None:
        turn = self._under_way
        if turn is not None and response_id in ("", turn.response_id):
            await self._cut(InterruptionReason.CLIENT_CANCELLED, queued=True)

    async def _take_report(self, update: PlaybackUpdate) -> None:
        voice = self._voice
        if voice is None or voice.turn.is_over:
            return
        now = self.host.clock.now()
        voice.playback.report(update.response_id, update.played_samples, update.stopped, now)
        heard_all = voice.is_told and voice.playback.heard(now).position == voice.playback.sent
        if update.stopped and update.response_id == voice.turn.response_id and not heard_all:
            await self._cut(InterruptionReason.CLIENT_CANCELLED, queued=False)
        self._due.set()

    # What listening asks (listening.Floor)

    async def push(self, samples: Float32Array) -> None:
        """More of the caller's turn."""
        assert self.settings.input is not None, "audio is heard in the format that was given"
        await self._session.push_audio(samples, self.settings.input.rate)

    async def forget(self) -> None:
        """The caller's turn so far is dropped."""
        await self._session.clear()

    def check_turn(self) -> None:
        """Raises RefusalError (TOO_MANY_TURNS, DRAINING)."""
        if self.host.drain.begun.is_set():
            raise RefusalError(Reason.DRAINING, "the server shuts down and takes no new turn; go to another.")
        waiting = sum(not turn.is_over for turn in self._turns) - 1
        if waiting >= self.host.settings.max_waiting_turns:
            raise RefusalError(
                Reason.TOO_MANY_TURNS, f"{waiting} turns wait for their answers already; wait for one to be answered."
            )

    async def end_turn(self, span: TurnSpan) -> None:
        """The caller's turn is complete."""
        ended_at = self.host.clock.now()
        engine_id = await self._session.commit()
        turn = CommittedTurn(f"{self.session_id}.{self._n_turns}", engine_id, span, ended_at)
        self._n_turns += 1
        if self._under_way is None:
            self._listening.answer_expected()
        self._turns.append(turn)
        self._quiet.clear()
        self.log.append(wire_events.turn_ended(turn.response_id, span))

    async def barge_in(self) -> None:
        """The caller speaks into the answer under way, and has heard enough of those behind it, too."""
        await self._cut(InterruptionReason.BARGE_IN, queued=True)

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

    # The answers

    @property
    def _under_way(self) -> CommittedTurn | None:
        """The turn that is being answered, or is next to be."""
        return next((turn for turn in self._turns if not turn.is_over), None)

    async def _cut(self, reason: InterruptionReason, queued: bool) -> None:
        """Stop the answer under way at what was heard of it, and with `queued` those behind it."""
        turn = self._under_way
        if turn is None:
            return
        heard = _NOTHING_HEARD
        if self._voice is not None and self._voice.turn is turn:
            heard = wave_seconds(self._voice.cut(self.host.clock.now()))
            self.log.withdraw(turn.response_id)
        turn.is_over = True
        if queued:
            for waiting in self._turns:
                waiting.is_over = True
        self._next_answer()
        self._pulled.set()
        await self._session.cancel(heard, response_id=None if queued else turn.engine_id, queued=queued, reason=reason)

    async def _follow(self) -> None:
        """Take the session's events, in order, for as long as it lives."""
        async for event in self._session.events():
            await self._take(event)

    async def _take(self, event: Event) -> None:
        match event:
            case ResponseStarted():
                turn = self._turns[0]
                assert turn.engine_id == event.response_id, "the engine answers turns in their order"
                self._voice = AnswerVoice(turn, self.settings, self.host.settings.max_output_lead)
                self.log.append(wire_events.response_started(turn.response_id, event.turn_index))
            case TextDelta():
                voice = self._speaking
                if self.settings.text_deltas and not voice.turn.is_over:
                    offset = voice.wire_position(event.sample_offset)
                    self.log.append(wire_events.text_delta(voice.turn.response_id, event.text, offset))
            case AudioOutput():
                await self._take_audio(event)
            case AudioCompleted():
                self._speaking.finish()
                self._due.set()
            case Interrupted():
                voice = self._speaking
                voice.turn.is_over = True
                heard = voice.heard_when_cut(event)
                self.log.append(
                    wire_events.interrupted(
                        voice.turn.response_id, event.reason, heard.position, event.kept_tokens, heard.estimated
                    )
                )
            case ResponseCompleted():
                self._complete(event)

    async def _take_audio(self, event: AudioOutput) -> None:
        """Hand audio on to be sent, and wait while plenty of it waits: the engine holds the rest."""
        voice = self._speaking
        if voice.turn.is_over:
            return
        voice.push(event.samples)
        self._due.set()
        while voice.seconds_waiting > MADE_AHEAD_SECONDS:
            self._pulled.clear()
            await self._pulled.wait()

    def _complete(self, event: ResponseCompleted) -> None:
        self._voice = None
        turn = self._turns.popleft()
        if not turn.is_over:  # it failed: nobody told it to end
            self.log.withdraw(turn.response_id)
            self._next_answer()
        now = self.host.clock.now()
        rate = None if self.settings.input is None else self.settings.input.rate
        first = turn.first_audio_at
        times = AnswerTimes(
            turn.span.detection_seconds(rate), None if first is None else first - turn.ended_at, now - turn.ended_at
        )
        ids = ModelIds(self.host.codec_id, self.host.vocabulary_id) if self.settings.turn_history else None
        self.log.append(wire_events.response_completed(turn.response_id, event, times, ids))
        if not self._turns:
            self._quiet.set()

    @property
    def _speaking(self) -> AnswerVoice:
        assert self._voice is not None, "every answer begins with ResponseStarted"
        return self._voice

    async def _pace(self) -> None:
        """Send audio when it is due, and end answers when they were heard."""
        while True:
            self._due.clear()
            delay = await self._send_due()
            try:
                async with asyncio.timeout(delay):
                    await self._due.wait()
            except TimeoutError:
                pass

    async def _send_due(self) -> float | None:
        """Send what is due now. Returns seconds until there may be more; None: something has to happen first."""
        voice = self._voice
        if voice is None or voice.turn.is_over:
            return None
        while self.log.has_room and (packet := voice.take(self.host.clock.now())) is not None:
            if packet.sample_offset == 0:
                self._listening.answer_started()
            data = self.settings.output.encode(packet.samples)
            self.log.append(wire_events.audio_output(voice.turn.response_id, data, packet.sample_offset))
            self._pulled.set()
        if not voice.pacer.is_done:
            return voice.pacer.next_due(self.host.clock.now()) if self.log.has_room else None
        if not voice.is_told:
            voice.is_told = True
            self.log.append(wire_events.audio_completed(voice.turn.response_id, voice.playback.sent))
        left = 0.0 if self._side_ended else voice.playback.seconds_left(self.host.clock.now())
        if left > 0:
            return left
        voice.turn.is_over = True
        self._next_answer()
        await self._session.played(voice.turn.engine_id)
        return None

    def _next_answer(self) -> None:
        """An answer is over; the next one, if any turn waits, is expected."""
        self._listening.answer_ended()
        if self._under_way is not None:
            self._listening.answer_expected()

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
