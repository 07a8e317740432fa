"""One turn, hear → think → speak, as a resumable state machine.

    LISTENING → ENCODING → QUEUED → PREFILL → DECODING ⇄ SPEAKING → [PLAYING] → DONE

It owns no model. Whoever has its next input advances it: the caller pushes audio, the loop brings encoded blocks,
sampled ids and decoded chunks, each in a batch with other turns. It says what it waits for (`unheard`, then the
answer's `wants_lm` and `chunk_job`) and returns the events its progress gives rise to.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from antiphon.engine.answer import Answer
from antiphon.engine.events import (
    AudioCompleted,
    Event,
    Failure,
    FinishReason,
    Interrupted,
    InterruptionReason,
    ResponseCompleted,
    ResponseStarted,
    Usage,
)
from antiphon.engine.hear.listener import Listener
from antiphon.engine.hear.requests import EncodeRequest, EncodeResult
from antiphon.engine.history import HistoryItem
from antiphon.engine.speak.chunks import ChunkResult
from antiphon.engine.stopwatch import Stage, Stopwatch
from antiphon.engine.timeline import WaveSample, wave_seconds
from antiphon.engine.types import Float32Array
from antiphon.scheduler.hearing import Hearing

PAUSE_SECONDS: Final = 0.2  # without audio from the caller: longer than a network's jitter


class Phase(Enum):
    """What a turn waits for."""

    LISTENING = "listening"  # the caller
    ENCODING = "encoding"  # the tokenizer: committed, with audio not yet encoded
    QUEUED = "queued"  # the answer before it
    PREFILL = "prefill"  # the LM, for the first id
    DECODING = "decoding"  # the LM, for the next id
    SPEAKING = "speaking"  # the decoder: a chunk is due
    PLAYING = "playing"  # the caller, to hear the answer's end
    DONE = "done"


@dataclass(frozen=True)
class Unheard:
    """Audio of a turn that waits for the tokenizer, and what for."""

    kind: Hearing
    request: EncodeRequest


@dataclass
class Turn:
    """Made when the caller begins to give input; `answer` is there from PREFILL on."""

    index: int  # within the dialogue, from 0
    input: Listener | str
    await_playback: bool = False  # over once `played` is called, not before
    input_seconds: float = 0.0  # of audio pushed
    pause_due: float | None = None  # the clock when a caller who sends no more counts as pausing; None: told already
    response_id: str | None = None  # given at commit
    stopwatch: Stopwatch | None = None  # runs from commit on
    answer: Answer | None = None
    cached_positions: int = 0  # of the turns before it, those whose KV was there for this one
    _speech: tuple[int, ...] | None = field(default=None, repr=False)  # the caller's codes, once encoded
    _heard_more: bool = True  # since `take_heard`
    _done: bool = False

    @property
    def phase(self) -> Phase:
        """What the turn waits for."""
        if self._done:
            return Phase.DONE
        if self.answer is not None:
            if self.answer.is_done:
                return Phase.PLAYING
            if self.answer.chunk_job is not None:
                return Phase.SPEAKING
            return Phase.DECODING if self.answer.ids else Phase.PREFILL
        if self.response_id is None:
            return Phase.LISTENING
        return Phase.ENCODING if self.user_item is None else Phase.QUEUED

    # Hearing

    def listen(self, samples: Float32Array, rate: int, now: float) -> None:
        """Take in more of the caller's audio."""
        assert isinstance(self.input, Listener), "a text turn takes no audio: the session refuses it"
        self.input.push(samples)
        self.input_seconds += samples.size / rate
        self.pause_due = now + PAUSE_SECONDS

    def caller_paused(self) -> None:
        """The caller may have ended: what is open is worth encoding, once, before they say so."""
        self.pause_due = None
        if isinstance(self.input, Listener):
            self.input.caller_paused()

    def commit(self, response_id: str, now: float) -> None:
        """The caller's input is complete."""
        self.response_id = response_id
        self.stopwatch = Stopwatch(now)
        self.pause_due = None
        if isinstance(self.input, Listener):
            self.input.commit()

    @property
    def unheard(self) -> Unheard | None:
        """The audio that the tokenizer may encode next, equal until its result is there; that goes to `heard`."""
        if not isinstance(self.input, Listener):
            return None
        if requests := self.input.requests:
            return Unheard(Hearing.CLOSED if self.response_id is None else Hearing.COMMITTED, requests[0])
        guess = self.input.guess_request
        return None if guess is None else Unheard(Hearing.GUESS, guess)

    def heard(self, request: EncodeRequest, result: EncodeResult) -> list[Event]:
        """Take the ids of what was `unheard`; nothing comes of them yet."""
        assert isinstance(self.input, Listener), "only audio is encoded"
        if request is self.input.guess_request:
            self.input.accept_guess(request, result)
        else:
            self.input.accept(result)
        self._heard_more = True
        return []

    def take_heard(self) -> list[int] | None:
        """The caller's codes so far, of which the last may change; None where they are as they were last time."""
        if not self._heard_more or not isinstance(self.input, Listener):
            return None
        self._heard_more = False
        return self.input.likely

    @property
    def user_item(self) -> HistoryItem | None:
        """The caller's side of this turn, None while audio waits to be encoded."""
        if isinstance(self.input, str):
            return HistoryItem("user", text=self.input)
        if self.response_id is None or not self.input.is_finished:
            return None
        if self._speech is None:
            self._speech = tuple(self.input.finish())
        return HistoryItem("user", speech=self._speech)

    # Answering

    def begin(self, answer: Answer, cached_positions: int) -> list[Event]:
        """The dialogue's sequence ends in this turn's prompt: answer it. `cached_positions` goes into its usage."""
        self.answer = answer
        self.cached_positions = cached_positions
        return [self._started()]

    def sampled(self, token: int, now: float) -> list[Event]:
        """Take the id the LM chose."""
        answer, stopwatch = self._running
        stopwatch.first_token(now)
        return [*answer.sampled(token, now), *self._completed_if_done(now)]

    def spoken(self, result: ChunkResult, now: float) -> list[Event]:
        """Take a decoded chunk."""
        answer, stopwatch = self._running
        events = answer.spoken(result, now)
        if events:
            stopwatch.first_audio(now)
        return [*events, *self._completed_if_done(now)]

    def played(self, now: float) -> list[Event]:
        """The caller has heard all of the answer. One that has not ended yet is not over either."""
        return [self._complete(self._ended_for, now)] if self.phase is Phase.PLAYING else []

    def cancel(self, heard: WaveSample | None, reason: InterruptionReason, now: float) -> list[Event]:
        """Stop the answer. `heard` is what the caller says was heard; None asks the clock."""
        if self.answer is None:
            return [self._complete(FinishReason.INTERRUPTED, now)]
        estimated = heard is None
        heard = self.answer.heard_by(now) if heard is None else WaveSample(min(heard, self.answer.sent_samples))
        self.answer.cut(heard)
        interrupted = Interrupted(self.answer.response_id, reason, heard, len(self.answer.ids), estimated)
        return [interrupted, self._complete(FinishReason.INTERRUPTED, now)]

    def fail(self, error: Exception, now: float) -> list[Event]:
        """End the turn with an error; it leaves nothing in the history."""
        return [self._complete(FinishReason.ERROR, now, Failure(type(error).__name__, str(error)))]

    def spent(self, stage: Stage, seconds: float) -> None:
        """This turn took part in a batch that ran for `seconds`; before the commit it is not counted."""
        if self.stopwatch is not None:
            self.stopwatch.add(stage, seconds)

    def _started(self) -> Event:
        assert self.response_id is not None, "only a committed turn is answered"
        return ResponseStarted(self.response_id, self.index)

    @property
    def _running(self) -> tuple[Answer, Stopwatch]:
        assert self.answer is not None and self.stopwatch is not None, f"turn {self.index} has no answer to advance"
        return self.answer, self.stopwatch

    def _completed_if_done(self, now: float) -> list[Event]:
        answer, _ = self._running
        if not answer.is_done:
            return []
        if self.await_playback:
            return [AudioCompleted(answer.response_id, answer.sent_samples)]
        return [self._complete(self._ended_for, now)]

    @property
    def _ended_for(self) -> FinishReason:
        answer, _ = self._running
        assert answer.finish_reason is not None, "a done answer has a reason"
        return answer.finish_reason

    def _complete(self, reason: FinishReason, now: float, failure: Failure | None = None) -> Event:
        assert self.response_id is not None and self.stopwatch is not None, "only a committed turn completes"
        self._done = True
        return ResponseCompleted(
            self.response_id,
            reason,
            self._usage(),
            self.stopwatch.timing(now),
            () if failure is not None else self._history(),
            failure,
        )

    def _history(self) -> tuple[HistoryItem, ...]:
        """What this turn adds to the dialogue: nothing when it was stopped before its answer began."""
        if self.answer is None or self.user_item is None:
            return ()
        return self.user_item, HistoryItem("assistant", ids=tuple(self.answer.ids))

    def _usage(self) -> Usage:
        answer = self.answer
        item = self.user_item
        heard = len(item.speech) if item is not None and item.speech is not None else 0
        return Usage(
            input_tokens=answer.prompt_length - self.cached_positions if answer is not None else 0,
            input_audio_tokens=heard,
            cached_input_tokens=self.cached_positions,
            output_text_tokens=len(answer.ids) - answer.speech_tokens if answer is not None else 0,
            output_audio_tokens=answer.speech_tokens if answer is not None else 0,
            input_audio_seconds=self.input_seconds,
            output_audio_seconds=float(wave_seconds(answer.sent_samples)) if answer is not None else 0.0,
        )
