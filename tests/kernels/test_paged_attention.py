"""Paged attention against the plain formula in float64, and its independence of paging and company."""

from itertools import accumulate

import pytest
import torch
from compare import assert_close

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.paged_attention import paged_attention
from antiphon.kernels.paged_attention.cost import paged_attention_cost

HEADS, KV_HEADS, HEAD_DIM, SCALE = 6, 2, 8, 8**-0.5
QUERY_LENS = [1, 5, 1, 17, 3]  # decodes, prefill chunks, a whole prompt
CONTEXT_LENS = [1, 20, 64, 17, 16]


def _sequences(dtype: torch.dtype = torch.float32) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Queries, keys and values of each sequence."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    return [
        (draw(queries, HEADS, HEAD_DIM), draw(context, KV_HEADS, HEAD_DIM), draw(context, KV_HEADS, HEAD_DIM))
        for queries, context in zip(QUERY_LENS, CONTEXT_LENS, strict=True)
    ]


def _formula(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    k, v = (x.double().repeat_interleave(HEADS // KV_HEADS, 1) for x in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q.double(), k) * SCALE
    future = torch.arange(len(k)) > torch.arange(len(k) - len(q), len(k)).unsqueeze(1)
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(future, -torch.inf).softmax(-1), v)


def _paged(
    sequences: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], page_size: int, seed: int = 0
) -> torch.Tensor:
    """Keys and values scattered over shuffled pages of a pool that holds NaN everywhere else."""
    per_sequence = [-(-len(k) // page_size) for _, k, _ in sequences]
    n_pages = sum(per_sequence) + 2
    order = torch.randperm(n_pages, generator=torch.Generator().manual_seed(seed)).int()
    dtype = sequences[0][0].dtype
    k_pages, v_pages = torch.full((2, n_pages, page_size, KV_HEADS, HEAD_DIM), torch.nan, dtype=dtype)
    tables = torch.full((len(sequences), max(per_sequence) + 1), 2**31 - 1, dtype=torch.int32)  # garbage past the end
    taken = 0
    for table, needed, (_, k, v) in zip(tables, per_sequence, sequences, strict=True):
        table[:needed] = order[taken : taken + needed]
        taken += needed
        at = torch.arange(len(k))
        slots = table[at // page_size].long() * page_size + at % page_size
        k_pages.flatten(0, 1)[slots], v_pages.flatten(0, 1)[slots] = k, v
    cu_seqlens_q = torch.tensor([0, *accumulate(len(q) for q, _, _ in sequences)], dtype=torch.int32)
    context_lens = torch.tensor([len(k) for _, k, _ in sequences], dtype=torch.int32)
    q = torch.cat([q for q, _, _ in sequences])
    return paged_attention(q, k_pages, v_pages, cu_seqlens_q, context_lens, tables, SCALE)


@pytest.mark.parametrize("page_size", [1, 16, 64])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 8e-3)])
def test_equals_the_formula_whatever_else_the_pages_hold(page_size: int, dtype: torch.dtype, tolerance: float) -> None:
    sequences = _sequences(dtype)
    expected = torch.cat([_formula(*sequence) for sequence in sequences]).to(dtype)
    assert_close(_paged(sequences, page_size).float(), expected.float(), tolerance)  # bfloat16: one rounding, at 2


def test_neither_paging_nor_company_changes_a_bit() -> None:
    sequences = _sequences()
    together = _paged(sequences, 16)
    assert torch.equal(_paged(sequences, 64, seed=1), together)
    assert torch.equal(torch.cat([_paged([sequence], 16) for sequence in sequences]), together)


def test_heads_that_cannot_share_are_refused() -> None:
    counts = torch.tensor([0, 1], dtype=torch.int32)
    pages = torch.zeros(1, 4, 2, 8)
    with pytest.raises(KernelArgumentError, match="3 query heads cannot share 2 KV heads evenly"):
        paged_attention(torch.zeros(1, 3, 8), pages, pages, counts, counts[1:], torch.zeros(1, 1).int(), 1.0)


def test_cost_counts_the_scores_the_mask_leaves() -> None:
    cost = paged_attention_cost(QUERY_LENS, CONTEXT_LENS, HEADS, KV_HEADS, HEAD_DIM, itemsize=2)
    seen = sum(c - q + i + 1 for q, c in zip(QUERY_LENS, CONTEXT_LENS, strict=True) for i in range(q))
    assert cost.flops == 4 * HEADS * HEAD_DIM * seen
    assert cost.bytes_moved == 2 * HEAD_DIM * (2 * HEADS * sum(QUERY_LENS) + 2 * KV_HEADS * sum(CONTEXT_LENS))
