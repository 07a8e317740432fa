"""The answering half of a turn: ids come in, text and audio go out.

An answer borrows its dialogue's LM sequence, which already ends in the prompt, and owns the splitter and the
decoder's stream.
"""

from dataclasses import dataclass

from antiphon.engine.events import AudioOutput, Event, FinishReason, TextDelta
from antiphon.engine.speak.chunks import ChunkJob, ChunkResult
from antiphon.engine.speak.pace import ChunkSpeed, Pace
from antiphon.engine.speak.stream import DecoderStream
from antiphon.engine.think.runner import Row
from antiphon.engine.think.sampling import SamplingParams
from antiphon.engine.think.sequence import LMSequence
from antiphon.engine.think.split import InterleavedSplitter, Piece, TextPiece
from antiphon.engine.think.vocab import Vocabulary
from antiphon.engine.timeline import WaveSample, speech_tokens_played, wave_sample_at, wave_seconds
from antiphon.engine.types import Float32Array


@dataclass(frozen=True)
class Limits:
    """Where an answer has to end."""

    stop_ids: frozenset[int]  # the model's own
    new_ids: int  # at most so many ids


class Answer:
    """One answer under way. `wants_lm` and `chunk_job` say what it waits for; both may be open at once."""

    def __init__(
        self,
        response_id: str,
        vocabulary: Vocabulary,
        sequence: LMSequence,  # ends in the prompt
        stream: DecoderStream,
        sampling: SamplingParams,  # seeded
        limits: Limits,
        speed: ChunkSpeed,  # of all answers
    ) -> None:
        self.response_id = response_id
        self.sequence = sequence
        self.sampling = sampling
        self.ids: list[int] = []  # emitted so far, without the stop id
        self.speech_tokens = 0  # of them
        self.finish_reason: FinishReason | None = None  # set once the LM has ended
        self.sent_samples = WaveSample(0)
        self.first_sent_at: float | None = None  # the clock at the first audio, None before it
        self.prompt_length = len(sequence.ids)
        self._vocabulary = vocabulary
        self._splitter = InterleavedSplitter(vocabulary)
        self._stream = stream
        self._limits = limits
        self._sent_messages = 0
        self._pace = Pace()
        self._speed = speed

    @property
    def wants_lm(self) -> bool:
        """Whether the LM has more to do for this answer."""
        return self.finish_reason is None

    @property
    def is_done(self) -> bool:
        """Whether all ids have come and all audio has been handed out."""
        return self.finish_reason is not None and self._stream.next_job is None

    @property
    def chunk_job(self) -> ChunkJob | None:
        """The chunk that is due, if any. Its result goes to `spoken`; until then it stays the same."""
        return self._stream.next_job

    def row(self, place: int) -> Row:
        """This answer's share of a planned forward, where it stands at `place`."""
        return Row(self.sequence, place, self.sampling, len(self.ids))

    def sampled(self, token: int, now: float) -> list[Event]:
        """Take the id the LM chose."""
        self._pace.id_came(now)
        events = self._take(token)
        self._settle_chunk(now)
        return events

    def _take(self, token: int) -> list[Event]:
        if token in self._limits.stop_ids and not self.sampling.ignore_eos:
            # The official demo makes its last chunk final at <|user|> alone (zai-org/GLM-4-Voice, web_demo.py).
            self._end(FinishReason.STOP, "stop" if token == self._vocabulary.control_id("<|user|>") else "length")
            return self._text_events(self._splitter.finish())
        self.ids.append(token)
        self.sequence.extend([token])
        if self._vocabulary.is_speech(token):
            self.speech_tokens += 1
            self._stream.feed([self._vocabulary.speech_code(token)])
        else:
            self._stream.feed_text()
        events = self._text_events(self._splitter.push([token]))
        if len(self.ids) >= self._limits.new_ids:
            self._end(FinishReason.LENGTH, "length")
            events += self._text_events(self._splitter.finish())
        return events

    def spoken(self, result: ChunkResult, now: float) -> list[Event]:
        """Take a decoded chunk."""
        took = self._pace.chunk_came(now)
        if took is not None and result.job.flow_frames:
            self._speed.chunk_came(result.job.flow_frames, took)
        wave = self._stream.accept(result)
        events = self._hand_out(wave, now) if wave.size else []
        self._settle_chunk(now)
        return events

    def _hand_out(self, wave: Float32Array, now: float) -> list[Event]:
        if self.first_sent_at is None:
            self.first_sent_at = now
        event = AudioOutput(self.response_id, wave, self._sent_messages, self.sent_samples)
        self._sent_messages += 1
        self.sent_samples = WaveSample(self.sent_samples + wave.size)
        return [event]

    def _settle_chunk(self, now: float) -> None:
        """Tell the stream how long what was sent will last, and let it settle whether a chunk is due."""
        if self.first_sent_at is not None:
            self._stream.lead = self.first_sent_at + float(wave_seconds(self.sent_samples)) - now
        self._stream.times = self._pace.times
        self._stream.frame_seconds = self._speed.frame_seconds
        if self._stream.next_job is not None:
            self._pace.chunk_is_due(now)

    def heard_by(self, now: float) -> WaveSample:
        """How much of what was sent can have been heard, if playback began with the first audio."""
        if self.first_sent_at is None:
            return WaveSample(0)
        return WaveSample(min(self.sent_samples, wave_sample_at(now - self.first_sent_at)))

    def cut(self, heard: WaveSample) -> None:
        """End here and keep of the ids the prefix up to the last speech token heard in full."""
        self.finish_reason = FinishReason.INTERRUPTED
        tokens = min(speech_tokens_played(WaveSample(min(heard, self.sent_samples))), self.speech_tokens)
        kept = 0
        for index, token in enumerate(self.ids):
            if tokens == 0:
                break
            if self._vocabulary.is_speech(token):
                tokens -= 1
                kept = index + 1
        del self.ids[kept:]
        self.speech_tokens = sum(map(self._vocabulary.is_speech, self.ids))
        self.sequence.truncate(self.prompt_length + kept)

    def _end(self, reason: FinishReason, stream_reason: str) -> None:
        self.finish_reason = reason
        self._stream.end(stream_reason)

    def _text_events(self, pieces: list[Piece]) -> list[Event]:
        return [
            TextDelta(self.response_id, piece.text, self.sent_samples)
            for piece in pieces
            if isinstance(piece, TextPiece)
        ]
