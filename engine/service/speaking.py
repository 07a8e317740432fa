"""A dialogue's answers on their way to the caller: the session's events to the wire's, audio when it is due, and the
end of an answer when it was heard or cut.
"""

import asyncio
from collections import deque
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
    TurnsForgotten,
)
from antiphon.engine.service import wire_events
from antiphon.engine.service.answer_voice import AnswerVoice, CommittedTurn
from antiphon.engine.service.convert import DialogueSettings
from antiphon.engine.service.event_log import EventLog
from antiphon.engine.service.host import Host
from antiphon.engine.service.listening import Listening
from antiphon.engine.service.wire_events import AnswerTimes, ModelIds, TurnSpan
from antiphon.engine.session import Session
from antiphon.engine.timeline import wave_seconds
from antiphon.v1.dialogue_pb2 import ConverseResponse, PlaybackUpdate

MADE_AHEAD_SECONDS: Final = 5.0  # audio taken from the engine before it is due; the rest waits there
_NOTHING_HEARD: Final = Fraction(0)


class Speaking:
    """One dialogue's output. `follow` and `pace` run for as long as it lives; used on one asyncio loop."""

    def __init__(
        self,
        host: Host,
        settings: DialogueSettings,
        session: Session,
        log: EventLog,
        listening: Listening,
        response_prefix: str,
    ) -> None:
        """Ids of answers begin with `response_prefix`; `listening` learns when answers begin and end."""
        self.n_turns = 0  # committed so far
        self._host = host
        self._settings = settings
        self._session = session
        self._log = log
        self._listening = listening
        self._prefix = response_prefix
        self._turns: deque[CommittedTurn] = deque()  # the first is being answered, or about to be
        self._voice: AnswerVoice | None = None  # of the answer under way
        self._awaits_playback = True  # False: the client has ended its side, and nobody will interrupt
        self._due = asyncio.Event()  # something changed that may let audio go out, or an answer be over
        self._pulled = asyncio.Event()  # audio went out, or was dropped
        self._quiet = asyncio.Event()  # no turn waits for its answer, none is being answered
        self._quiet.set()
        log.on_room = self._due.set

    @property
    def has_room(self) -> bool:
        """Whether another turn may be committed."""
        return sum(not turn.is_over for turn in self._turns) <= self._host.settings.max_waiting_turns

    async def wait_until_quiet(self) -> None:
        """Return once every committed turn was answered."""
        await self._quiet.wait()

    def await_playback(self, wait: bool) -> None:
        """Whether an answer is over when it was heard, or as soon as it was sent: nobody is left to interrupt."""
        self._awaits_playback = wait
        self._due.set()

    async def end_turn(self, span: TurnSpan) -> None:
        """Commit the session's turn: it is to be answered."""
        ended_at = self._host.clock.now()
        engine_id = await self._session.commit()
        turn = CommittedTurn(f"{self._prefix}.{self.n_turns}", engine_id, span, ended_at)
        self.n_turns += 1
        if self._under_way is None:
            self._listening.answer_expected()
        self._turns.append(turn)
        self._quiet.clear()
        self._log.append(wire_events.turn_ended(turn.response_id, span))

    async def cancel(self, response_id: str) -> None:
        """Stop the answer under way, if it is this one or "" is given, and drop those behind it."""
        turn = self._under_way
        if turn is not None and response_id in ("", turn.response_id):
            await self.cut(InterruptionReason.CLIENT_CANCELLED, queued=True)

    async def take_report(self, update: PlaybackUpdate) -> None:
        """The client tells how far it has played."""
        voice = self._voice
        if voice is None or voice.turn.is_over:
            return
        now = self._host.clock.now()
        voice.playback.report(update.response_id, update.played_samples, update.stopped, now)
        heard_all = voice.is_told and voice.playback.heard(now).position == voice.playback.sent
        if update.stopped and update.response_id == voice.turn.response_id and not heard_all:
            await self.cut(InterruptionReason.CLIENT_CANCELLED, queued=False)
        self._due.set()

    @property
    def _under_way(self) -> CommittedTurn | None:
        """The turn that is being answered, or is next to be."""
        return next((turn for turn in self._turns if not turn.is_over), None)

    async def cut(self, reason: InterruptionReason, queued: bool) -> None:
        """Stop the answer under way at what was heard of it, and with `queued` those behind it."""
        turn = self._under_way
        if turn is None:
            return
        heard = _NOTHING_HEARD
        if self._voice is not None and self._voice.turn is turn:
            heard = wave_seconds(self._voice.cut(self._host.clock.now()))
            self._log.withdraw(turn.response_id)
        turn.is_over = True
        if queued:
            for waiting in self._turns:
                waiting.is_over = True
        self._next_answer()
        self._pulled.set()
        await self._session.cancel(heard, response_id=None if queued else turn.engine_id, queued=queued, reason=reason)

    async def follow(self) -> None:
        """Take the session's events, in order, for as long as it lives."""
        async for event in self._session.events():
            await self._take(event)

    async def _take(self, event: Event) -> None:
        match event:
            case ResponseStarted():
                turn = self._turns[0]
                assert turn.engine_id == event.response_id, "the engine answers turns in their order"
                self._voice = AnswerVoice(turn, self._settings, self._host.settings.max_output_lead)
                self._log.append(wire_events.response_started(turn.response_id, event.turn_index))
            case TurnsForgotten():
                told = wire_events.turns_forgotten(self._current.turn.response_id, event)
                self._log.append(ConverseResponse(turns_forgotten=told))
            case TextDelta():
                voice = self._current
                if self._settings.text_deltas and not voice.turn.is_over:
                    offset = voice.wire_position(event.sample_offset)
                    self._log.append(wire_events.text_delta(voice.turn.response_id, event.text, offset))
            case AudioOutput():
                await self._take_audio(event)
            case AudioCompleted():
                self._current.finish()
                self._due.set()
            case Interrupted():
                voice = self._current
                voice.turn.is_over = True
                heard = voice.heard_when_cut(event)
                self._log.append(
                    wire_events.interrupted(
                        voice.turn.response_id, event.reason, heard.position, event.kept_tokens, heard.estimated
                    )
                )
            case ResponseCompleted():
                self._complete(event)

    async def _take_audio(self, event: AudioOutput) -> None:
        """Hand audio on to be sent, and wait while plenty of it waits: the engine holds the rest."""
        voice = self._current
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
            self._log.withdraw(turn.response_id)
            self._next_answer()
        now = self._host.clock.now()
        rate = None if self._settings.input is None else self._settings.input.rate
        first = turn.first_audio_at
        times = AnswerTimes(
            turn.span.detection_seconds(rate), None if first is None else first - turn.ended_at, now - turn.ended_at
        )
        ids = ModelIds(self._host.codec_id, self._host.vocabulary_id) if self._settings.turn_history else None
        self._log.append(wire_events.response_completed(turn.response_id, event, times, ids))
        if not self._turns:
            self._quiet.set()

    @property
    def _current(self) -> AnswerVoice:
        assert self._voice is not None, "every answer begins with ResponseStarted"
        return self._voice

    async def pace(self) -> None:
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
        while self._log.has_room and (packet := voice.take(self._host.clock.now())) is not None:
            if packet.sample_offset == 0:
                self._listening.answer_started()
            data = self._settings.output.encode(packet.samples)
            self._log.append(wire_events.audio_output(voice.turn.response_id, data, packet.sample_offset))
            self._pulled.set()
        if not voice.pacer.is_done:
            return voice.pacer.next_due(self._host.clock.now()) if self._log.has_room else None
        if not voice.is_told:
            voice.is_told = True
            self._log.append(wire_events.audio_completed(voice.turn.response_id, voice.playback.sent))
        left = voice.playback.seconds_left(self._host.clock.now()) if self._awaits_playback else 0.0
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
