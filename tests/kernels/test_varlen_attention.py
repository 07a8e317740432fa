"""Packed attention against the plain formula in float64, one query at a time."""

import itertools

import pytest
import torch
from compare import assert_close

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.varlen_attention import Mask, varlen_attention
from antiphon.kernels.varlen_attention.cost import varlen_attention_cost

QUERY_LENS, KEY_LENS = [3, 1, 7, 5], [3, 6, 9, 2]  # the last: more queries than keys
STARTS = [0, 5, 2, 0]


def _cu(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)


def _random(rows: int, heads: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, heads, 8, generator=torch.Generator().manual_seed(seed))


def _sees(mask: Mask, block: int | None, p: int, j: int) -> bool:
    return mask == "full" or j <= p or (block is not None and j // block == p // block)


def _formula(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, start: int, mask: Mask, block: int | None
) -> torch.Tensor:
    q, k, v = q.double(), k.double(), v.double()
    group = q.shape[1] // k.shape[1]
    out = torch.empty_like(q)
    for i, h in itertools.product(range(len(q)), range(q.shape[1])):
        seen = [j for j in range(len(k)) if _sees(mask, block, start + i, j)]
        weights = torch.softmax(k[seen, h // group] @ q[i, h] * 0.3, dim=0)
        out[i, h] = weights @ v[seen, h // group]
    return out


@pytest.mark.parametrize(("mask", "block"), [("full", None), ("causal", None), ("block_causal", 4)])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_equals_the_formula(mask: Mask, block: int | None, kv_heads: int) -> None:
    q, k, v = _random(16, 4, 0), _random(20, kv_heads, 1), _random(20, kv_heads, 2)
    out = varlen_attention(
        q,
        k,
        v,
        _cu(QUERY_LENS),
        _cu(KEY_LENS),
        scale=0.3,
        mask=mask,
        block=block,
        query_starts=torch.tensor(STARTS).int(),
    )
    parts = zip(q.split(QUERY_LENS), k.split(KEY_LENS), v.split(KEY_LENS), STARTS, strict=True)
    assert_close(out, torch.cat([_formula(*part, mask, block) for part in parts]), 1e-6)


def test_queries_are_the_last_positions_by_default() -> None:
    q, k, v = _random(3, 2, 0), _random(5, 2, 1), _random(5, 2, 2)
    out = varlen_attention(q, k, v, _cu([3]), _cu([5]), scale=0.3, mask="causal")
    assert_close(out, _formula(q, k, v, 2, "causal", None), 1e-6)


def test_bfloat16_rounds_only_its_ends() -> None:
    q, k, v = (_random(6, 2, seed).bfloat16() for seed in range(3))
    out = varlen_attention(q, k, v, _cu([6]), _cu([6]), scale=0.3)
    assert out.dtype == torch.bfloat16
    assert_close(out.float(), _formula(q, k, v, 0, "full", None).bfloat16().float(), 8e-3)


def test_gradients() -> None:
    q, k, v = (_random(5, 2, seed).requires_grad_() for seed in range(3))
    varlen_attention(
        q, k, v, _cu([2, 3]), _cu([2, 3]), scale=0.3, mask="block_causal", block=2
    ).square().sum().backward()
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in (q, k, v))


@pytest.mark.parametrize("block", [1, 4])
def test_cost_counts_the_keys_seen(block: int) -> None:
    pairs = sum(
        _sees("block_causal", block, start + i, j)
        for queries, keys, start in zip(QUERY_LENS, KEY_LENS, STARTS, strict=True)
        for i, j in itertools.product(range(queries), range(keys))
    )
    cost = varlen_attention_cost(QUERY_LENS, KEY_LENS, 4, 2, 8, block=block, query_starts=STARTS)
    assert cost.flops == 4 * 4 * 8 * pairs


def test_refuses_a_block_without_its_mask() -> None:
    q = _random(2, 2, 0)
    with pytest.raises(KernelArgumentError, match="block=4 with mask='causal'"):
        varlen_attention(q, q, q, _cu([2]), _cu([2]), scale=1.0, mask="causal", block=4)
