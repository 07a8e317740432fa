"""The vocoder's two passes over stretches of several turns at once: mel to source, then mel and source to wave."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from antiphon.engine.speak.continuous_source import SourceState, SourceStretch, make_sources
from antiphon.engine.speak.packing import Packing
from antiphon.engine.speak.reach import Span
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.speak.vocoder_blocks import F0Predictor
from antiphon.engine.speak.vocoder_window import FilterWindow, filter_windows


@dataclass(frozen=True)
class SourceWindow:
    """What comes next of one turn's source, and what its F0 is made of."""

    state: SourceState
    mel: torch.Tensor  # f32[frames, mel_bins]
    made: Span  # of those frames, the ones whose source is made: at least 1, the first of them the state's next
    final: int  # of these, from the first, that will not be made again

    def stretch(self, f0: torch.Tensor) -> SourceStretch:
        """With F0 f32[made]."""
        return SourceStretch(self.state, f0, self.final)


class VocoderPasses:
    """Runs both over packed rows. Holds nothing of any turn; the weights must stay."""

    def __init__(self, vocoder: HiFT) -> None:
        self.vocoder = vocoder

    @cached_property
    def f0_predictor(self) -> F0Predictor:
        """In float64: a phase adds up the rounding of F0, which hangs on how the mel is cut: 2e-4 of wave in 20 s."""
        return copy.deepcopy(self.vocoder.f0_predictor).double()

    def f0(self, rows: torch.Tensor, cu_seqlens: torch.Tensor) -> torch.Tensor:
        """f32[ΣT] Hz of mel f32[ΣT, mel_bins], rounded but once."""
        f0: torch.Tensor = self.f0_predictor(rows.double(), cu_seqlens)
        return f0.float()

    def sources(self, windows: Sequence[SourceWindow]) -> list[tuple[torch.Tensor, SourceState]]:
        """f32[made · hop] of each window, each of another turn, and that turn's state after its final frames."""
        packing = Packing.of([len(window.mel) for window in windows], windows[0].mel.device)
        f0 = self.f0(torch.cat([window.mel for window in windows]), packing.cu_seqlens)
        f0s = torch.split(f0, list(packing.lengths))
        return make_sources(
            self.vocoder.m_source,
            [
                window.stretch(own[window.made.first : window.made.end])
                for window, own in zip(windows, f0s, strict=True)
            ],
        )

    def waves(self, windows: Sequence[FilterWindow]) -> list[torch.Tensor]:
        """The wave f32[spans.wave] of each window, each of another turn."""
        return filter_windows(self.vocoder, windows)
