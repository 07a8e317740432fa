"""One turn's stream without seams: `seamless_chunks.py` makes the chunks, `schedule.py` says when one is due."""

from collections import deque
from collections.abc import Sequence

from antiphon.engine.speak.chunking import FinishReason
from antiphon.engine.speak.chunks import ChunkJob, ChunkResult
from antiphon.engine.speak.schedule import first_chunk, next_chunk
from antiphon.engine.speak.seamless_chunks import SeamlessJob, SeamlessMode, SeamlessResult
from antiphon.engine.speak.stream import ChunkRecord, DecoderStream, RunJobs


class SeamlessStream(DecoderStream):
    """The speech of one turn in seamless mode.

    A chunk is due as soon as its tokens are there, and sooner where `lead` says that the caller would run dry. At every
    end of the turn, "stop" or "length", all that was taken in is spoken.
    """

    def __init__(self, mode: SeamlessMode, run: RunJobs, vocab_size: int, seed: int, keep_chunks: bool = True) -> None:
        """Raises InputError for a seed that is not 0 to 2⁶³ − 1."""
        super().__init__(run, vocab_size, keep_chunks)
        self.chunks: list[ChunkRecord] = []
        self._mode = mode
        self._state = mode.new_turn(seed)
        self._waiting: deque[int] = deque()  # tokens taken in and in no chunk yet
        self._final_made = False  # the turn's last chunk was made

    def _take_speech(self, tokens: Sequence[int]) -> None:
        self._waiting.extend(tokens)

    def _take_text(self) -> None:
        """Text is not spoken, and what is due does not wait for it."""

    def _take_end(self, reason: FinishReason) -> None:
        """However the turn ended, all of it is spoken."""

    def _make_job(self) -> ChunkJob | None:
        if self._final_made:
            return None
        size = self._first_size() if self._accepted == 0 and not self._ended else self._next_size()
        final = self._ended and size == len(self._waiting)
        nothing_said = not size and self._state.encoded.count == 0
        if nothing_said or not (size or final):
            return None
        self._final_made = final
        tokens = tuple(self._waiting.popleft() for _ in range(size))
        return SeamlessJob(self._mode, self._accepted, tokens, final, self._state)

    def _first_size(self) -> int:
        settings = self._mode.settings
        return first_chunk(
            len(self._waiting),
            least=settings.first_chunk,
            most=max(settings.first_chunk, settings.first_chunk_at_most),
            following=settings.sizes[1],
            prompt_tokens=settings.prompt_tokens,
            withheld=self._mode.withheld_frames,
            frame_seconds=self.frame_seconds,
        )

    def _next_size(self) -> int:
        settings = self._mode.settings
        return next_chunk(
            len(self._waiting),
            self._accepted,
            ended=self._ended,
            sizes=settings.sizes,
            least=settings.least_chunk,
            lead=self.lead,
            times=self.times,
        )

    def _take_result(self, result: ChunkResult) -> None:
        assert isinstance(result, SeamlessResult), "a seamless job has a seamless result"
        self._state = result.after
        if self._keep_chunks:
            arrays = (result.flow_mel, result.mel, result.wave)
            self.chunks.append(
                ChunkRecord(list(result.job.tokens), *(tensor.cpu().numpy().copy() for tensor in arrays))
            )
