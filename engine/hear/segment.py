"""One 30 s segment of a turn, encoded while it is still being spoken."""

from dataclasses import dataclass, replace
from math import lcm

import numpy as np

from antiphon.engine.hear.encoder import STEM_STRIDE, SegmentCache, stem_context
from antiphon.engine.hear.features import LogMelExtractor, StreamingLogMel
from antiphon.engine.hear.requests import EncodeRequest, EncodeResult, encoder_frames, segment_frames
from antiphon.engine.types import Float32Array
from antiphon.engine.weights.configs import SpeechTokenizerConfig


@dataclass(frozen=True, eq=False)
class _Guess:
    """What a segment would be if its audio had ended at some moment."""

    request: EncodeRequest  # up to that end, the open block included
    floor: np.float32  # of the log-mel that ended there
    result: EncodeResult | None = None  # None: not yet


class SegmentStream:
    """Says what of the segment can be encoded, and takes what was.

    A block is asked for once its last frame is there: frames attend to their own block and to earlier ones, never
    further. A later, louder sound raises the floor of frames already encoded; the next request then goes back to the
    first block it touches. Ids are therefore provisional until `is_settled`.

    The open block can be guessed: encoded as if the audio ended here. If it does, nothing is left to encode; if more
    comes, its ids stand for the block's (`likely_ids`) until it closes.
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
        self._guess: _Guess | None = None  # of the open block

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
        if self._guess is not None and self._guess.result is None:
            self._guess = None  # nobody waits for it

    def request(self) -> EncodeRequest | None:
        """What is to be encoded now, the same until its answer is taken; None where nothing is."""
        if self._pending is None:
            start, stop = self._due()
            if start < stop:
                self._floor = self._log_mel.floor
                self._pending = self._request(self._log_mel, start, stop, keep=not self._finished)
                if (guessed := self._guessed(self._pending)) is not None:
                    self.accept(guessed)
        return self._pending

    def accept(self, result: EncodeResult) -> None:
        """Take the answer to the request."""
        request = self._pending
        assert request is not None, "a result came that no request was made for"
        self._pending = None
        self._encoded = request.span.first + request.span.frames
        self.ids[request.first_frame // self._pooling :] = result.ids
        self._cache = result.cache
        self._guess = None

    def guess(self, tail: Float32Array, padded: int | None = None) -> None:
        """Ask for the ids that the segment has if its audio ends here, but for the samples `tail`."""
        ended = self._log_mel.ended(tail, padded)
        start, stop = self._first_stale(ended), segment_frames(ended.received)
        if start < stop:
            request = self._request(ended, start, stop, keep=start < self._encoded)
            self._guess = _Guess(request, ended.floor)

    @property
    def guess_request(self) -> EncodeRequest | None:
        """What is to be encoded for the guess; None where none is asked for, or its answer is there."""
        return self._guess.request if self._guess is not None and self._guess.result is None else None

    def accept_guess(self, request: EncodeRequest, result: EncodeResult) -> None:
        """Take the answer to `guess_request`; one that has been overtaken changes nothing."""
        guess = self._guess
        if guess is None or guess.request is not request:
            return
        # Without the keys and values of all its segment, which are large.
        self._guess = replace(guess, request=replace(request, past=None), result=replace(result, cache=None))
        stale = self._encoded - request.first_frame
        if stale > 0 and guess.floor == self._log_mel.floor and self._pending is None:
            # Closed blocks that a louder sound had touched were encoded again on the way.
            assert result.cache is not None, "the cache was asked for"
            self.ids[request.first_frame // self._pooling :] = result.ids[: stale // self._pooling]
            self._cache, self._floor = result.cache.until(self._encoded), guess.floor

    @property
    def likely_ids(self) -> list[int]:
        """`ids`, and those guessed for the open block."""
        if self._guess is None or self._guess.result is None:
            return self.ids
        return self.ids[: self._guess.request.first_frame // self._pooling] + self._guess.result.ids

    def _guessed(self, request: EncodeRequest) -> EncodeResult | None:
        """The answer to the segment's last request, where the guess has asked the same."""
        if not self._finished or self._guess is None or self._guess.result is None:
            return None
        guessed, result = self._guess.request, self._guess.result
        known = request.first_frame - guessed.first_frame  # frames that are no longer asked for
        if known < 0 or guessed.heard_frames != known + request.heard_frames:
            return None
        if not np.array_equal(guessed.features[-len(request.features) :], request.features):
            return None
        skipped = known // self._pooling
        return EncodeResult(result.ids[skipped:], result.hidden[skipped:], cache=None)

    def _due(self) -> tuple[int, int]:
        """From where to where encoder frames are to be encoded; nothing where both are equal."""
        if self._finished:
            return self._first_stale(self._log_mel), segment_frames(self.received)
        complete = self._log_mel.ready // STEM_STRIDE // self._unit * self._unit
        # What has become stale waits for the next block, which needs it.
        return (self._first_stale(self._log_mel), complete) if complete > self._encoded else (complete, complete)

    def _first_stale(self, log_mel: StreamingLogMel) -> int:
        """The first encoder frame of a block that is not encoded, or was from another log-mel than `log_mel`."""
        read = max(0, STEM_STRIDE * self._encoded - 1)  # log-mel frames behind what is encoded
        if log_mel.floor == self._floor:
            return self._encoded
        raised = log_mel.first_below(log_mel.floor, read)
        if raised == read:
            return self._encoded
        return -(-raised // STEM_STRIDE) // self._unit * self._unit

    def _request(self, log_mel: StreamingLogMel, start: int, stop: int, keep: bool) -> EncodeRequest:
        past = None if start == 0 or self._cache is None else self._cache.until(start)
        return EncodeRequest(
            log_mel.read(STEM_STRIDE * start - stem_context(start), STEM_STRIDE * stop),
            first_frame=start,
            heard_frames=min(stop, encoder_frames(log_mel.received)) - start,
            past=past,
            keep=keep,
        )
