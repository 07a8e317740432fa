"""Normals from a counter: the same however they are cut, different for every seed and stream, and normal."""

import math

import pytest
import torch
from compare import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.counter_normal import counter_normal


def _draw(*spans: tuple[int, int, int], stream: int = 0) -> tuple[torch.Tensor, ...]:
    """The normals of each (seed, first, count), drawn in one call."""
    counts = [count for _, _, count in spans]
    cu_seqlens = torch.tensor([0, *counts]).cumsum(0).to(torch.int32)
    seeds, first = torch.tensor([s for s, _, _ in spans]), torch.tensor([f for _, f, _ in spans])
    return counter_normal(seeds, first, cu_seqlens, stream=stream, rows=sum(counts)).split(counts)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 700)), min_size=1, max_size=4))
def test_a_piece_is_the_same_bits_wherever_it_is_cut(pieces: list[tuple[int, int]]) -> None:
    [whole] = _draw((7, 0, 40_700))
    for (first, count), piece in zip(pieces, _draw(*[(7, *piece) for piece in pieces]), strict=True):
        assert torch.equal(piece, whole[first : first + count])


def test_counts_on_past_32_bits() -> None:
    far = 2**34 - 6  # the counter's low word overflows within
    [across] = _draw((1, far, 12))
    [start] = _draw((1, 0, 12))
    assert torch.equal(torch.cat(_draw((1, far, 6), (1, far + 6, 6))), across)
    assert not (across[6:] == start[:6]).any()


def test_seeds_and_streams_share_nothing() -> None:
    seeds = [0, 1, 2**32, 2**63 - 1]
    draws = [*_draw(*[(seed, 0, 4_000) for seed in seeds]), *_draw((0, 0, 4_000), stream=1)]
    between = torch.corrcoef(torch.stack(draws)) - torch.eye(len(draws))
    assert_close(between, torch.zeros_like(between), 5 / math.sqrt(4_000), "correlation")


def test_is_standard_normal_in_each_of_a_counters_four_places() -> None:
    [draws] = _draw((3, 0, 400_000))
    places = draws.double().view(-1, 4)
    n = len(places)
    assert_close(places.mean(0), torch.zeros(4), 5 / math.sqrt(n), "mean")
    assert_close(places.square().mean(0), torch.ones(4), 5 * math.sqrt(2 / n), "variance")
    assert_close(places.pow(4).mean(0), torch.full((4,), 3.0), 5 * math.sqrt(96 / n), "fourth moment")
    expected = torch.special.ndtr(places.sort(dim=0).values)
    assert_close(expected, ((torch.arange(n) + 0.5) / n)[:, None].expand(-1, 4), 2 / math.sqrt(n), "distribution")
    between = torch.corrcoef(places.t()) - torch.eye(4)
    assert_close(between, torch.zeros(4, 4), 5 / math.sqrt(n), "correlation of the places")


def test_refuses_spans_that_do_not_fit() -> None:
    with pytest.raises(KernelArgumentError, match=r"first has shape \[1\]; expected \[2\]"):
        counter_normal(torch.zeros(2).long(), torch.zeros(1).long(), torch.zeros(3).int(), stream=0, rows=0)
