"""The vocoder's filter for a stretch of a turn's wave, from no more mel and source than that stretch needs.

Each layer runs over the rows that the layers behind it need (`reach.py`) and a few beyond, whose values are wrong where
the window was cut inside the turn; these are cut off before the next layer that is not pointwise. At the turn's own
ends nothing is cut, and the layers pad as they do in one pass. So the wave is the same, at little more than its own
cost: most of the arithmetic is done at the last stage's rate, where a layer's reach is a mel frame or two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from antiphon.engine.speak.filter_layers import Layout, filter_layers, spans_of
from antiphon.engine.speak.packing import Packing
from antiphon.engine.speak.reach import FilterSpans, Span
from antiphon.engine.speak.vocoder import HiFT


@dataclass(frozen=True)
class FilterWindow:
    """One turn's stretch: what to make, and what to make it of."""

    spans: FilterSpans
    mel: torch.Tensor  # f32[spans.mel, mel_bins]
    source: torch.Tensor  # f32[spans.samples]


def filter_windows(vocoder: HiFT, windows: Sequence[FilterWindow]) -> list[torch.Tensor]:
    """The wave f32[spans.wave] of each window, each of another turn, made together as packed rows."""
    device, hop = windows[0].mel.device, vocoder.config.istft_hop
    layouts = spans_of(vocoder.config, [window.spans for window in windows]).map(lambda spans: _Slices(spans, device))
    wave = filter_layers(
        vocoder, layouts, _packed([window.mel for window in windows]), _packed([window.source for window in windows])
    )
    made = _Slices(tuple(Span(span.first * hop, (span.end - 1) * hop) for span in layouts.head.spans), device)
    return made.pieces(wave, [window.spans.wave for window in windows])


@dataclass(frozen=True)
class _Slices(Layout):
    """Rows that the host knows: each sequence is cut by a slice."""

    spans: tuple[Span, ...]
    device: torch.device

    @property
    def rows(self) -> int:
        return sum(len(span) for span in self.spans)

    @cached_property
    def cu_seqlens(self) -> torch.Tensor:
        return Packing.of([len(span) for span in self.spans], self.device).cu_seqlens

    def pieces(self, x: torch.Tensor, spans: Sequence[Span]) -> list[torch.Tensor]:
        """Of each sequence of `x`, the rows asked for, which are among its own."""
        held = torch.split(x, [len(span) for span in self.spans])
        return [
            rows[asked.first - span.first : asked.end - span.first]
            for rows, span, asked in zip(held, self.spans, spans, strict=True)
        ]

    def cut(self, x: torch.Tensor, to: "_Slices") -> torch.Tensor:
        return x if to.spans == self.spans else _packed(self.pieces(x, to.spans))

    def cut_reflected(self, x: torch.Tensor, to: "_Slices") -> torch.Tensor:
        pieces = []
        held = torch.split(x, [len(span) for span in self.spans])
        for rows, span, asked in zip(held, self.spans, to.spans, strict=True):
            moved = rows[max(asked.first - 1, 0) - span.first : asked.end - 1 - span.first]
            pieces.append(moved if asked.first else torch.cat([rows[1:2], moved]))
        return _packed(pieces)


def _packed(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))
