"""A step of dialogues that each compute one id and choose the next: from a CUDA graph, its numbers of rows in buckets.

What is over in a bucket belongs to a dialogue of one position in a page that no other has.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from antiphon.engine.graphs import BucketedForward, bucket_of
from antiphon.engine.think.kv_cache import PackedBatch, PagedKVCache
from antiphon.engine.think.model import GLM
from antiphon.engine.think.sampling import SamplingColumns
from antiphon.kernels.sample import sample

Key = tuple[int, int]  # rows, and pages of the longest: the width of the block table
_LEAST_PAGES: Final = 4  # a table's width, so that short dialogues share their buckets


@dataclass(frozen=True)
class PlannedRows:
    """N positions of S sequences that a plan wants computed, in the host's memory. Decodes alone: N is S."""

    ids: npt.NDArray[np.int64]  # [N]
    positions: npt.NDArray[np.int32]  # [N]
    context_lens: npt.NDArray[np.int32]  # [S]
    block_tables: npt.NDArray[np.int32]  # [S, pages of the longest]
    slots: npt.NDArray[np.int32]  # [N]


@dataclass(frozen=True)
class DecodeBuffers:
    """One bucket's inputs, on the device."""

    ids: torch.Tensor  # i64[B]
    batch: PackedBatch  # of B sequences with a row each
    sampling: SamplingColumns  # of B rows


class DecodeForward:
    """Runs decodes in buckets. Owns their buffers, and on CUDA their graphs."""

    def __init__(self, model: GLM, cache: PagedKVCache, spare_page: int) -> None:
        """`spare_page`: a page of the cache that no sequence is given."""
        self._model = model
        self._cache = cache
        self._spare_page = spare_page
        self._run = BucketedForward(self.allocate, self.forward, model.device)

    def choose(self, decodes: PlannedRows, sampling: SamplingColumns) -> list[int]:
        """Compute the ids, and choose each dialogue's next. `sampling` holds n rows in the host's memory."""
        rows, pages = decodes.block_tables.shape
        key = (bucket_of(rows), max(_LEAST_PAGES, bucket_of(pages)))
        chosen: list[int] = self._run(key, lambda buffers: self._fill(buffers, decodes, sampling))[:rows].tolist()
        return chosen

    def allocate(self, key: Key) -> DecodeBuffers:
        """Buffers in which every row is surplus."""
        rows, pages = key
        device = self._model.device
        surplus = self._spare_page * self._cache.page_size
        return DecodeBuffers(
            ids=torch.zeros(rows, dtype=torch.int64, device=device),
            batch=PackedBatch(
                positions=torch.zeros(rows, dtype=torch.int64, device=device),
                cu_seqlens_q=torch.arange(rows + 1, dtype=torch.int32, device=device),
                context_lens=torch.ones(rows, dtype=torch.int32, device=device),
                block_tables=torch.full((rows, pages), self._spare_page, dtype=torch.int32, device=device),
                slot_mapping=torch.full((rows,), surplus, dtype=torch.int64, device=device),
            ),
            sampling=SamplingColumns.greedy(rows, device),
        )

    def forward(self, buffers: DecodeBuffers) -> torch.Tensor:
        """i64[B]: the id each row chose. Reads nothing from the device."""
        hidden = self._model(buffers.ids, buffers.batch, self._cache)
        return sample(self._model.logits(hidden), *buffers.sampling.columns)

    def _fill(self, buffers: DecodeBuffers, decodes: PlannedRows, sampling: SamplingColumns) -> None:
        """Write the decodes into the first rows, and surplus into the others."""
        batch, spare = buffers.batch, self._spare_page
        for buffer, values, surplus in (
            (buffers.ids, decodes.ids, 0),
            (batch.positions, decodes.positions, 0),
            (batch.context_lens, decodes.context_lens, 1),
            (batch.block_tables, decodes.block_tables, spare),
            (batch.slot_mapping, decodes.slots, spare * self._cache.page_size),
        ):
            padded = np.full(tuple(buffer.shape), surplus, np.int64)
            padded[tuple(slice(size) for size in values.shape)] = values
            buffer.copy_(torch.from_numpy(padded))
        for column, given in zip(buffers.sampling.columns, sampling.columns, strict=True):
            column[: len(given)].copy_(given)  # in rows of surplus, whatever stood there
