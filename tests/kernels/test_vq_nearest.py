"""The nearest code on both backends, against every distance in float64."""

from collections.abc import Iterator

import pytest
import torch
from interpreter import among_nans, interpreted

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.registry import use_backend
from antiphon.kernels.vq_nearest import vq_nearest
from antiphon.kernels.vq_nearest.tuned import GROUP


@pytest.fixture(params=["torch", "triton"])
def backend(request: pytest.FixtureRequest) -> Iterator[None]:
    with use_backend(request.param):
        yield


def _random(rows: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def _oracle(x: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    return torch.cdist(x.double(), codebook.double()).argmin(dim=1)


# The interpreter's tiles take 16 rows, 16 or 32 codes and 16 of the width; a group is 8 codes.
@pytest.mark.parametrize(
    ("rows", "codes", "width"),
    [(0, 4, 3), (1, 1, 1), (7, 33, 5), (8, 16, 16), (15, 31, 17), (17, 65, 15), (3, 300, 96)],
)
@pytest.mark.usefixtures("backend")
def test_nearest_of_all(rows: int, codes: int, width: int) -> None:
    x, codebook = _random(rows, width, 0), _random(codes, width, 1)
    assert torch.equal(vq_nearest(x, codebook), _oracle(x, codebook))


def test_more_rows_and_codes_than_are_scored_at_once() -> None:
    for rows, codes, width in [(1_030, 64, 16), (50, 2_048, 96)]:
        x, codebook = _random(rows, width, 0), _random(codes, width, 1)
        assert torch.equal(vq_nearest(x, codebook), _oracle(x, codebook))


@pytest.mark.usefixtures("backend")
def test_of_equal_codes_the_first() -> None:
    codebook = _random(20, 24, 0).repeat(4, 1)
    x = codebook[torch.arange(40, 60)] + 0.01
    assert torch.equal(vq_nearest(x, codebook), torch.arange(20))


@pytest.mark.usefixtures("backend")
def test_codes_nearer_to_each_other_than_float32_sums_can_tell() -> None:
    code = 1_000 + _random(1, 64, 0)
    codebook = code.repeat(9, 1)
    codebook[torch.arange(9), torch.arange(9)] += torch.tensor([3, 2, 4, 1, 5, 2, 3, 1, 2]) * 2.0**-13
    assert vq_nearest(code, codebook).tolist() == [3]


@pytest.mark.usefixtures("backend")
def test_vectors_of_any_size_of_number() -> None:
    for scale in (1e-30, 1e-18, 1e12):
        x, codebook = _random(3, 20, 0) * scale, _random(40, 20, 1) * scale
        assert torch.equal(vq_nearest(x, codebook), _oracle(x / scale, codebook / scale))


@pytest.mark.usefixtures("backend")
def test_a_batch_equals_its_rows_in_any_order() -> None:
    x, codebook = _random(17, 48, 0), _random(70, 48, 1)
    together = vq_nearest(x, codebook)
    assert together.tolist() == [vq_nearest(row[None], codebook).item() for row in x]
    assert torch.equal(vq_nearest(x.flip(0), codebook), together.flip(0))


@pytest.mark.usefixtures("backend")
def test_a_row_that_is_not_a_number_harms_no_other() -> None:
    x, codebook = _random(5, 24, 0), _random(40, 24, 1)
    expected = vq_nearest(x, codebook)
    x[2] = torch.nan
    others = torch.tensor([0, 1, 3, 4])
    assert torch.equal(vq_nearest(x, codebook)[others], expected[others])


def test_nothing_beyond_the_tensors_is_read() -> None:
    x, codebook = _random(5, 17, 0), _random(35, 17, 1)
    with interpreted():
        assert torch.equal(vq_nearest(among_nans(x), among_nans(codebook)), _oracle(x, codebook))


def test_few_codes_are_measured_and_all_that_could_be_nearest() -> None:
    from antiphon.kernels.vq_nearest.kernel import search

    codebook = _random(128, 64, 0)
    clear, measured = search(codebook[:4] + 0.1 * _random(4, 64, 1), codebook)
    assert clear.tolist() == [0, 1, 2, 3]
    assert measured.tolist() == [1, 1, 1, 1]
    _, measured = search(codebook[:4], codebook[:1].expand(128, 64))
    assert measured.tolist() == [128 // GROUP] * 4


@pytest.mark.parametrize(
    ("x", "codebook", "sentence"),
    [
        (torch.zeros(1, 4).bfloat16(), torch.zeros(2, 4), "x is torch.bfloat16; expected torch.float32"),
        (torch.zeros(1, 4), torch.zeros(2, 5), r"codebook has shape \[2, 5\]; expected \[any, 4\]"),
        (torch.zeros(1, 4), torch.zeros(0, 4), "the codebook is empty"),
        (torch.zeros(1, 4), torch.zeros(2, 4, device="meta"), "on one device; got x on cpu, codebook on meta"),
    ],
)
def test_refuses(x: torch.Tensor, codebook: torch.Tensor, sentence: str) -> None:
    with pytest.raises(KernelArgumentError, match=sentence):
        vq_nearest(x, codebook)
