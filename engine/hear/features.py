"""The log-mel spectrogram of Whisper large-v3, taken whole or in pieces.

A segment is at most 30 s of 16 kHz audio, followed by zeros up to its padded length and mirrored at both ends. Its
frames are raised to the segment's loudest value less 8 (80 dB), so a loud sound late in a segment changes frames that
came before: `StreamingLogMel` keeps the frames as they are and raises them when they are read.

Source: transformers, models/whisper/feature_extraction_whisper.py (the torch path) and audio_utils.py (the filters).
"""

from copy import copy
from typing import Final

import numpy as np
import torch

from antiphon.engine.types import Float32Array
from antiphon.engine.units import (
    LOG_MEL_HOP,
    LOG_MEL_WINDOW,
    MODEL_INPUT_RATE,
    SAMPLES_PER_SPEECH_TOKEN,
    SEGMENT_SAMPLES,
)
from antiphon.kernels.log_mel import log_mel

DYNAMIC_RANGE: Final = np.float32(8.0)  # log10 of power: 80 dB
SILENCE: Final = np.float32(-10.0)  # log10 of the smallest power
_CENTRE: Final = LOG_MEL_WINDOW // 2  # frame t is centred on sample 160 t

# The mel scale of Slaney's Auditory Toolbox (1998): linear below 1 kHz, logarithmic above.
_LINEAR_HZ_PER_MEL: Final = 200.0 / 3.0
_LOG_START_HZ: Final = 1_000.0
_LOG_START_MEL: Final = _LOG_START_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP: Final = np.log(6.4) / 27.0  # a mel, above 1 kHz


def mel_filters(mel_bins: int) -> Float32Array:
    """Triangular filters over 0 … 8 kHz, each of unit area: f32[201, mel_bins]."""
    nyquist = MODEL_INPUT_RATE / 2
    top = _LOG_START_MEL + np.log(nyquist / _LOG_START_HZ) / _LOG_STEP
    mels = np.linspace(0.0, top, mel_bins + 2)
    above = _LOG_START_HZ * np.exp(_LOG_STEP * (mels - _LOG_START_MEL))
    edges = np.where(mels < _LOG_START_MEL, mels * _LINEAR_HZ_PER_MEL, above)
    distances = edges - np.linspace(0.0, nyquist, LOG_MEL_WINDOW // 2 + 1)[:, None]  # [bins, mel_bins + 2]
    widths = np.diff(edges)
    rising, falling = -distances[:, :-2] / widths[:-1], distances[:, 2:] / widths[1:]
    areas = (edges[2:] - edges[:-2]) / 2
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)) / areas, dtype=np.float32)


def padded_length(samples: int) -> int:
    """Samples of a segment with the zeros that fill its last speech token."""
    return -(-samples // SAMPLES_PER_SPEECH_TOKEN) * SAMPLES_PER_SPEECH_TOKEN


class LogMelExtractor:
    """The window and the filters, made once for all streams."""

    def __init__(self, mel_bins: int) -> None:
        self.mel_bins = mel_bins
        self._filters = torch.from_numpy(mel_filters(mel_bins))
        self._window = torch.hann_window(LOG_MEL_WINDOW, dtype=torch.float64).float()

    def frames(self, samples: Float32Array, count: int) -> Float32Array:
        """log10 mel power of `count` frames, the first beginning at `samples[0]`: f32[count, mel_bins]."""
        starts = torch.arange(count) * LOG_MEL_HOP
        return log_mel(torch.from_numpy(samples), starts, self._window, self._filters).numpy()


class StreamingLogMel:
    """The frames of one segment, computed as its audio comes.

    `ready` frames can be read; `loudest` is the largest value among those computed so far, and rises. After `finish`
    both are final, and the frames equal those of the segment taken whole.
    """

    def __init__(self, extractor: LogMelExtractor) -> None:
        self._extractor = extractor
        self._raw = np.empty((SEGMENT_SAMPLES // LOG_MEL_HOP, extractor.mel_bins), np.float32)  # log10 of power
        self._quietest = np.empty(len(self._raw), np.float32)  # the least of each frame
        self._pending = np.zeros(0, np.float32)  # samples from the next frame's first on, mirrored start included
        self._taken = 0  # samples ever put into _pending, zeros after the end included
        self.received = 0  # samples
        self.ready = 0  # frames
        self.loudest = SILENCE

    @property
    def floor(self) -> np.float32:
        """What frames are raised to when they are read now."""
        return self.loudest - DYNAMIC_RANGE

    def push(self, pcm: Float32Array) -> None:
        """Take more of the segment's samples, f32[n] at 16 kHz; in all at most 30 s."""
        self.received += pcm.size
        self._append(pcm)
        if self.received > _CENTRE:
            self._compute((self.received - _CENTRE) // LOG_MEL_HOP + 1)

    def finish(self, padded: int | None = None) -> None:
        """End the segment, with zeros up to `padded` samples: by default those that fill its last token.

        The official code pads a segment among longer ones to the longest. Its frames differ only where it ends, but the
        last of them count for `loudest`.
        """
        padded = padded_length(self.received) if padded is None else padded
        frames = padded // LOG_MEL_HOP
        heard = min(frames, -(-(self.received + _CENTRE) // LOG_MEL_HOP))  # those whose window holds a sample
        end = (heard - 1) * LOG_MEL_HOP + _CENTRE  # of the last of these windows
        self._append(np.zeros(min(end, padded) - self.received, np.float32))
        if end > padded:
            mirrored = self._pending[padded - 1 - end : -1][::-1]
            self._append(mirrored)
        self._compute(heard)
        self._raw[heard:frames] = SILENCE
        self._quietest[heard:frames] = SILENCE
        self.ready = frames
        self._pending = self._pending[:0]

    def ended(self, tail: Float32Array, padded: int | None = None) -> "StreamingLogMel":
        """The finished segment that `push(tail)` and `finish(padded)` would make of this one, which goes on."""
        twin = copy(self)
        twin._raw, twin._quietest = self._raw.copy(), self._quietest.copy()
        twin.push(tail)
        twin.finish(padded)
        return twin

    def read(self, start: int, stop: int) -> Float32Array:
        """Frames `start` … `stop − 1` as the model takes them, by the loudest value so far: f32[count, mel_bins]."""
        raised = np.maximum(self._raw[start:stop], self.floor)
        return (raised + np.float32(4.0)) / np.float32(4.0)

    def first_below(self, floor: np.float32, stop: int) -> int:
        """The first frame before `stop` that a floor raises somewhere; `stop` where there is none."""
        below = self._quietest[:stop] < floor
        return int(below.argmax()) if below.any() else stop

    def _append(self, samples: Float32Array) -> None:
        starts = self._taken <= _CENTRE < self._taken + samples.size
        self._taken += samples.size
        self._pending = np.concatenate([self._pending, samples])
        if starts:  # samples 1 … 200 are there: mirror them before sample 0
            self._pending = np.concatenate([self._pending[_CENTRE:0:-1], self._pending])

    def _compute(self, stop: int) -> None:
        """Compute the frames up to `stop`, whose samples are all pending."""
        count = stop - self.ready
        if count <= 0:
            return
        raw = self._extractor.frames(self._pending, count)
        self._raw[self.ready : stop] = raw
        self._quietest[self.ready : stop] = raw.min(axis=1)
        self.loudest = max(self.loudest, raw.max())
        self.ready = stop
        self._pending = self._pending[count * LOG_MEL_HOP :]


def segments_of(pcm: Float32Array) -> list[Float32Array]:
    """`pcm`, f32[n] at 16 kHz, cut into segments of 30 s; the last may be shorter."""
    return [pcm[start : start + SEGMENT_SAMPLES] for start in range(0, pcm.size, SEGMENT_SAMPLES)]


def whole_log_mel(extractor: LogMelExtractor, pcm: Float32Array) -> list[StreamingLogMel]:
    """The finished frames of each segment of `pcm`, padded as by the official call: to the longest of them."""
    segments = segments_of(pcm)
    padded = padded_length(max(segment.size for segment in segments))
    finished = []
    for segment in segments:
        frames = StreamingLogMel(extractor)
        frames.push(segment)
        frames.finish(padded)
        finished.append(frames)
    return finished
