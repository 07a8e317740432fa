"""What a convolution may do to its sums before they are written."""

from typing import Final, Literal

import torch
import torch.nn.functional as F

Activation = Literal["elu", "gelu", "leaky_relu"]
ACTIVATIONS: Final = ("elu", "gelu")  # those without a setting


def activate(y: torch.Tensor, activation: Activation | None) -> torch.Tensor:
    """`activation` of each value; differentiable."""
    if activation == "elu":
        # torch's own rounds the last few values of a tensor otherwise: a value would hear where it lies.
        return F.relu(y) + torch.expm1(y.clamp(max=0))
    if activation == "gelu":
        return F.gelu(y)
    return y
