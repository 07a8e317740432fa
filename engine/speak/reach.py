"""Which mel frames, source samples and rows of each layer a stretch of the wave is made of, from the config's numbers.

The vocoder is made of convolutions, so a stretch of its wave hangs on a stretch of each layer, a little wider on both
sides, layer by layer from the wave back to the mel. All spans are in rows of the whole turn, half open, and never
beyond the turn's ends: there the layers pad, as they do in one pass.

The rows of a layer at the rate of `n` per mel frame are counted from the turn's start: row r of frame j is n · j + r.
Behind the last upsampling there is one row more than that, reflected at the very start.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from antiphon.engine.weights.configs import VocoderConfig

_OUTER_TAPS: Final = 3  # on each side of `conv_pre` and `conv_post`
_F0_TAPS: Final = 1  # on each side of each of the F0 predictor's convolutions


@dataclass(frozen=True)
class Span:
    """Rows `first` to `end`, the latter not included."""

    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first

    def wider(self, by: int) -> "Span":
        return Span(self.first - by, self.end + by)

    def within(self, rows: int) -> "Span":
        """Cut to a layer of so many rows."""
        return Span(max(self.first, 0), min(self.end, rows))

    def aligned(self, to: int) -> "Span":
        """Beginning at a multiple of `to`."""
        return Span(self.first // to * to, self.end)

    def rounded(self, to: int) -> "Span":
        """Beginning and ending at multiples of `to`."""
        return Span(self.first // to * to, -(-self.end // to) * to)


@dataclass(frozen=True)
class StageSpans:
    """What one upsampling stage needs for what is asked of it."""

    below: Span  # rows that are upsampled
    raised: Span  # what upsampling makes of them
    upsampled: Span  # of that, the rows needed
    joined: Span  # where the source is added, one row on at the last stage; the residual blocks' input
    spectrum: Span  # rows of the source's spectrum, from a multiple of the stage's stride
    lowered: Span  # what bringing them down to this stage's rate makes of them
    source: Span  # of that, the rows needed: the source's residual block's input
    out: Span  # rows asked for


@dataclass(frozen=True)
class FilterSpans:
    """What the filter needs for one stretch of the wave."""

    mel: Span  # frames
    samples: Span  # of the source, between multiples of the iSTFT's hop
    spectrum: Span  # rows: all that the stages need
    stages: tuple[StageSpans, ...]
    head: Span  # rows of the inverse transform
    wave: Span  # samples asked for

    @classmethod
    def of(cls, config: VocoderConfig, wave: Span, frames: int) -> Self:
        """For the samples `wave` of a turn of `frames` mel frames."""
        half, hop = config.istft_n_fft // 2, config.istft_hop
        rows = math.prod(config.upsample_rates) * frames + 1
        # The window's first sample is 0, so that row r speaks for the samples r · hop − half + 1 … r · hop + half − 1.
        head = Span(-((half - 1 - wave.first) // hop), (wave.end - 1 + half - 1) // hop + 1).within(rows)
        out = head.wider(_OUTER_TAPS).within(rows)
        stages: list[StageSpans] = []
        for stage in reversed(range(len(config.upsample_rates))):
            stages.insert(0, _stage_spans(config, stage, out, frames))
            out = stages[0].below
        spectrum = Span(min(s.spectrum.first for s in stages), max(s.spectrum.end for s in stages))
        samples = Span(spectrum.first * hop - half + 1, (spectrum.end - 1) * hop + half)
        return cls(
            mel=out.wider(_OUTER_TAPS).within(frames),
            samples=samples.rounded(hop).within(config.hop * frames),
            spectrum=spectrum,
            stages=tuple(stages),
            head=head,
            wave=wave,
        )


def _stage_spans(config: VocoderConfig, stage: int, out: Span, frames: int) -> StageSpans:
    """What the stage needs for its rows `out`."""
    rates = config.upsample_rates
    rate, kernel = rates[stage], config.upsample_kernels[stage]
    last = stage == len(rates) - 1
    rows = math.prod(rates[: stage + 1]) * frames
    joined_rows = rows + 1 if last else rows
    blocks = max(map(_block_reach, config.resblock_kernels, config.resblock_dilations))
    joined = out.wider(blocks).within(joined_rows)
    # Row r of the joined ones is row r − 1 of the upsampled, but row 0 is row 1.
    upsampled = Span(max(joined.first - 1, 0), min(max(joined.end - 1, 2), rows)) if last else joined
    padding = (kernel - rate) // 2
    below = Span(-((kernel - 1 - padding - upsampled.first) // rate), (upsampled.end - 1 + padding) // rate + 1)
    below = below.within(rows // rate)
    source = joined.wider(_block_reach(config.source_kernels[stage], config.source_dilations[stage]))
    source = source.within(joined_rows)
    stride = math.prod(rates[stage + 1 :])
    before = stride // 2 if stride > 1 else 0
    taps = 2 * stride if stride > 1 else 1
    spectrum = Span(source.first * stride - before, (source.end - 1) * stride - before + taps)
    spectrum = spectrum.within(math.prod(rates) * frames + 1).aligned(stride)
    lowered = spectrum.first // stride
    return StageSpans(
        below=below,
        raised=Span(below.first * rate, below.end * rate),
        upsampled=upsampled,
        joined=joined,
        spectrum=spectrum,
        lowered=Span(lowered, lowered + (len(spectrum) + 2 * before - taps) // stride + 1),
        source=source,
        out=out,
    )


def _block_reach(kernel: int, dilations: Sequence[int]) -> int:
    """Rows that a residual block reads on each side of one that it makes."""
    return sum((dilation + 1) * (kernel - 1) // 2 for dilation in dilations)


@dataclass(frozen=True)
class Reach:
    """How far, in mel frames, the wave of a frame looks away from it."""

    f0: int  # the F0 predictor, on each side
    mel_before: int  # the filter in the mel
    mel_after: int
    source_before: int  # the filter in the source
    source_after: int

    @classmethod
    def of(cls, config: VocoderConfig, f0_layers: int) -> Self:
        """Reckoned for a frame that lies far from both ends of its turn."""
        far = 10_000
        spans = FilterSpans.of(config, Span(far * config.hop, (far + 1) * config.hop), 2 * far)
        return cls(
            f0=f0_layers * _F0_TAPS,
            mel_before=far - spans.mel.first,
            mel_after=spans.mel.end - (far + 1),
            source_before=far - spans.samples.first // config.hop,
            source_after=-(-spans.samples.end // config.hop) - (far + 1),
        )

    @property
    def look_ahead(self) -> int:
        """Mel frames that must be known after a frame before all of its samples are."""
        return max(self.mel_after, self.source_after + self.f0)
