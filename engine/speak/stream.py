"""One turn's speech as a stream: tokens go in, wave comes out chunk by chunk, as in the official web demo.

A stream can be driven in two ways. By itself: `push`, `push_text`, `finish` take tokens in and return the wave they
make due. Or by an engine that runs the chunks of many dialogues together: `feed`, `feed_text` and `end` only take in,
`next_job` is the chunk that is due, and `accept` takes its result and returns the wave.

Source: zai-org/GLM-4-Voice web_demo.py (`inference_fn`), flow_inference.py (`AudioDecoder.token2wav`).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from antiphon.engine.errors import InputError
from antiphon.engine.speak.chunking import Chunking, TokenChunk, checked_reason
from antiphon.engine.speak.chunks import ChunkJob, ChunkResult, SourceFunction
from antiphon.engine.speak.inputs import TokensLike, checked_tokens
from antiphon.engine.speak.seams import SeamState
from antiphon.engine.types import Float32Array


@dataclass(frozen=True)
class ChunkRecord:
    """One chunk as it was made, for looking at."""

    tokens: list[int]
    flow_mel: Float32Array  # [mel_bins, frames], after the prompt is cut, before the fade
    mel: Float32Array  # [mel_bins, frames] as given to the vocoder
    f0: Float32Array  # [frames] Hz
    source: Float32Array  # [frames · hop], fresh: before the cached part is laid over it
    wave: Float32Array  # [samples] as returned

    @classmethod
    def of(cls, result: ChunkResult) -> "ChunkRecord":
        """A copy on the host."""
        arrays = (result.flow_mel, result.mel, result.f0, result.source, result.wave)
        return cls(list(result.job.tokens), *(tensor.cpu().numpy().copy() for tensor in arrays))


@dataclass
class StreamState:
    """Where a turn stands."""

    chunking: Chunking
    waiting: deque[TokenChunk] = field(default_factory=deque)  # flushed and not yet spoken, oldest first
    spoken_tokens: list[int] = field(default_factory=list)  # the flow's prompt: of every chunk accepted
    spoken_mels: list[torch.Tensor] = field(default_factory=list)  # one a chunk accepted
    seam: SeamState = field(default_factory=SeamState)
    job: ChunkJob | None = None  # made of waiting[0], until its result is accepted
    ended: bool = False  # nothing more is taken in


class DecoderStream:
    """The speech of one turn in reference mode. Made by `SpeechDecoder.stream`."""

    def __init__(
        self,
        run: Callable[[Sequence[ChunkJob]], list[ChunkResult]],
        vocab_size: int,
        schedule: tuple[int, ...],
        source: SourceFunction | None = None,
        keep_chunks: bool = True,
    ) -> None:
        self.chunks: list[ChunkRecord] = []  # of every chunk accepted; stays empty unless `keep_chunks`
        self._run = run
        self._vocab_size = vocab_size
        self._source = source
        self._keep_chunks = keep_chunks
        self._state = StreamState(Chunking(schedule))

    def push(self, tokens: TokensLike) -> Float32Array:
        """Take in speech tokens; the wave f32[samples] at 22,050 Hz of the chunks that became due.

        A full buffer is flushed only by a token beyond it. Raises TokenError for a token outside the vocabulary,
        InputError after `finish`; nothing is taken in then.
        """
        self.feed(tokens)
        return self._speak()

    def push_text(self) -> Float32Array:
        """A text token came: it is not spoken, but flushes a full buffer. Returns the wave as `push`."""
        self.feed_text()
        return self._speak()

    def finish(self, reason: str = "stop") -> Float32Array:
        """End the turn; the wave of the final chunk.

        "stop": the LM ended its turn itself; what is buffered becomes final. "length": it was cut off; as in the
        official demo neither the buffer nor the frames held back are spoken. Raises InputError for another reason, or
        when called again.
        """
        self.end(reason)
        return self._speak()

    def feed(self, tokens: TokensLike) -> None:
        """Take in speech tokens without running anything. Errors as `push`."""
        ids = checked_tokens(tokens, self._vocab_size)
        self._refuse_after_end()
        for token in ids:
            self._flushed(self._state.chunking.take_speech(token))

    def feed_text(self) -> None:
        """Note that a text token came, without running anything."""
        self._refuse_after_end()
        self._flushed(self._state.chunking.take_text())

    def end(self, reason: str = "stop") -> None:
        """End the turn without running anything. Reasons and errors as `finish`."""
        known = checked_reason(reason)
        self._refuse_after_end()
        self._flushed(self._state.chunking.finish(known))
        self._state.ended = True

    @property
    def next_job(self) -> ChunkJob | None:
        """The chunk that is due, None where there is none. It stays the same until its result is accepted."""
        state = self._state
        if state.job is None and state.waiting:
            chunk = state.waiting[0]
            state.job = ChunkJob(
                index=len(state.spoken_mels),
                tokens=chunk.tokens,
                final=chunk.final,
                prompt_tokens=tuple(state.spoken_tokens),
                prompt_mels=tuple(state.spoken_mels),
                before=state.seam,
                source=self._source,
            )
        return state.job

    def accept(self, result: ChunkResult) -> Float32Array:
        """Take in the result of `next_job`; its wave. Raises InputError for the result of another job."""
        state = self._state
        if state.job is None or result.job is not state.job:
            raise InputError(
                f"a result of chunk {result.job.index} was given; expected that of this stream's next job."
            )
        state.waiting.popleft()
        state.job = None
        state.spoken_tokens.extend(result.job.tokens)
        state.spoken_mels.append(result.mel)
        state.seam = result.after
        if self._keep_chunks:
            self.chunks.append(ChunkRecord.of(result))
        wave: Float32Array = result.wave.cpu().numpy().copy()
        return wave

    def _speak(self) -> Float32Array:
        """Run what is due, one chunk after the other: each is the next one's prompt."""
        waves = [np.zeros(0, dtype=np.float32)]
        while (job := self.next_job) is not None:
            waves.extend(self.accept(result) for result in self._run([job]))
        return np.concatenate(waves)

    def _flushed(self, chunk: TokenChunk | None) -> None:
        if chunk is not None:
            self._state.waiting.append(chunk)

    def _refuse_after_end(self) -> None:
        if self._state.ended:
            raise InputError("the stream was finished and takes no more; start another with SpeechDecoder.stream().")
