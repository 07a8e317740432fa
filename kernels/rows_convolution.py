"""Convolutions of rows for the references, in the memory order the rows already have.

Rows with their channels last are a channels-last image of height one. Told so, the library convolves them as they lie
and gives rows back; as `conv1d` it would reorder both, which costs up to twice the convolution itself.
"""

import torch
import torch.nn.functional as F


def convolve(
    rows: torch.Tensor,  # f[B, T, C_in]
    weight: torch.Tensor,  # f[C_out, C_in, K]
    bias: torch.Tensor | None,  # f[C_out]
    *,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),  # zeros before the first row and after the last
    dilation: int = 1,
) -> torch.Tensor:
    """f[B, T_out, C_out], each of the B sequences by itself. Differentiable."""
    left, right = padding
    if left != right:
        rows, left = F.pad(rows, (0, 0, left, right)), 0
    image = as_image(rows)
    return as_rows(
        F.conv2d(image, weight.unsqueeze(2), bias, stride=(1, stride), padding=(0, left), dilation=(1, dilation))
    )


def convolve_transposed(
    rows: torch.Tensor,  # f[B, T, C_in]
    weight: torch.Tensor,  # f[C_in, C_out, K]
    bias: torch.Tensor | None,  # f[C_out]
    *,
    stride: int,
    padding: int = 0,
) -> torch.Tensor:
    """f[B, T_out, C_out], each of the B sequences by itself. Differentiable."""
    image = as_image(rows)
    return as_rows(F.conv_transpose2d(image, weight.unsqueeze(2), bias, stride=(1, stride), padding=(0, padding)))


def as_image(rows: torch.Tensor) -> torch.Tensor:
    """A view of f[B, T, C] as f[B, C, 1, T]."""
    return rows.transpose(1, 2).unsqueeze(2)


def as_rows(image: torch.Tensor) -> torch.Tensor:
    """A view of f[B, C, 1, T] as f[B, T, C]."""
    return image.squeeze(2).transpose(1, 2)
