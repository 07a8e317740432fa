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
        # The official call pads all segments of a clip to its longest, which is the first.
        if self._open is not None:
            self._open.finish(SEGMENT_SAMPLES if self._segments_begun > 1 else None)

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

    @property
    def provisional(self) -> list[int]:
        """The ids so far. A louder sound to come may change those of a segment that is still open."""
        return self._ids + [token for segment in self._segments for token in segment.ids]

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
