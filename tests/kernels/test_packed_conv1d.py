"""Convolution over packed rows against torch's own, one sequence at a time."""

import pytest
import torch
import torch.nn.functional as F

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.packed_conv1d import packed_conv1d


def _packed(lengths: list[int], channels: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(lengths), channels, generator=generator)
    return x, torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        (1, 1, (0, 0), 1),
        (3, 1, (1, 1), 1),
        (11, 1, (25, 25), 5),
        (3, 2, (1, 1), 1),
        (16, 8, (4, 4), 1),
        (3, 1, (2, 0), 1),
    ],
)
@pytest.mark.parametrize("lengths", [[9], [17, 1, 8, 33]])
def test_each_sequence_as_if_alone(
    kernel: int, stride: int, padding: tuple[int, int], dilation: int, lengths: list[int]
) -> None:
    x, cu_seqlens = _packed(lengths, 5)
    weight = torch.randn(7, 5, kernel, generator=torch.Generator().manual_seed(1))
    bias = torch.randn(7, generator=torch.Generator().manual_seed(2))
    y, cu_out = packed_conv1d(x, weight, bias, cu_seqlens, stride=stride, padding=padding, dilation=dilation)
    expected = []
    for rows in x.split(lengths):
        padded = F.pad(rows.t()[None], padding)
        if padded.shape[-1] >= dilation * (kernel - 1) + 1:
            expected.append(F.conv1d(padded, weight, bias, stride=stride, dilation=dilation)[0].t())
        else:
            expected.append(torch.zeros(0, 7))
    torch.testing.assert_close(y, torch.cat(expected))
    assert cu_out.diff().tolist() == [len(e) for e in expected]
    assert cu_out.dtype == torch.int32


def test_gradients() -> None:
    x, cu_seqlens = _packed([4, 6], 2)
    weight = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    inputs = (x.double().requires_grad_(), weight, bias)
    assert torch.autograd.gradcheck(lambda *a: packed_conv1d(*a, cu_seqlens, stride=2, padding=(1, 1))[0], inputs)


def test_refuses_a_weight_of_other_channels() -> None:
    x, cu_seqlens = _packed([4], 2)
    with pytest.raises(KernelArgumentError, match=r"weight has shape \[3, 4, 3\]; expected \[any, 2, any\]"):
        packed_conv1d(x, torch.zeros(3, 4, 3), None, cu_seqlens)
