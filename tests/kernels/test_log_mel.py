"""Log-mel frames against the transform written out."""

import pytest
import torch
from compare import assert_close

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.log_mel import log_mel

WINDOW = torch.hann_window(16)
FILTERS = torch.rand(9, 5, generator=torch.Generator().manual_seed(0))
FILTERS[:, 2] = 0  # hears nothing


def test_equals_the_formula_wherever_frames_lie() -> None:
    samples = torch.randn(100, generator=torch.Generator().manual_seed(1))
    starts = torch.tensor([40, 0, 84])
    cycles = torch.outer(torch.arange(9), torch.arange(16)).double() / 16
    kernel = torch.polar(torch.ones_like(cycles), -2 * torch.pi * cycles)
    expected = []
    for start in starts.tolist():
        spectrum = kernel @ (samples[start : start + 16] * WINDOW).to(torch.complex128)
        expected.append((spectrum.abs().square() @ FILTERS.double()).clamp(min=1e-10).log10())
    out = log_mel(samples, starts, WINDOW, FILTERS)
    assert_close(out, torch.stack(expected), 1e-6)
    assert (out[:, 2] == -10).all()


def test_no_frames() -> None:
    assert log_mel(torch.zeros(16), torch.zeros(0, dtype=torch.int64), WINDOW, FILTERS).shape == (0, 5)


def test_refuses_a_window_of_another_length() -> None:
    with pytest.raises(KernelArgumentError, match=r"window has shape \[8\]; expected \[16\]"):
        log_mel(torch.zeros(16), torch.zeros(1, dtype=torch.int64), WINDOW[:8], FILTERS)
