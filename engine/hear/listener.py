"""The speech tokenizer fed in pieces: one caller's turn, encoded while the caller still speaks."""

from collections import deque

from antiphon.engine.errors import AudioError, SessionClosedError
from antiphon.engine.hear.audio import check_rate, first_channel
from antiphon.engine.hear.requests import EncodeRequest, EncodeResult
from antiphon.engine.hear.resample import StreamingResampler
from antiphon.engine.hear.segment import SegmentStream
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.types import ArrayLike, Float32Array
from antiphon.engine.units import MODEL_INPUT_RATE, SEGMENT_SAMPLES

__all__ = ["EncodeRequest", "EncodeResult", "Listener"]


class Listener:
    """Audio in, in any pieces; the ids of `SpeechTokenizer.encode` on the whole out.

    It runs no model by itself. `requests` says what can be encoded now, to be run by `SpeechTokenizer.run` together
    with those of other turns, and `accept` takes the answers in their order. A listener that is alone uses `encode` or
    `finish`, which do both.

    Where the turn may be over, `caller_paused` lets the open block be encoded as if it were (`guess_request`,
    `accept_guess`). If the turn is committed there, nothing is left to encode.
    """

    def __init__(self, tokenizer: SpeechTokenizer, rate: int) -> None:
        """For audio at `rate` Hz. Raises AudioError for a rate out of range."""
        self._tokenizer = tokenizer
        self._resampler = StreamingResampler(check_rate(rate), MODEL_INPUT_RATE)
        self._segments: deque[SegmentStream] = deque()  # those not settled
        self._segments_begun = 0
        self._open: SegmentStream | None = None  # the last one, while it has room
        self._ids: list[int] = []  # of the segments that are settled
        self._asked: deque[SegmentStream] = deque()  # whose requests are out, in order
        self._has_audio = False
        self._wants_guess = False
        self._is_committed = False

    def push(self, pcm: ArrayLike) -> None:
        """Take more audio: f32[n] or f32[channels, n], which may be empty.

        Raises AudioError, and takes nothing, when it is not finite or of another shape; SessionClosedError once the
        turn is committed.
        """
        if self._is_committed:
            raise SessionClosedError(
                "this turn is committed and takes no more audio; listen to the next with a new one."
            )
        samples = first_channel(pcm)
        self._has_audio |= samples.size > 0
        self._take(self._resampler.push(samples))

    def commit(self) -> None:
        """The turn's audio is complete. Raises AudioError where there was none."""
        if self._is_committed:
            return
        if not self._has_audio:
            raise AudioError("the turn holds no audio; expected at least one sample.")
        self._is_committed = True
        self._take(self._resampler.finish())
        if self._open is not None:
            self._open.finish(self._padded)

    @property
    def requests(self) -> tuple[EncodeRequest, ...]:
        """What can be encoded now, at most one run a segment; the same ones until they are accepted."""
        for segment in self._segments:
            if segment not in self._asked and segment.request() is not None:
                self._asked.append(segment)
        return tuple(request for segment in self._asked if (request := segment.request()) is not None)

    def accept(self, result: EncodeResult) -> None:
        """Take the answer to the first of `requests`."""
        self._asked.popleft().accept(result)
        while self._segments and self._segments[0].is_settled:
            self._ids += self._segments.popleft().ids

    def caller_paused(self) -> None:
        """The turn may end here: once, the open block is worth encoding."""
        self._wants_guess = self._has_audio

    @property
    def guess_request(self) -> EncodeRequest | None:
        """The open block as far as it was heard, the same until it is accepted; None before `caller_paused`, after the
        commit, and while `requests` are there, which go first."""
        if self._is_committed or self._open is None or self.requests:
            return None
        if self._wants_guess:
            self._wants_guess = False
            tail = self._resampler.ending()
            if self._open.received + tail.size <= SEGMENT_SAMPLES:
                self._open.guess(tail, self._padded)
        return self._open.guess_request

    def accept_guess(self, request: EncodeRequest, result: EncodeResult) -> None:
        """Take the answer to `guess_request`; one that comes after the commit changes nothing."""
        if self._open is not None:
            self._open.accept_guess(request, result)

    @property
    def provisional(self) -> list[int]:
        """The ids so far. A louder sound to come may change those of a segment that is still open."""
        return self._ids + [token for segment in self._segments for token in segment.ids]

    @property
    def likely(self) -> list[int]:
        """`provisional`, and after a pause those of the open block, which change with the block's every sample."""
        return self._ids + [token for segment in self._segments for token in segment.likely_ids]

    @property
    def is_finished(self) -> bool:
        """Whether the turn is committed and all of it encoded."""
        return self._is_committed and all(segment.is_settled for segment in self._segments)

    def encode(self) -> None:
        """Encode what can be encoded now."""
        while requests := self.requests:
            for result in self._tokenizer.run(requests):
                self.accept(result)

    def finish(self) -> list[int]:
        """End the turn, encode what is left, and return its ids. Raises AudioError where there was no audio."""
        self.commit()
        self.encode()
        return self.provisional

    @property
    def _padded(self) -> int | None:
        """The official call pads all segments of a clip to its longest, which is the first."""
        return SEGMENT_SAMPLES if self._segments_begun > 1 else None

    def _take(self, samples: Float32Array) -> None:
        """Hand 16 kHz audio to the segments."""
        while samples.size:
            if self._open is None:
                self._open = SegmentStream(self._tokenizer.extractor, self._tokenizer.config)
                self._segments.append(self._open)
                self._segments_begun += 1
            room = SEGMENT_SAMPLES - self._open.received
            self._open.push(samples[:room])
            samples = samples[room:]
            if self._open.received == SEGMENT_SAMPLES:
                self._open.finish(SEGMENT_SAMPLES)
                self._open = None
