"""The vocoder's passes from CUDA graphs: one of F0 and source, one of the filter, each in its own buckets.

Between them the host lays what was kept of a turn's source before what was made, as long as the turn's own counts say.
"""

from collections.abc import Sequence
from functools import cached_property

import torch

from antiphon.engine.speak.continuous_source import SourceState
from antiphon.engine.speak.filter_buckets import BucketedFilter
from antiphon.engine.speak.reach import Reach
from antiphon.engine.speak.source_buckets import BucketedSource
from antiphon.engine.speak.vocoder_passes import SourceWindow, VocoderPasses
from antiphon.engine.speak.vocoder_window import FilterWindow


class BucketedVocoder(VocoderPasses):
    """Runs them in buckets. Owns their buffers, and on CUDA their graphs; the weights must stay."""

    @cached_property
    def _source(self) -> BucketedSource:
        reach = Reach.of(self.vocoder.config, len(self.vocoder.f0_predictor.condnet))
        return BucketedSource(self.f0_predictor, self.vocoder.m_source, reach.f0)

    @cached_property
    def _filter(self) -> BucketedFilter:
        return BucketedFilter(self.vocoder)

    def sources(self, windows: Sequence[SourceWindow]) -> list[tuple[torch.Tensor, SourceState]]:
        return self._source.sources(windows)

    def waves(self, windows: Sequence[FilterWindow]) -> list[torch.Tensor]:
        return self._filter.waves(windows)
