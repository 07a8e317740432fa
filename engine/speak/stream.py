"""One turn's speech as a stream: tokens go in, wave comes out chunk by chunk. Each streaming mode has its own kind.

A stream can be driven in two ways. By itself: `push`, `push_text`, `finish` take tokens in and return the wave they
make due. Or by an engine that runs the chunks of many dialogues together: `feed`, `feed_text` and `end` only take in,
`next_job` is the chunk that is due, and `accept` takes its result and returns the wave. A stream holds nothing but its
turn's state: one that is given up at any moment leaves nothing behind.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from antiphon.engine.errors import InputError
from antiphon.engine.speak.chunking import FinishReason, checked_reason
from antiphon.engine.speak.chunks import ChunkJob, ChunkResult
from antiphon.engine.speak.inputs import TokensLike, checked_tokens
from antiphon.engine.speak.schedule import StageTimes
from antiphon.engine.types import Float32Array

RunJobs = Callable[[Sequence[ChunkJob]], list[ChunkResult]]


@dataclass(frozen=True)
class ChunkRecord:
    """One chunk as it was made, for looking at; arrays on the host."""

    tokens: list[int]
    flow_mel: Float32Array  # [mel_bins, frames], after the prompt is cut, before the fade
    mel: Float32Array  # [mel_bins, frames] as given to the vocoder for good
    wave: Float32Array  # [samples] as returned


class DecoderStream(ABC):
    """The speech of one turn. Made by `SpeechDecoder.stream`."""

    chunks: Sequence[ChunkRecord]  # of every chunk accepted; stays empty unless they are to be kept

    def __init__(self, run: RunJobs, vocab_size: int, keep_chunks: bool) -> None:
        # What the next chunk's size may go by, where there is a clock; whoever drives the stream keeps them up to date.
        self.lead: float | None = None  # seconds of audio sent and not yet heard
        self.times: StageTimes | None = None
        self.frame_seconds: float | None = None  # that a mel frame of a chunk takes, whoever's: `ChunkSpeed`
        self._run = run
        self._vocab_size = vocab_size
        self._keep_chunks = keep_chunks
        self._job: ChunkJob | None = None  # until its result is accepted
        self._ended = False  # nothing more is taken in
        self._accepted = 0  # chunks

    def push(self, tokens: TokensLike) -> Float32Array:
        """Take in speech tokens; the wave f32[samples] at 22,050 Hz of the chunks that became due.

        Raises TokenError for a token outside the vocabulary, InputError after `finish`; nothing is taken in then.
        """
        self.feed(tokens)
        return self._speak()

    def push_text(self) -> Float32Array:
        """A text token came: it is not spoken. Returns the wave as `push`."""
        self.feed_text()
        return self._speak()

    def finish(self, reason: str = "stop") -> Float32Array:
        """End the turn; the rest of the wave.

        "stop": the LM ended its turn itself; "length": it was cut off. Raises InputError for another reason, or when
        called again.
        """
        self.end(reason)
        return self._speak()

    def feed(self, tokens: TokensLike) -> None:
        """Take in speech tokens without running anything. Errors as `push`."""
        ids = checked_tokens(tokens, self._vocab_size)
        self._refuse_after_end()
        self._take_speech(ids)

    def feed_text(self) -> None:
        """Note that a text token came, without running anything."""
        self._refuse_after_end()
        self._take_text()

    def end(self, reason: str = "stop") -> None:
        """End the turn without running anything. Reasons and errors as `finish`."""
        known = checked_reason(reason)
        self._refuse_after_end()
        self._take_end(known)
        self._ended = True

    @property
    def next_job(self) -> ChunkJob | None:
        """The chunk that is due, None where there is none. It stays the same until its result is accepted."""
        if self._job is None:
            self._job = self._make_job()
        return self._job

    def accept(self, result: ChunkResult) -> Float32Array:
        """Take in the result of `next_job`; its wave. Raises InputError for the result of another job."""
        if self._job is None or result.job is not self._job:
            raise InputError(
                f"a result of chunk {result.job.index} was given; expected that of this stream's next job."
            )
        self._job = None
        self._accepted += 1
        self._take_result(result)
        wave: Float32Array = result.wave.cpu().numpy().copy()
        return wave

    def _speak(self) -> Float32Array:
        """Run what is due, one chunk after the other: each is the next one's prompt."""
        waves = [np.zeros(0, dtype=np.float32)]
        while (job := self.next_job) is not None:
            waves.extend(self.accept(result) for result in self._run([job]))
        return np.concatenate(waves)

    def _refuse_after_end(self) -> None:
        if self._ended:
            raise InputError("the stream was finished and takes no more; start another with SpeechDecoder.stream().")

    @abstractmethod
    def _take_speech(self, tokens: Sequence[int]) -> None:
        """More speech tokens, checked."""

    @abstractmethod
    def _take_text(self) -> None:
        """A text token."""

    @abstractmethod
    def _take_end(self, reason: FinishReason) -> None:
        """The turn is over."""

    @abstractmethod
    def _make_job(self) -> ChunkJob | None:
        """The chunk that is due now, while none is under way."""

    @abstractmethod
    def _take_result(self, result: ChunkResult) -> None:
        """What became of the last job that was made."""
