"""One 30 s segment of a turn, encoded while it is still being spoken."""

from math import lcm

from antiphon.engine.hear.encoder import STEM_STRIDE, SegmentCache, stem_context
from antiphon.engine.hear.features import LogMelExtractor, StreamingLogMel
from antiphon.engine.hear.requests import EncodeRequest, EncodeResult, encoder_frames, segment_frames
from antiphon.engine.types import Float32Array
from antiphon.engine.weights.configs import SpeechTokenizerConfig


class SegmentStream:
    """Says what of the segment can be encoded, and takes what was.

    A block is asked for once its last frame is there: frames attend to their own block and to earlier ones, never
    further. A later, louder sound raises the floor of frames already encoded; the next request then goes back to the
    first block it touches. Ids are therefore provisional until `is_settled`.
    """

    def __init__(self, extractor: LogMelExtractor, config: SpeechTokenizerConfig) -> None:
        self.ids: list[int] = []
        self._pooling = config.pooling
        self._unit = lcm(config.block_frames, config.pooling)  # encoder frames of whole blocks and whole tokens
        self._log_mel = StreamingLogMel(extractor)
        self._finished = False
        self._encoded = 0  # encoder frames, from the segment's first on
        self._floor = self._log_mel.floor  # of the log-mel they were encoded from
        self._cache: SegmentCache | None = None  # of these frames, while more may come
        self._pending: EncodeRequest | None = None

    @property
    def received(self) -> int:
        """Samples so far."""
        return self._log_mel.received

    @property
    def is_settled(self) -> bool:
        """Whether the ids are final."""
        return self._finished and self.request() is None

    def push(self, pcm: Float32Array) -> None:
        """Take more samples, f32[n] at 16 kHz."""
        self._log_mel.push(pcm)

    def finish(self, padded: int | None = None) -> None:
        """The segment has ended; `padded` as for `StreamingLogMel.finish`."""
        self._log_mel.finish(padded)
        self._finished = True

    def request(self) -> EncodeRequest | None:
        """What is to be encoded now, the same until its answer is taken; None where nothing is."""
        if self._pending is None:
            start, stop = self._due()
            if start < stop:
                self._pending = self._request(start, stop)
        return self._pending

    def accept(self, result: EncodeResult) -> None:
        """Take the answer to the request."""
        request = self._pending
        assert request is not None, "a result came that no request was made for"
        self._pending = None
        self._encoded = request.span.first + request.span.frames
        self.ids[request.first_frame // self._pooling :] = result.ids
        self._cache = result.cache

    def _due(self) -> tuple[int, int]:
        """From where to where encoder frames are to be encoded; nothing where both are equal."""
        if self._finished:
            return self._first_stale(), segment_frames(self.received)
        complete = self._log_mel.ready // STEM_STRIDE // self._unit * self._unit
        # What has become stale waits for the next block, which needs it.
        return (self._first_stale(), complete) if complete > self._encoded else (complete, complete)

    def _first_stale(self) -> int:
        """The first encoder frame of a block that is not encoded, or was from log-mel that has changed."""
        read = max(0, STEM_STRIDE * self._encoded - 1)  # log-mel frames behind what is encoded
        if self._log_mel.floor == self._floor:
            return self._encoded
        raised = self._log_mel.first_below(self._log_mel.floor, read)
        if raised == read:
            return self._encoded
        return -(-raised // STEM_STRIDE) // self._unit * self._unit

    def _request(self, start: int, stop: int) -> EncodeRequest:
        self._floor = self._log_mel.floor
        past = None if start == 0 or self._cache is None else self._cache.until(start)
        return EncodeRequest(
            self._log_mel.read(STEM_STRIDE * start - stem_context(start), STEM_STRIDE * stop),
            first_frame=start,
            heard_frames=min(stop, encoder_frames(self.received)) - start,
            past=past,
            keep=not self._finished,
        )
