"""RMS norm against its formula in float64."""

import pytest
import torch
from compare import assert_close

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.rms_norm import rms_norm

EPS = 3.90625e-08


def _formula(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    x, weight = x.double(), weight.double()
    return weight * x / (x.square().mean(1, keepdim=True) + EPS).sqrt()


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e15])  # 1e-4: eps counts; 1e15: a square that only float32 can hold
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 1.6e-2)])
def test_equals_the_formula(scale: float, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    x, weight = (torch.randn(5, 33) * scale).to(dtype), torch.randn(33).to(dtype)
    y, stream = rms_norm(x, weight, EPS)
    assert stream is x
    assert y.dtype == dtype
    assert_close(
        y.float(), _formula(x, weight).to(dtype).float(), tolerance
    )  # bfloat16: half a step at 4, rounded once


def test_rows_do_not_depend_on_each_other() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(7, 16), torch.randn(16)
    assert torch.equal(rms_norm(x, weight, EPS)[0][3:4], rms_norm(x[3:4], weight, EPS)[0])


def test_a_weight_of_another_size_is_refused() -> None:
    with pytest.raises(KernelArgumentError, match=r"weight has shape \[4\]; expected \[3\]"):
        rms_norm(torch.ones(2, 3), torch.ones(4), EPS)
