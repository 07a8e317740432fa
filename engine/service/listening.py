"""The caller's audio on its way to the engine: which of it is a turn, and when that is over.

Positions are input samples of the dialogue, counted from the first that was accepted.

    ManualListening     all audio up to a commit is the turn
    DetectedListening   the caller's voice decides (SERVER_VAD)

A turn that reaches the longest allowed is ended there and then by both, and what follows begins the next.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Final, Protocol

import numpy as np

from antiphon.engine.hear.turn_taking import (
    BargeIn,
    Decision,
    EndReason,
    IdleTimeout,
    SpeechStarted,
    SpeechStopped,
    TurnDetectionSettings,
    TurnDetector,
    TurnEnded,
)
from antiphon.engine.hear.voice_activity import SpeechFrame, VoiceActivityState
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.engine.service.voice_activity import VoiceActivityService
from antiphon.engine.service.wire_events import TurnSpan
from antiphon.engine.timeline import InputSample
from antiphon.engine.types import Float32Array

_PUSH_SECONDS: Final = 0.08  # MANUAL hands audio on in pieces of at least one speech token, however it comes


class Floor(Protocol):
    """What listening asks of the dialogue it belongs to."""

    async def push(self, samples: Float32Array) -> None:
        """More of the turn: f32[n] at the caller's rate."""

    async def caller_paused(self) -> None:
        """The turn so far may be all of it."""

    async def forget(self) -> None:
        """The turn so far is dropped."""

    def check_turn(self) -> None:
        """Raises RefusalError when no further turn can be taken now."""

    async def end_turn(self, span: TurnSpan) -> None:
        """The turn is complete: it will be answered."""

    async def barge_in(self) -> None:
        """The caller speaks into the answer under way."""

    def speech_started(self, decision: SpeechStarted) -> None:
        """A turn has begun."""

    def idle(self, at: InputSample) -> None:
        """Nobody has spoken for a while."""

    def refuse(self, error: RefusalError, request: str) -> None:
        """A request is refused, and the call goes on."""


class Listening(ABC):
    """One dialogue's input. Its calls must not overlap."""

    def __init__(self, floor: Floor, rate: int, max_turn: float) -> None:
        """`rate` in Hz, the longest turn in seconds."""
        self.accepted = InputSample(0)  # samples taken so far
        self._floor = floor
        self._rate = rate
        self._longest = int(max_turn * rate)

    @property
    @abstractmethod
    def holds_audio(self) -> bool:
        """Whether the caller's turn holds audio that is not committed."""

    @abstractmethod
    async def hear(self, samples: Float32Array) -> None:
        """More audio: f32[n]."""

    @abstractmethod
    async def commit(self) -> None:
        """The turn is over at the last sample. Raises RefusalError (TURN_EMPTY, or as `Floor.check_turn`)."""

    @abstractmethod
    async def clear(self) -> None:
        """Forget the turn so far."""

    @abstractmethod
    async def end(self) -> None:
        """The client sends no more: end the turn that voice detection holds open, drop what nobody committed."""

    def configure(self, settings: TurnDetectionSettings) -> None:  # noqa: B027 - MANUAL has nothing to set
        """Other settings from the next audio on."""

    def answer_expected(self) -> None:  # noqa: B027 - MANUAL does not take turns by itself
        """The model works on an answer."""

    def answer_started(self) -> None:  # noqa: B027
        """The caller begins to hear an answer."""

    def answer_ended(self) -> None:  # noqa: B027
        """The answer under way is over."""


class ManualListening(Listening):
    """The client says when a turn is over."""

    def __init__(self, floor: Floor, rate: int, max_turn: float) -> None:
        super().__init__(floor, rate, max_turn)
        self._turn_start = InputSample(0)
        self._held: list[Float32Array] = []  # of the turn, not handed on yet
        self._held_samples = 0

    @property
    def holds_audio(self) -> bool:
        """Whether the caller's turn holds audio that is not committed."""
        return self.accepted > self._turn_start

    async def hear(self, samples: Float32Array) -> None:
        """More audio: f32[n]."""
        while samples.size:
            room = self._longest - (self.accepted - self._turn_start)
            piece, samples = samples[:room], samples[room:]
            self.accepted = InputSample(self.accepted + piece.size)
            self._held.append(piece)
            self._held_samples += piece.size
            if self._held_samples >= _PUSH_SECONDS * self._rate:
                await self._hand_on()
            if self.accepted - self._turn_start == self._longest:
                try:
                    await self._end_turn(EndReason.LIMIT)
                except RefusalError as error:
                    await self.clear()
                    self._floor.refuse(error, "audio")

    async def commit(self) -> None:
        """The turn is over at the last sample. Raises RefusalError (TURN_EMPTY, or as `Floor.check_turn`)."""
        if not self.holds_audio:
            raise RefusalError(Reason.TURN_EMPTY, "the turn holds no audio; send some before `commit_input`.")
        await self._end_turn(EndReason.COMMITTED)

    async def clear(self) -> None:
        """Forget the turn so far."""
        self._held, self._held_samples = [], 0
        self._turn_start = self.accepted
        await self._floor.forget()

    async def end(self) -> None:
        """The client sends no more."""
        await self.clear()

    async def _end_turn(self, reason: EndReason) -> None:
        self._floor.check_turn()
        await self._hand_on()
        start, self._turn_start = self._turn_start, self.accepted
        await self._floor.end_turn(TurnSpan(reason, start, self.accepted))

    async def _hand_on(self) -> None:
        if self._held:
            samples, self._held, self._held_samples = np.concatenate(self._held), [], 0
            await self._floor.push(samples)


class DetectedListening(Listening):
    """The caller's voice says when a turn begins and ends; audio is kept for as long as a turn may still hold it."""

    def __init__(
        self,
        floor: Floor,
        rate: int,
        settings: TurnDetectionSettings,
        voice_activity: VoiceActivityService,
    ) -> None:
        super().__init__(floor, rate, settings.max_turn)
        self._voice_activity = voice_activity
        self._state = VoiceActivityState(rate)
        self._detector = TurnDetector(self._in_samples(settings), rate)
        self._heard = InputSample(0)  # end of the last frame
        self._deciding = False  # within a frame: what happens, happens at its end
        self._kept: list[Float32Array] = []
        self._kept_from = InputSample(0)
        self._pushed_to: InputSample | None = None  # of the turn in progress; None: there is none
        self._pause: InputSample | None = None  # where the pause that ends the turn began
        self._told_pause: InputSample | None = None  # where the last pause that the floor knows of began

    @property
    def holds_audio(self) -> bool:
        """Whether the caller's turn holds audio that is not committed."""
        return self._pushed_to is not None

    async def hear(self, samples: Float32Array) -> None:
        """More audio: f32[n]."""
        self._kept.append(samples)
        self.accepted = InputSample(self.accepted + samples.size)
        self._state.push(samples)
        for frame in await self._voice_activity.frames(self._state):
            await self._observe(frame)
        if self._state.frames_waiting == 0:
            self._let_go(self._detector.keep_from)

    async def commit(self) -> None:
        """The turn is over at the last sample. Raises RefusalError (TURN_EMPTY, or as `Floor.check_turn`)."""
        if not self.holds_audio:
            raise RefusalError(Reason.TURN_EMPTY, "the caller has not spoken; there is no turn to commit.")
        self._floor.check_turn()
        await self._apply(self._detector.end_turn(self.accepted))

    async def clear(self) -> None:
        """Forget the turn so far."""
        self._detector.discard(self.accepted)
        self._pushed_to = self._pause = None
        await self._floor.forget()

    async def end(self) -> None:
        """The client sends no more: the turn in progress is over."""
        await self._apply(self._detector.end_turn(self.accepted))

    def configure(self, settings: TurnDetectionSettings) -> None:
        """Other settings from the next audio on; the longest turn stays. A longer padding finds what is kept so far."""
        self._detector.settings = self._in_samples(settings)

    def answer_expected(self) -> None:
        """The model works on an answer."""
        self._detector.answer_expected(self._now)

    def answer_started(self) -> None:
        """The caller begins to hear an answer."""
        self._detector.answer_started(self._now)

    def answer_ended(self) -> None:
        """The answer under way is over."""
        self._detector.answer_ended(self._now)

    def _in_samples(self, settings: TurnDetectionSettings) -> TurnDetectionSettings:
        """The longest turn as whole samples: rounded up it would be more than the engine takes."""
        return replace(settings, max_turn=self._longest / self._rate)

    @property
    def _now(self) -> InputSample:
        """Where in the caller's audio something happens that happens now."""
        return self._heard if self._deciding else self.accepted

    async def _observe(self, frame: SpeechFrame) -> None:
        decisions = self._detector.observe(frame)
        self._heard, self._deciding = frame.end, True
        try:
            await self._apply(decisions)
            if self._pushed_to is not None:
                await self._push_to(frame.end)
                await self._tell_pause()
        finally:
            self._deciding = False

    async def _tell_pause(self) -> None:
        """Tell of a pause, once, when half of the silence that will end the turn has gone by: most words' gaps are
        shorter."""
        pause = self._detector.pause_start
        if pause is None or pause == self._told_pause:
            return
        if self._heard - pause >= self._detector.settings.end_silence * self._rate / 2:
            self._told_pause = pause
            await self._floor.caller_paused()

    async def _apply(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case SpeechStarted():
                    self._pushed_to = decision.turn_start
                    self._floor.speech_started(decision)
                case BargeIn():
                    await self._floor.barge_in()
                case SpeechStopped():
                    self._pause = decision.at
                case TurnEnded():
                    await self._end_turn(decision)
                case IdleTimeout():
                    self._floor.idle(decision.at)

    async def _end_turn(self, turn: TurnEnded) -> None:
        await self._push_to(turn.end)
        pause, self._pushed_to, self._pause = self._pause, None, None
        try:
            self._floor.check_turn()
        except RefusalError as error:
            await self._floor.forget()
            self._floor.refuse(error, "audio")
        else:
            await self._floor.end_turn(TurnSpan(turn.reason, turn.start, turn.end, pause))

    async def _push_to(self, end: InputSample) -> None:
        """Hand on the turn's audio up to `end`."""
        assert self._pushed_to is not None, "audio is handed on within a turn"
        if end > self._pushed_to:
            assert self._pushed_to >= self._kept_from, "no turn starts before the audio that was kept for it"
            audio = np.concatenate(self._kept)
            self._kept = [audio]
            start, self._pushed_to = self._pushed_to, end
            await self._floor.push(audio[start - self._kept_from : end - self._kept_from])

    def _let_go(self, before: InputSample) -> None:
        """Drop audio that no turn will hold, and what of the turn in progress was handed on."""
        before = max(before, self._pushed_to) if self._pushed_to is not None else before
        gone = before - self._kept_from
        if gone > 0:
            self._kept = [np.concatenate(self._kept)[gone:]]
            self._kept_from = before
