"""The SwiGLU gate against its formula in float64."""

import pytest
import torch
from compare import assert_close

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.swiglu import swiglu


def test_the_first_half_gates_the_second() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 18) * 10
    gate, up = x[:, :9].double(), x[:, 9:].double()
    assert_close(swiglu(x), gate / (1 + torch.exp(-gate)) * up, 1e-4)  # float32 at 1e3


def test_bfloat16_is_rounded_once() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 18).bfloat16()
    assert torch.equal(swiglu(x), swiglu(x.float()).bfloat16())


def test_an_odd_number_of_columns_is_refused() -> None:
    with pytest.raises(KernelArgumentError, match="gate_up has 3 columns; expected an even number"):
        swiglu(torch.ones(2, 3))
