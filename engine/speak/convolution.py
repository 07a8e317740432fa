"""Convolutions as modules over packed rows, with the names and shapes of the checkpoint's tensors."""

import math

import torch
from torch import nn

from antiphon.kernels.packed_conv1d import packed_conv1d
from antiphon.kernels.packed_conv1d.activations import Activation
from antiphon.kernels.packed_conv_transpose1d import packed_conv_transpose1d


class PackedConv1d(nn.Module):
    """torch.nn.Conv1d on each packed sequence alone; zeros beyond its ends."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, kernel))
        self.bias = nn.Parameter(torch.empty(channels_out))
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        _initialise(self.weight, self.bias, fan_in=channels_in * kernel)

    def forward(
        self,
        x: torch.Tensor,  # f[ΣT, C_in]
        cu_seqlens: torch.Tensor,  # i32[S + 1]
        out_rows: int | None = None,  # ΣT_out, where it is known and not ΣT
        activation: Activation | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (f[ΣT_out, C_out], its cu_seqlens)."""
        return packed_conv1d(
            x,
            self.weight,
            self.bias,
            cu_seqlens,
            stride=self.stride,
            padding=(self.padding, self.padding),
            dilation=self.dilation,
            out_rows=out_rows,
            activation=activation,
        )


class PackedConvTranspose1d(nn.Module):
    """torch.nn.ConvTranspose1d on each packed sequence alone."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int, padding: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_in, channels_out, kernel))
        self.bias = nn.Parameter(torch.empty(channels_out))
        self.stride = stride
        self.padding = padding
        _initialise(self.weight, self.bias, fan_in=channels_out * kernel)

    def forward(
        self,
        x: torch.Tensor,  # f[ΣT, C_in]
        cu_seqlens: torch.Tensor,  # i32[S + 1]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (f[ΣT_out, C_out], its cu_seqlens)."""
        return packed_conv_transpose1d(x, self.weight, self.bias, cu_seqlens, stride=self.stride, padding=self.padding)


def _initialise(weight: nn.Parameter, bias: nn.Parameter, *, fan_in: int) -> None:
    """The uniform distribution that torch gives its own convolutions, which the official training starts from."""
    bound = 1 / math.sqrt(fan_in)
    nn.init.uniform_(weight, -bound, bound)
    nn.init.uniform_(bias, -bound, bound)
