"""The vocoder's filter over packed stretches of turns, layer by layer, each over the rows that the next ones need.

Which rows these are is a layout's to know: counted on the host and cut by slices (`vocoder_window.py`), or written in
buffers on the device and cut by gathers (`filter_buckets.py`). The layers are the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import torch
import torch.nn.functional as F

from antiphon.engine.speak.reach import FilterSpans, Span
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.weights.configs import VocoderConfig
from antiphon.kernels.packed_stft import packed_stft

L = TypeVar("L")
Other = TypeVar("Other")


class Layout(ABC):
    """Which rows of its turn each sequence of a pack holds, at one layer."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """Rows of the pack."""

    @property
    @abstractmethod
    def cu_seqlens(self) -> torch.Tensor:
        """i32[S + 1]: where each sequence begins, then `rows`."""

    @abstractmethod
    def cut(self, x: torch.Tensor, to: Self) -> torch.Tensor:
        """Of `x`, [rows, C] in this layout, the rows of `to`, which are among its own."""

    @abstractmethod
    def cut_reflected(self, x: torch.Tensor, to: Self) -> torch.Tensor:
        """As `cut`, of a turn whose second row is put before its first: row r of `to` is its row |r − 1|."""


@dataclass(frozen=True)
class StageLayouts(Generic[L]):
    """What one upsampling stage works on: `StageSpans`, of all sequences."""

    raised: L
    joined: L
    spectrum: L
    lowered: L
    source: L
    out: L

    def map(self, make: Callable[[L], Other]) -> "StageLayouts[Other]":
        return StageLayouts(*map(make, self))

    def __iter__(self) -> Iterator[L]:
        yield from (self.raised, self.joined, self.spectrum, self.lowered, self.source, self.out)


@dataclass(frozen=True)
class FilterLayouts(Generic[L]):
    """What the filter works on, from mel and source to the inverse transform: the last stage's `out`."""

    mel: L
    samples: L
    spectrum: L  # what the transform makes of the samples
    bottom: L  # of what is made of the mel, the first stage's rows
    stages: tuple[StageLayouts[L], ...]

    def map(self, make: Callable[[L], Other]) -> "FilterLayouts[Other]":
        """The same of something else."""
        return FilterLayouts(
            make(self.mel),
            make(self.samples),
            make(self.spectrum),
            make(self.bottom),
            tuple(stage.map(make) for stage in self.stages),
        )

    def __iter__(self) -> Iterator[L]:
        """All of them, in the order that `map` takes."""
        yield from (self.mel, self.samples, self.spectrum, self.bottom)
        for stage in self.stages:
            yield from stage

    @property
    def head(self) -> L:
        """Rows of the inverse transform."""
        return self.stages[-1].out


def spans_of(config: VocoderConfig, windows: Sequence[FilterSpans]) -> FilterLayouts[tuple[Span, ...]]:
    """The rows that each layer holds of each of `windows`."""
    hop = config.istft_hop
    transformed = [
        Span(window.samples.first // hop, window.samples.first // hop + len(window.samples) // hop + 1)
        for window in windows
    ]
    stages = []
    for stage in range(len(config.upsample_rates)):
        own = [window.stages[stage] for window in windows]
        stages.append(
            StageLayouts(
                raised=tuple(one.raised for one in own),
                joined=tuple(one.joined for one in own),
                spectrum=tuple(one.spectrum for one in own),
                lowered=tuple(one.lowered for one in own),
                source=tuple(one.source for one in own),
                out=tuple(one.out for one in own),
            )
        )
    return FilterLayouts(
        mel=tuple(window.mel for window in windows),
        samples=tuple(window.samples for window in windows),
        spectrum=tuple(transformed),
        bottom=tuple(window.stages[0].below for window in windows),
        stages=tuple(stages),
    )


Rows = TypeVar("Rows", bound=Layout)


def filter_layers(
    vocoder: HiFT,
    layouts: FilterLayouts[Rows],
    mel: torch.Tensor,  # f32[layouts.mel.rows, mel_bins]
    samples: torch.Tensor,  # f32[layouts.samples.rows] of the source
) -> torch.Tensor:
    """The wave f32[(F − S) · istft_hop] of the F rows of `layouts.head`. Nothing is read from the device but by layouts
    and by operations that run on torch.
    """
    config, dtype = vocoder.config, vocoder.conv_pre.weight.dtype
    # Rows near a cut are wrong and not among those that are needed.
    spectrum, _ = packed_stft(
        samples,
        layouts.samples.cu_seqlens,
        n_fft=config.istft_n_fft,
        hop=config.istft_hop,
        out_rows=layouts.spectrum.rows,
    )
    spectrum = spectrum.to(dtype)
    x, _ = vocoder.conv_pre(mel.to(dtype), layouts.mel.cu_seqlens)
    held = layouts.bottom
    x = layouts.mel.cut(F.leaky_relu(x, config.leaky_slope), held)
    for stage, own in enumerate(layouts.stages):
        x, _ = vocoder.ups[stage](x, held.cu_seqlens)
        cut = own.raised.cut_reflected if stage == len(vocoder.ups) - 1 else own.raised.cut
        x = cut(x, own.joined) + _source_of_stage(vocoder, stage, layouts.spectrum.cut(spectrum, own.spectrum), own)
        held = own.out  # the next stage's below
        x = own.joined.cut(vocoder.fuse(stage, x, own.joined.cu_seqlens), held)
    return vocoder.speak(x, held.cu_seqlens)


def _source_of_stage(vocoder: HiFT, stage: int, spectrum: torch.Tensor, own: StageLayouts[Rows]) -> torch.Tensor:
    """The source at the rate and width of `stage`, where it is joined."""
    x, _ = vocoder.source_downs[stage](spectrum, own.spectrum.cu_seqlens, own.lowered.rows)
    x = own.lowered.cut(x, own.source)
    return own.source.cut(vocoder.source_resblocks[stage](x, own.source.cu_seqlens), own.joined)
