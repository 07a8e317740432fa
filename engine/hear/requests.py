"""What the tokenizer is asked to encode, and what it answers.

Both are plain data, so that the requests of many dialogues go in one pack.
"""

from dataclasses import dataclass
from typing import Final

import torch

from antiphon.engine.hear.encoder import STEM_STRIDE, SegmentCache, Span, stem_context
from antiphon.engine.hear.features import StreamingLogMel
from antiphon.engine.types import Float32Array
from antiphon.engine.units import LOG_MEL_HOP, SAMPLES_PER_SPEECH_TOKEN

FRAME_SAMPLES: Final = STEM_STRIDE * LOG_MEL_HOP  # at 16 kHz between encoder frames


@dataclass(frozen=True, eq=False)
class EncodeRequest:
    """A run of a segment's frames. It depends on nothing but itself: its company in a pack never changes its answer."""

    features: Float32Array  # [context + 2 · frames, mel_bins]: log-mel, led by `stem_context(first_frame)` rows
    first_frame: int  # encoder frames of the segment before this run
    heard_frames: int  # of this run's encoder frames, those that begin before the audio ends
    past: SegmentCache | None = None  # of the first `first_frame` frames; None where there are none
    keep: bool = False  # whether the segment goes on: then the answer brings its cache

    @property
    def span(self) -> Span:
        """The run, as the encoder takes it."""
        frames = (len(self.features) - stem_context(self.first_frame)) // STEM_STRIDE
        return Span(self.first_frame, frames, self.heard_frames, self.past, self.keep)


@dataclass(frozen=True, eq=False)
class EncodeResult:
    """The tokens of one request."""

    ids: list[int]
    hidden: torch.Tensor  # f32[tokens, d_model], before quantisation
    cache: SegmentCache | None  # of the segment up to the run's end, where it was asked for


def encoder_frames(samples: int) -> int:
    """Encoder frames that begin before `samples` samples at 16 kHz are over."""
    return -(-samples // FRAME_SAMPLES)


def segment_frames(samples: int) -> int:
    """Encoder frames of a segment of `samples`, with those that fill its last token."""
    return -(-samples // SAMPLES_PER_SPEECH_TOKEN) * (SAMPLES_PER_SPEECH_TOKEN // FRAME_SAMPLES)


def whole_segment_request(frames: StreamingLogMel) -> EncodeRequest:
    """A finished segment, to be encoded at once."""
    features = frames.read(0, STEM_STRIDE * segment_frames(frames.received))
    return EncodeRequest(features, first_frame=0, heard_frames=encoder_frames(frames.received))
