"""One caller's side of a dialogue: input in, events out, on the caller's asyncio loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from types import TracebackType
from typing import Protocol, Self, TypeVar

from antiphon.engine.caller_loop import CallerLoop
from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.errors import AudioError, InputError, SessionClosedError, TextError
from antiphon.engine.events import AudioOutput, Event, InterruptionReason, ResponseCompleted, SessionStarted
from antiphon.engine.hear.audio import check_audio, check_rate
from antiphon.engine.history import HistoryItem
from antiphon.engine.messages import (
    AudioRead,
    CallerPaused,
    Cancel,
    ClearInput,
    CloseDialogue,
    Command,
    Commit,
    DialogueEnded,
    InputTaken,
    OpenDialogue,
    Outgoing,
    Played,
    PushAudio,
    PushText,
    Report,
)
from antiphon.engine.timeline import WaveSample, wave_sample_at
from antiphon.engine.types import ArrayLike, Float32Array

AnyCommand = TypeVar("AnyCommand", bound=Command)


@dataclass
class _Input:
    """What was pushed since the last commit."""

    rate: int | None = None  # Hz, of its audio; None before the first audio
    samples: int = 0
    has_text: bool = False

    @property
    def is_empty(self) -> bool:
        return self.samples == 0 and not self.has_text


class EngineSide(Protocol):
    """What a session needs of its engine; what is not awaited may be called from any thread and returns at once."""

    async def open(self, session: "Session", command: OpenDialogue) -> None: ...
    def submit(self, command: Command) -> None: ...
    def forget(self, session_id: str) -> None: ...


class Session:
    """A spoken dialogue, opened with `async with engine.session(...)`.

    Push audio or text, `commit()` the turn, read `events()`. Bad input raises one of `antiphon.engine.errors` at the
    call and changes nothing: the session goes on.
    """

    def __init__(
        self,
        session_id: str,
        config: SessionConfig,
        limits: EngineConfig,
        engine: EngineSide,
    ) -> None:
        self.session_id = session_id
        self.config = config
        self._limits = limits
        self._engine = engine
        self._caller: CallerLoop | None = None
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._slots = asyncio.Semaphore(limits.max_pending_inputs)
        self._input = _Input()
        self._turns = 0
        self._open = False
        self._fault: str | None = None
        self.is_lost = False  # with its engine
        self._ended = asyncio.Event()  # the engine holds nothing of this dialogue any more
        self._history = list(config.history)

    async def __aenter__(self) -> Self:
        if self._caller is not None:
            raise SessionClosedError(f"session {self.session_id} was entered before; open another for a new dialogue.")
        self._caller = CallerLoop()
        await self._engine.open(self, OpenDialogue(self.session_id, self.config))
        self._open = True
        self._events.put_nowait(SessionStarted(self.session_id))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the dialogue: its event stream ends, and what it held is free on return. Closing twice does nothing."""
        if self._open:
            self._open = False
            self._engine.submit(CloseDialogue(self.session_id))
            await self._ended.wait()

    @property
    def history(self) -> tuple[HistoryItem, ...]:
        """The dialogue so far, oldest first, up to the last `ResponseCompleted` that was read."""
        return tuple(self._history)

    async def push_audio(self, pcm: ArrayLike, rate: int) -> None:
        """More of the caller's turn: f32[n] or f32[channels, n] in [-1, 1] at `rate` Hz; of several channels the
        first is heard.

        Raises AudioError when it is empty, not finite, of an unknown rate or another rate than the turn's, or over
        the turn limit.
        """
        samples, rate = check_audio(pcm), check_rate(rate)
        await self._send(lambda: self._audio(samples, rate))

    def _audio(self, samples: Float32Array, rate: int) -> Command:
        if self._input.has_text:
            raise InputError("this turn already holds text; commit() or clear() it before pushing audio.")
        if self._input.rate not in (None, rate):
            raise AudioError(f"this turn's audio is at {self._input.rate} Hz; got {rate} Hz. One turn has one rate.")
        seconds = (self._input.samples + samples.size) / rate
        if seconds > self._limits.max_turn_seconds:
            raise AudioError(
                f"the turn would be {seconds:.2f} s long; the limit is {self._limits.max_turn_seconds:g} s. "
                "What was pushed before stays: commit() or clear() it."
            )
        self._input.rate = rate
        self._input.samples += samples.size
        return PushAudio(self.session_id, samples, rate)

    async def push_text(self, text: str) -> None:
        """The caller's turn as text. Control tokens written out in it stay text.

        Raises TextError when it is empty or over the limit of characters, InputError when the turn already holds input.
        """
        if not isinstance(text, str):
            raise TextError(f"the text is a {type(text).__name__}; expected a str.")
        if not text.strip():
            raise TextError("the text is empty; expected at least one character that is not white space.")
        if len(text) > self._limits.max_text_characters:
            raise TextError(f"the text has {len(text)} characters; the limit is {self._limits.max_text_characters}.")
        await self._send(lambda: self._text(text))

    def _text(self, text: str) -> Command:
        if not self._input.is_empty:
            raise InputError("this turn already holds input; commit() or clear() it before pushing text.")
        self._input.has_text = True
        return PushText(self.session_id, text)

    async def caller_paused(self) -> None:
        """The caller has paused and may have ended: the engine prepares for a commit here. A hint, which changes no
        answer; without it the engine waits for audio to stay away."""
        await self._send(lambda: CallerPaused(self.session_id))

    async def clear(self) -> None:
        """Forget what was pushed since the last commit."""
        await self._send(self._clear)

    def _clear(self) -> Command:
        self._input = _Input()
        return ClearInput(self.session_id)

    async def commit(self) -> str:
        """The caller's turn is over: answer it. Returns the id that the answer's events carry.

        Raises InputError when nothing was pushed. Turns committed while an answer is under way are answered after it,
        in order.
        """
        command = await self._send(self._commit)
        return command.response_id

    def _commit(self) -> Commit:
        if self._input.is_empty:
            raise InputError("there is nothing to answer: push audio or text before commit().")
        self._input = _Input()
        response_id = f"{self.session_id}.{self._turns}"
        self._turns += 1
        return Commit(self.session_id, response_id)

    async def cancel(
        self,
        heard_seconds: float | Fraction | None = None,
        *,
        response_id: str | None = None,
        queued: bool = True,
        reason: InterruptionReason = InterruptionReason.CLIENT_CANCELLED,
    ) -> None:
        """Stop the answer under way, and those queued behind it. Without one, nothing happens.

        `heard_seconds` is how much of it the caller has heard; None estimates it by the clock from the first audio
        on. The history keeps what was heard. `response_id`: only if this is the answer under way. Without `queued`
        those behind it stay.
        """
        heard: WaveSample | None = None
        if heard_seconds is not None:
            if not isinstance(heard_seconds, int | float | Fraction) or not 0 <= heard_seconds < inf:
                raise InputError(f"heard_seconds is {heard_seconds!r}; expected a finite number, 0 or more.")
            heard = wave_sample_at(heard_seconds)
        await self._send(lambda: Cancel(self.session_id, heard, reason, response_id, queued))

    async def played(self, response_id: str) -> None:
        """An answer was heard to its end: where the config awaits playback, it is over. Any other id does nothing."""
        await self._send(lambda: Played(self.session_id, response_id))

    async def events(self) -> AsyncIterator[Event]:
        """Events as they come, until the session is closed. May be entered again: it goes on where it stopped."""
        while (event := await self._events.get()) is not None:
            if isinstance(event, AudioOutput):
                self._engine.submit(AudioRead(self.session_id, event.samples.size))
            if isinstance(event, ResponseCompleted):
                self._history.extend(event.history)
            yield event
        self._events.put_nowait(None)
        if self._fault is not None:
            raise SessionClosedError(self._fault)

    def deliver(self, report: Report) -> None:
        """Called by the engine, from its own thread."""
        self._post(self._receive, report)

    def fail(self, why: str) -> None:
        """Called by the engine, from its own thread, when it can serve no more: the event stream ends with an error."""
        self._post(self._lose, why)

    def _post(self, function: Callable[..., None], *arguments: object) -> None:
        assert self._caller is not None, "the engine knows a session only after it was entered"
        if not self._caller.post(function, *arguments):
            self._engine.submit(CloseDialogue(self.session_id))
            self._engine.forget(self.session_id)

    def _lose(self, why: str) -> None:
        self.is_lost = True
        self._end(why)

    def _end(self, fault: str | None) -> None:
        self._fault = fault
        self._ended.set()
        self._events.put_nowait(None)
        for _ in range(self._limits.max_pending_inputs):  # whoever waits to send is told at once
            self._slots.release()

    def _receive(self, report: Report) -> None:
        match report:
            case Outgoing():
                self._events.put_nowait(report.event)
            case InputTaken():
                for _ in range(report.count):
                    self._slots.release()
            case DialogueEnded():
                self._engine.forget(self.session_id)
                self._end(report.fault)

    async def _send(self, make: Callable[[], AnyCommand]) -> AnyCommand:
        """Wait for a slot; then check, change and submit without a pause, so that a call which is refused, or cancelled
        while it waits, changes nothing."""
        self._check_open()
        await self._slots.acquire()
        try:
            self._check_open()
            command = make()
        except BaseException:
            self._slots.release()
            raise
        self._engine.submit(command)
        return command

    def _check_open(self) -> None:
        if self._fault is not None:
            raise SessionClosedError(self._fault)
        if not self._open:
            raise SessionClosedError(f"session {self.session_id} is closed; open another with engine.session().")
