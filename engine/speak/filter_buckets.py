"""The vocoder's filter from CUDA graphs: numbers of stretches and of their frames in buckets.

Which rows a stretch holds at a layer is written into buffers on the device, as where it begins in the pack and which
row of its turn that is; the cuts between layers are gathers. A stretch of so many frames holds at most so many rows of
a layer, those of one far from both ends of its turn: a bucket has room for that, and what the others leave is the last
stretch's of nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from antiphon.engine.graphs import BucketedForward
from antiphon.engine.speak.convolution import PackedConv1d
from antiphon.engine.speak.filter_layers import FilterLayouts, Layout, filter_layers, spans_of
from antiphon.engine.speak.frame_bucket import FrameBucket
from antiphon.engine.speak.reach import FilterSpans, Span
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.speak.vocoder_window import FilterWindow
from antiphon.engine.weights.configs import VocoderConfig

_FAR: Final = 10_000  # frames from both ends of a turn of nobody

Spans = tuple[Span, ...]


@dataclass(frozen=True)
class GatheredLayout(Layout):
    """Rows that the device knows. Those of nobody may be anything, and reach none but nobody's."""

    size: int
    starts: torch.Tensor  # i32[S + 1]: where each sequence begins in the pack, then `size`
    origins: torch.Tensor  # i32[S]: where in the pack its turn's row 0 would lie

    @property
    def rows(self) -> int:
        return self.size

    @property
    def cu_seqlens(self) -> torch.Tensor:
        return self.starts

    def cut(self, x: torch.Tensor, to: "GatheredLayout") -> torch.Tensor:
        sequence, row = to._turn_rows()
        return self._gathered(x, sequence, row)

    def cut_reflected(self, x: torch.Tensor, to: "GatheredLayout") -> torch.Tensor:
        sequence, row = to._turn_rows()
        return self._gathered(x, sequence, (row - 1).abs())

    def _turn_rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(i64[rows], i32[rows]): the sequence of each row, and which row of its turn it is."""
        at = torch.arange(self.size, dtype=torch.int32, device=self.starts.device)
        sequence = torch.searchsorted(self.starts, at, right=True) - 1
        return sequence, at - self.origins[sequence]

    def _gathered(self, x: torch.Tensor, sequence: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        # The last sequence is nobody's; what it lacks of the rows asked for it takes from its end.
        return x.index_select(0, (self.origins[sequence] + row).clamp(max=self.size - 1))


@dataclass(frozen=True)
class FilterInputs:
    """One bucket's inputs, on the device."""

    mel: torch.Tensor  # f32[rows, mel_bins]
    samples: torch.Tensor  # f32[samples] of the source
    numbers: torch.Tensor  # i32[layouts, 2, S + 1]: each layout's starts, and its origins
    layouts: FilterLayouts[GatheredLayout]  # views of `numbers`


class BucketedFilter:
    """Runs a vocoder's filter in buckets. Owns their buffers, and on CUDA their graphs; the weights must stay."""

    def __init__(self, vocoder: HiFT) -> None:
        self._vocoder = vocoder
        self._run = BucketedForward(self.allocate, self.forward, vocoder.conv_pre.weight.device)

    def waves(self, windows: Sequence[FilterWindow]) -> list[torch.Tensor]:
        """As `filter_windows`."""
        hop = self._vocoder.config.hop
        bucket = FrameBucket.of([len(window.spans.wave) // hop for window in windows])
        spans = self._spans(bucket, [window.spans for window in windows])
        made = self._run(bucket, lambda inputs: self._fill(inputs, spans, windows)).clone()
        hop = self._vocoder.config.istft_hop
        waves, begin = [], 0  # each of a row's hop less than its rows of the inverse transform
        for window, head in zip(windows, spans.head[: len(windows)], strict=True):
            wave = window.spans.wave
            first = begin + wave.first - head.first * hop
            waves.append(made[first : first + len(wave)])
            begin += (len(head) - 1) * hop
        return waves

    def allocate(self, bucket: FrameBucket) -> FilterInputs:
        """Buffers of stretches of nobody."""
        config, device = self._vocoder.config, self._vocoder.conv_pre.weight.device
        sizes = self._sizes(bucket)
        numbers = torch.zeros(len(list(sizes)), 2, bucket.stretches + 1, dtype=torch.int32, device=device)
        places = iter(numbers)
        inputs = FilterInputs(
            mel=torch.zeros(sizes.mel, config.mel_bins, device=device),
            samples=torch.zeros(sizes.samples, device=device),
            numbers=numbers,
            layouts=sizes.map(lambda size: _layout(size, next(places))),
        )
        self._fill(inputs, self._spans(bucket, []), [])
        return inputs

    def forward(self, inputs: FilterInputs) -> torch.Tensor:
        """f32[samples]: the wave of all stretches. Reads nothing from the device."""
        return filter_layers(self._vocoder, inputs.layouts, inputs.mel, inputs.samples)

    def _sizes(self, bucket: FrameBucket) -> FilterLayouts[int]:
        """Rows of each layout."""
        config = self._vocoder.config
        of_one, of_two = (iter(spans_of(config, [_nobody(config, frames)])) for frames in (1, 2))

        def size(_: Spans) -> int:
            one, two = len(next(of_one)[0]), len(next(of_two)[0])
            return (two - one) * bucket.frames + (2 * one - two) * bucket.stretches

        sizes = spans_of(config, []).map(size)
        # What comes of rows by a stride hangs on where each sequence ends: no more than this.
        strides = [_stride(down) for down in self._vocoder.source_downs]
        stages = zip(sizes.stages, strides, strict=True)
        return replace(
            sizes, stages=tuple(replace(stage, lowered=stage.spectrum // stride) for stage, stride in stages)
        )

    def _spans(self, bucket: FrameBucket, windows: Sequence[FilterSpans]) -> FilterLayouts[Spans]:
        """Those of the windows and of nobody."""
        config = self._vocoder.config
        lengths = bucket.filled([len(window.wave) // config.hop for window in windows])
        return spans_of(config, [*windows, *(_nobody(config, frames) for frames in lengths[len(windows) :])])

    def _fill(self, inputs: FilterInputs, spans: FilterLayouts[Spans], windows: Sequence[FilterWindow]) -> None:
        """Write the windows into the first rows. In the others stays what stood there, for nobody."""
        if windows:
            mels, sources = [window.mel for window in windows], [window.source for window in windows]
            torch.cat(mels, out=inputs.mel[: sum(map(len, mels))])
            torch.cat(sources, out=inputs.samples[: sum(map(len, sources))])
        numbers = [_numbers(own, layout.rows) for own, layout in zip(spans, inputs.layouts, strict=True)]
        inputs.numbers.copy_(torch.from_numpy(np.stack(numbers)))


def _stride(down: nn.Module) -> int:
    assert isinstance(down, PackedConv1d)
    return down.stride


def _nobody(config: VocoderConfig, frames: int) -> FilterSpans:
    """A stretch that no end of its turn shortens."""
    return FilterSpans.of(config, Span(_FAR * config.hop, (_FAR + frames) * config.hop), 2 * _FAR + frames)


def _layout(size: int, numbers: torch.Tensor) -> GatheredLayout:
    return GatheredLayout(size, numbers[0], numbers[1, :-1])


def _numbers(spans: Spans, size: int) -> npt.NDArray[np.int32]:
    """i32[2, S + 1]: what a layout keeps on the device."""
    firsts = np.array([span.first for span in spans])
    starts = np.zeros(len(spans) + 1, np.int32)
    starts[1:] = np.cumsum([len(span) for span in spans])
    starts[-1] = size
    origins = np.zeros_like(starts)
    origins[:-1] = starts[:-1] - firsts
    return np.stack([starts, origins])
