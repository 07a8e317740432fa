"""One turn's stream as in the official web demo, its schedule and its faults included.

Source: zai-org/GLM-4-Voice web_demo.py (`inference_fn`), flow_inference.py (`AudioDecoder.token2wav`).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from antiphon.engine.speak.chunking import Chunking, FinishReason, TokenChunk
from antiphon.engine.speak.chunks import ChunkJob, ChunkResult
from antiphon.engine.speak.reference_chunks import ReferenceJob, ReferenceMode, ReferenceResult, SourceFunction
from antiphon.engine.speak.seams import SeamState
from antiphon.engine.speak.stream import ChunkRecord, DecoderStream, RunJobs
from antiphon.engine.types import Float32Array


@dataclass(frozen=True)
class ReferenceRecord(ChunkRecord):
    """One chunk, with what its vocoder made of it."""

    f0: Float32Array  # [frames] Hz
    source: Float32Array  # [frames · hop], fresh: before the cached part is laid over it

    @classmethod
    def of(cls, result: ReferenceResult) -> "ReferenceRecord":
        """A copy on the host."""
        arrays = (result.flow_mel, result.mel, result.wave, result.f0, result.source)
        return cls(list(result.job.tokens), *(tensor.cpu().numpy().copy() for tensor in arrays))


@dataclass
class ReferenceState:
    """Where a turn stands."""

    chunking: Chunking
    waiting: deque[TokenChunk] = field(default_factory=deque)  # flushed and not yet spoken, oldest first
    spoken_tokens: list[int] = field(default_factory=list)  # the flow's prompt: of every chunk accepted
    spoken_mels: list[torch.Tensor] = field(default_factory=list)  # one a chunk accepted
    seam: SeamState = field(default_factory=SeamState)


class ReferenceStream(DecoderStream):
    """The speech of one turn in reference mode.

    A full buffer is flushed only by a token beyond it, of speech or text. When the turn ends with "stop", what is
    buffered becomes the final chunk; with "length", as in the official demo, neither the buffer nor the frames held
    back are spoken.
    """

    def __init__(
        self,
        mode: ReferenceMode,
        run: RunJobs,
        vocab_size: int,
        schedule: tuple[int, ...],
        source: SourceFunction | None = None,
        keep_chunks: bool = True,
    ) -> None:
        super().__init__(run, vocab_size, keep_chunks)
        self.chunks: list[ReferenceRecord] = []
        self._mode = mode
        self._source = source
        self._state = ReferenceState(Chunking(schedule))

    def _take_speech(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self._flushed(self._state.chunking.take_speech(token))

    def _take_text(self) -> None:
        self._flushed(self._state.chunking.take_text())

    def _take_end(self, reason: FinishReason) -> None:
        self._flushed(self._state.chunking.finish(reason))

    def _make_job(self) -> ChunkJob | None:
        state = self._state
        if not state.waiting:
            return None
        chunk = state.waiting.popleft()
        return ReferenceJob(
            mode=self._mode,
            index=self._accepted,
            tokens=chunk.tokens,
            final=chunk.final,
            prompt_tokens=tuple(state.spoken_tokens),
            prompt_mels=tuple(state.spoken_mels),
            before=state.seam,
            source=self._source,
        )

    def _take_result(self, result: ChunkResult) -> None:
        assert isinstance(result, ReferenceResult), "a reference job has a reference result"
        state = self._state
        state.spoken_tokens.extend(result.job.tokens)
        state.spoken_mels.append(result.mel)
        state.seam = result.after
        if self._keep_chunks:
            self.chunks.append(ReferenceRecord.of(result))

    def _flushed(self, chunk: TokenChunk | None) -> None:
        if chunk is not None:
            self._state.waiting.append(chunk)
