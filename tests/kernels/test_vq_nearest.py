"""The nearest code, against every distance in float64."""

import pytest
import torch

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.vq_nearest import vq_nearest


def _random(rows: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("rows", "codes", "width"), [(1, 1, 1), (7, 33, 5), (1_030, 64, 16), (50, 2_048, 96), (0, 4, 3)]
)
def test_nearest_of_all(rows: int, codes: int, width: int) -> None:
    x, codebook = _random(rows, width, 0), _random(codes, width, 1)
    assert torch.equal(vq_nearest(x, codebook), torch.cdist(x.double(), codebook.double()).argmin(dim=1))


def test_of_equal_codes_the_first() -> None:
    codebook = _random(40, 24, 0).repeat(5, 1)
    x = codebook[torch.arange(120, 160)] + 0.01
    assert torch.equal(vq_nearest(x, codebook), torch.arange(40))


def test_codes_nearer_to_each_other_than_float32_sums_can_tell() -> None:
    code = 1_000 + _random(1, 64, 0)
    codebook = code.repeat(9, 1)
    codebook[torch.arange(9), torch.arange(9)] += torch.tensor([3, 2, 4, 1, 5, 2, 3, 1, 2]) * 2.0**-13
    assert vq_nearest(code, codebook).tolist() == [3]


def test_a_batch_equals_its_rows() -> None:
    x, codebook = _random(17, 48, 0), _random(300, 48, 1)
    assert vq_nearest(x, codebook).tolist() == [vq_nearest(row[None], codebook).item() for row in x]


def test_refuses_another_dtype() -> None:
    with pytest.raises(KernelArgumentError, match="x is torch.bfloat16; expected torch.float32"):
        vq_nearest(torch.zeros(1, 4).bfloat16(), torch.zeros(2, 4))
