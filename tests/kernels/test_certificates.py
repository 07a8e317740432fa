"""The benchmark's counts of what certificates leave undecided: right on cases made for it, and the kernels' own."""

import pytest
import torch
from interpreter import interpreted

from antiphon.kernels.sample.tuned import Sizes, sizes_for
from benchmarks.certificates import as_tf32, candidates_decide, groups_measured, nucleus_sorted

SMALL: Sizes = sizes_for("interpreter")


def test_tf32_has_ten_bits_of_fraction_and_is_cut_toward_0() -> None:
    values = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-11, -1 - 2**-11, 3.14159274, 0.0, -0.0])
    cut = torch.tensor([1.0, 1 + 2**-10, 1.0, -1.0, 3.140625, 0.0, -0.0])
    assert torch.equal(as_tf32(values).view(torch.int32), cut.view(torch.int32))


def test_a_vector_between_codes_of_several_groups_has_them_all_measured() -> None:
    codebook = torch.eye(40)[:, :40]  # five groups of eight codes
    x = torch.stack([codebook[3], (codebook[3] + codebook[4]) / 2, (codebook[3] + codebook[30]) / 2, torch.zeros(40)])
    assert groups_measured(x, codebook).tolist() == [1, 1, 2, 5]
    assert groups_measured(x, codebook[:33]).tolist() == [1, 1, 2, 5]  # the last group has one code


def test_groups_are_counted_as_the_kernel_counts_them() -> None:
    from antiphon.kernels.vq_nearest.kernel import search

    drawn = torch.Generator().manual_seed(0)
    codebook = torch.randn(64, 16, generator=drawn)
    x = torch.cat([codebook[:10] + 0.3 * torch.randn(10, 16, generator=drawn), (codebook[:5] + codebook[20:25]) / 2])
    # Factors of few bits, which TF32 cuts nothing off.
    x, codebook = x.bfloat16().float(), codebook.bfloat16().float()
    with interpreted():
        measured = search(x, codebook)[1]
    assert groups_measured(x, codebook).tolist() == measured.tolist()
    assert 0 < (measured > 1).sum() < len(x)


def _peaks(places: list[int], vocab: int = 256) -> torch.Tensor:
    """f32[1, vocab]: equal highest logits in `places`, and next to nothing elsewhere."""
    logits = torch.full((1, vocab), -20.0)
    logits[0, places] = 3.0
    return logits


@pytest.mark.parametrize(
    ("places", "decided"),
    [
        ([7], True),
        ([3, 20, 40, 60], True),  # a tile of 16 each
        ([0, 1, 2], True),  # a tile sends four
        ([0, 1, 2, 3], False),  # there may be more of them that it did not send
        ([0, 1, 2, 3, 4, 5], False),
    ],
)
def test_a_nucleus_that_a_tile_may_not_have_sent_whole_is_not_decided(places: list[int], decided: bool) -> None:
    assert candidates_decide(_peaks(places), 0.2, 0.8, SMALL).tolist() == [decided]


def test_rows_are_decided_as_the_kernel_decides_them() -> None:
    from antiphon.kernels.sample.kernel import choose

    logits = torch.randn(8, 250, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.1, 4, 8)[:, None]
    columns = (torch.zeros(8, dtype=torch.int32), torch.full((8,), 0.9), torch.arange(8), torch.arange(8))
    with interpreted():
        undecided = choose(logits, torch.full((8,), 0.7), *columns)[1]
    assert candidates_decide(logits, 0.7, 0.9, SMALL).tolist() == (undecided == 0).tolist()
    assert 0 < undecided.sum() < 8


def test_a_nucleus_larger_than_the_reference_sorts() -> None:
    flat = torch.zeros(2, 2_000)
    flat[1, 0] = 20.0
    assert nucleus_sorted(flat, 1.0, 0.8).tolist() == [False, True]
