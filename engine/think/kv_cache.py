"""The paged KV cache, and the packed batches that are computed over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import torch

from antiphon.engine.weights.configs import LanguageModelConfig

PAGE_SIZE: Final = 64  # positions a page holds: one tile of the attention kernel


@dataclass(frozen=True)
class PackedBatch:
    """N positions of S sequences in one forward: prefill chunks and decodes mixed, one sequence after another.

    Sequence s computes rows `cu_seqlens_q[s]:cu_seqlens_q[s + 1]`, the last of its `context_lens[s]` positions.
    """

    positions: torch.Tensor  # i64[N], each row's position in its own sequence
    cu_seqlens_q: torch.Tensor  # i32[S + 1]
    context_lens: torch.Tensor  # i32[S], positions visible to a sequence's last row, this chunk included
    block_tables: torch.Tensor  # i32[S, max_pages], a sequence's pages in order; entries past its context are not read
    slot_mapping: torch.Tensor  # i64[N], page · page_size + offset: where each row's key and value go

    @classmethod
    def whole(cls, lengths: Sequence[int], device: torch.device | str = "cpu") -> "PackedBatch":
        """Whole sequences from position 0, to be computed without a cache: no pages and no slots."""
        return cls(
            positions=torch.cat([torch.arange(length, device=device) for length in lengths]),
            cu_seqlens_q=torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device),
            context_lens=torch.tensor(lengths, dtype=torch.int32, device=device),
            block_tables=torch.empty(len(lengths), 0, dtype=torch.int32, device=device),
            slot_mapping=torch.empty(0, dtype=torch.int64, device=device),
        )


@dataclass(frozen=True)
class PagedKVCache:
    """Keys (rotated) and values of every layer, in pages. What no sequence has written is undefined."""

    k: torch.Tensor  # f[layers, n_pages, page_size, kv_heads, head_dim]
    v: torch.Tensor  # f[layers, n_pages, page_size, kv_heads, head_dim]

    @classmethod
    def allocate(
        cls,
        config: LanguageModelConfig,
        n_pages: int,
        page_size: int = PAGE_SIZE,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "PagedKVCache":
        """An empty cache of `n_pages · page_bytes(...)` bytes."""
        shape = (config.layers, n_pages, page_size, config.kv_heads, config.head_dim)
        return cls(*(torch.empty(shape, device=device, dtype=dtype) for _ in range(2)))

    @property
    def page_size(self) -> int:
        """Positions a page holds."""
        return self.k.shape[2]

    def layer(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One layer's keys and values, f[n_pages, page_size, kv_heads, head_dim] each: views."""
        return self.k[index], self.v[index]


def bytes_per_token(config: LanguageModelConfig, dtype: torch.dtype) -> int:
    """Bytes of keys and values that one position takes, all layers together."""
    return 2 * config.layers * config.kv_heads * config.head_dim * dtype.itemsize


def page_bytes(config: LanguageModelConfig, dtype: torch.dtype, page_size: int = PAGE_SIZE) -> int:
    """Bytes of keys and values that one page takes, all layers together."""
    return page_size * bytes_per_token(config, dtype)
