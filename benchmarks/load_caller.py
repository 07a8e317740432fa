"""A caller as a load benchmark has him: he speaks, listens, thinks, sometimes interrupts, and hangs up.

All in real time, over the network: packets of 20 ms leave when they were spoken, answers play as they come, and the
server hears by itself when a turn is over.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

import antiphon
from antiphon.client import (
    MULAW_8K,
    AudioOutput,
    CallConfig,
    Event,
    FinishReason,
    Interrupted,
    ResponseCompleted,
    ResponseStarted,
    Sampling,
    SpeechStarted,
    TurnDetection,
)
from antiphon.errors import AntiphonError, CallError, LimitError, SessionClosedError


@dataclass(frozen=True)
class Habits:
    """What callers do. Lengths of time are in seconds."""

    turns: int = 3  # answers after which a caller hangs up
    think: float = 2.0  # between an answer's end and the next turn, on average
    interrupts: float = 0.2  # share of the answers that are spoken into
    interrupt_after: tuple[float, float] = (0.6, 2.5)  # into the answer
    packet: float = 0.02  # of the caller's audio
    chunk: float = 0.2  # of the answer's audio
    max_output_tokens: int = 200
    patience: float = 30.0  # without an event of an answer, until a caller gives up


@dataclass(frozen=True)
class HeardAnswer:
    """How one answer came. None: it did not happen."""

    first_audio: float | None = None  # s from the end of the turn, by the server's clock
    detection: float | None = None  # s that the server took to know the end, apart from first_audio
    reaction: float | None = None  # s from the first voiced sample that interrupted it until it was cut
    underruns: int = 0  # moments at which playback ran dry for more than one message
    late: float = 0.0  # s that playback lagged in the end behind a player that never waits
    began: float = 0.0  # of its playback, by the loop's clock
    heard: float = 0.0  # s that were played
    tokens: int = 0


@dataclass
class CallRecord:
    """One call to its end."""

    answers: list[HeardAnswer] = field(default_factory=list)
    refused: float | None = None  # s until the server said that it takes no more
    failure: str = ""  # why it ended before its last answer


class LoadCaller:
    """Makes one call. Used once, on one asyncio loop."""

    def __init__(self, questions: Sequence[bytes], habits: Habits, random: np.random.Generator) -> None:
        """`questions` in 8 kHz µ-law."""
        self.record = CallRecord()
        self.is_listening = False  # an answer is being played
        self._questions = questions
        self._habits = habits
        self._random = random
        self._clock: Callable[[], float] = asyncio.get_running_loop().time
        self._speech = b""  # still to be said
        self._spoke_at = 0.0  # when the first sample of the call was spoken
        self._voiced_at = 0.0  # when the first voiced sample of the turn at hand was
        self._answer = HeardAnswer()
        self._next: asyncio.TimerHandle | None = None  # what he does next

    async def call(self, client: antiphon.Client) -> CallRecord:
        """Dial, talk, hang up."""
        dialled = self._clock()
        try:
            async with client.call(self._config()) as call:
                speaking = asyncio.create_task(self._speak(call))
                try:
                    await self._listen(call)
                finally:
                    speaking.cancel()
                    await asyncio.gather(speaking, return_exceptions=True)
        except LimitError as error:
            self.record.refused = self._clock() - dialled
            self.record.failure = error.reason
        except CallError as error:
            self.record.failure = error.reason
        except (AntiphonError, TimeoutError) as error:
            self.record.failure = type(error).__name__
        finally:
            self.is_listening = False
            self._forget()
        return self.record

    def _config(self) -> CallConfig:
        habits = self._habits
        return CallConfig(
            input_audio=MULAW_8K,
            output_audio=MULAW_8K,
            output_chunk=habits.chunk,
            turn_detection=TurnDetection(),
            sampling=Sampling(temperature=0.0, max_output_tokens=habits.max_output_tokens),
            text_deltas=False,
            turn_history=False,
        )

    async def _speak(self, call: antiphon.client.Call) -> None:
        """The microphone: what is to be said, else silence."""
        size = round(self._habits.packet * MULAW_8K.rate)
        silence = b"\xff" * size
        self._spoke_at, sent = self._clock(), 0
        self._say()
        with contextlib.suppress(AntiphonError):  # the listener is told as well
            while True:
                sent += 1
                await asyncio.sleep(self._spoke_at + sent * self._habits.packet - self._clock())
                packet, self._speech = self._speech[:size], self._speech[size:]
                await call.push_audio(packet + silence[len(packet) :])

    async def _listen(self, call: antiphon.client.Call) -> None:
        """Until the last answer, or the call's end."""
        events = call.events()
        while len(self.record.answers) < self._habits.turns:
            async with asyncio.timeout(self._habits.patience):
                event = await anext(events, None)
            if event is None:
                raise SessionClosedError("the server ended the call.")
            self._take(event)

    def _take(self, event: Event) -> None:
        now = self._clock()
        match event:
            case SpeechStarted():
                self._voiced_at = self._spoke_at + event.speech_sample / MULAW_8K.rate
            case ResponseStarted():
                self._answer = HeardAnswer()
            case AudioOutput():
                self._play(event.seconds, now)
            case Interrupted():
                heard = min(self._answer.heard, event.heard_samples / MULAW_8K.rate)
                self._answer = replace(self._answer, reaction=now - self._voiced_at, heard=heard)
                self._forget()
            case ResponseCompleted():
                self._complete(event)

    def _play(self, seconds: float, now: float) -> None:
        answer = self._answer
        if not answer.heard:
            answer = replace(answer, began=now)
            self.is_listening = True
            if self._random.random() < self._habits.interrupts:
                self._after(self._random.uniform(*self._habits.interrupt_after))
        lag = now - (answer.began + answer.late + answer.heard)  # it should have been here when the rest was played
        if lag > 0:
            underruns = answer.underruns + (lag > self._habits.chunk)
            answer = replace(answer, late=answer.late + lag, underruns=underruns)
        self._answer = replace(answer, heard=answer.heard + seconds)

    def _complete(self, event: ResponseCompleted) -> None:
        usage, timing = event.usage, event.timing
        self.is_listening = False
        if event.finish_reason is FinishReason.ERROR:
            raise event.error or RuntimeError("an answer failed without a reason")
        self.record.answers.append(
            replace(
                self._answer,
                first_audio=timing.first_audio,
                detection=timing.turn_detection,
                tokens=usage.output_text_tokens + usage.output_audio_tokens,
            )
        )
        if event.finish_reason is not FinishReason.INTERRUPTED:  # else he is speaking already
            self._after(self._random.exponential(self._habits.think))

    def _after(self, seconds: float) -> None:
        self._forget()
        self._next = asyncio.get_running_loop().call_later(seconds, self._say)

    def _say(self) -> None:
        """Begin a question, unless one is being said."""
        self._speech = self._speech or self._questions[self._random.integers(len(self._questions))]

    def _forget(self) -> None:
        if self._next is not None:
            self._next.cancel()
