"""The vocoder's filter for a stretch of a turn's wave, from no more mel and source than that stretch needs.

Each layer runs over the rows that the layers behind it need (`reach.py`) and a few beyond, whose values are wrong where
the window was cut inside the turn; these are cut off before the next layer that is not pointwise. At the turn's own
ends nothing is cut, and the layers pad as they do in one pass. So the wave is the same, at little more than its own
cost: most of the arithmetic is done at the last stage's rate, where a layer's reach is a mel frame or two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from antiphon.engine.speak.packing import Packing
from antiphon.engine.speak.reach import FilterSpans, Span, StageSpans
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.speak.vocoder_blocks import reflect_first
from antiphon.kernels.packed_stft import packed_stft


@dataclass(frozen=True)
class FilterWindow:
    """One turn's stretch: what to make, and what to make it of."""

    spans: FilterSpans
    mel: torch.Tensor  # f32[spans.mel, mel_bins]
    source: torch.Tensor  # f32[spans.samples]


def filter_windows(vocoder: HiFT, windows: Sequence[FilterWindow]) -> list[torch.Tensor]:
    """The wave f32[spans.wave] of each window, each of another turn, made together as packed rows."""
    dtype, config = vocoder.conv_pre.weight.dtype, vocoder.config
    spans = [window.spans for window in windows]
    spectrum = _spectra(vocoder, windows, dtype)
    packing, x = _pack([window.mel.to(dtype) for window in windows])
    x, _ = vocoder.conv_pre(x, packing.cu_seqlens)
    rows = _Rows(F.leaky_relu(x, config.leaky_slope), tuple(window.mel for window in spans))
    for stage in range(len(vocoder.ups)):
        stages = [window.stages[stage] for window in spans]
        source = _source_of_stage(vocoder, stage, spectrum, stages)
        rows = _joined(vocoder, stage, rows.cut([one.below for one in stages]), stages)
        rows = rows.cut([one.joined for one in stages])
        x = rows.x + source.cut([one.joined for one in stages]).x
        rows = _Rows(vocoder.fuse(stage, x, rows.cu_seqlens), rows.spans).cut([one.out for one in stages])
    wave = vocoder.speak(rows.x, rows.cu_seqlens)
    hop = config.istft_hop
    made = _Rows(wave, tuple(Span(span.first * hop, (span.end - 1) * hop) for span in rows.spans))
    return made.pieces([window.wave for window in spans])


@dataclass(frozen=True)
class _Rows:
    """A layer's rows, packed: which rows of its turn each sequence's are."""

    x: torch.Tensor  # [ΣT, ...]
    spans: tuple[Span, ...]

    @property
    def cu_seqlens(self) -> torch.Tensor:
        """i32[S + 1]."""
        return Packing.of([len(span) for span in self.spans], self.x.device).cu_seqlens

    def pieces(self, spans: Sequence[Span]) -> list[torch.Tensor]:
        """Of each sequence, the rows asked for, which are among its own."""
        held = torch.split(self.x, [len(span) for span in self.spans])
        return [
            rows[asked.first - span.first : asked.end - span.first]
            for rows, span, asked in zip(held, self.spans, spans, strict=True)
        ]

    def cut(self, spans: Sequence[Span]) -> "_Rows":
        """No more than the rows asked for."""
        if tuple(spans) == self.spans:
            return self
        pieces = self.pieces(spans)
        return _Rows(pieces[0] if len(pieces) == 1 else torch.cat(pieces), tuple(spans))


def _pack(sequences: Sequence[torch.Tensor]) -> tuple[Packing, torch.Tensor]:
    packing = Packing.of([len(rows) for rows in sequences], sequences[0].device)
    return packing, sequences[0] if len(sequences) == 1 else torch.cat(list(sequences))


def _spectra(vocoder: HiFT, windows: Sequence[FilterWindow], dtype: torch.dtype) -> _Rows:
    """The spectra of the windows' sources. Rows near a cut are wrong and not among those that are needed."""
    config = vocoder.config
    packing, samples = _pack([window.source for window in windows])
    firsts = [window.spans.samples.first // config.istft_hop for window in windows]
    lengths = [len(window.source) // config.istft_hop + 1 for window in windows]
    spectrum, _ = packed_stft(
        samples, packing.cu_seqlens, n_fft=config.istft_n_fft, hop=config.istft_hop, out_rows=sum(lengths)
    )
    spans = [Span(first, first + length) for first, length in zip(firsts, lengths, strict=True)]
    return _Rows(spectrum.to(dtype), tuple(spans))


def _source_of_stage(vocoder: HiFT, stage: int, spectrum: _Rows, stages: Sequence[StageSpans]) -> _Rows:
    """The source at the rate and width of `stage`."""
    rows = spectrum.cut([one.spectrum for one in stages])
    x, _ = vocoder.source_downs[stage](rows.x, rows.cu_seqlens, sum(len(one.lowered) for one in stages))
    rows = _Rows(x, tuple(one.lowered for one in stages)).cut([one.source for one in stages])
    return _Rows(vocoder.source_resblocks[stage](rows.x, rows.cu_seqlens), rows.spans)


def _joined(vocoder: HiFT, stage: int, rows: _Rows, stages: Sequence[StageSpans]) -> _Rows:
    """`rows` at the next rate, at the last stage with its reflected row: where the source is added."""
    x, _ = vocoder.ups[stage](rows.x, rows.cu_seqlens)
    rows = _Rows(x, tuple(one.raised for one in stages)).cut([one.upsampled for one in stages])
    if stage < len(vocoder.ups) - 1:
        return rows
    # Every row moves on by one; where the window begins inside the turn, the row put first is not needed.
    x, _ = reflect_first(rows.x, rows.cu_seqlens)
    return _Rows(x, tuple(Span(span.first, span.end + 1) for span in rows.spans))
