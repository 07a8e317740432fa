"""`snake` in plain torch."""

from typing import Final

import torch

_NEVER_ZERO: Final = 1e-9  # added to α before the division, as in the official activation


def snake(
    x: torch.Tensor,  # f[N, C]
    alpha: torch.Tensor,  # f[C]
) -> torch.Tensor:
    """Differentiable; the definition of correct."""
    precision = torch.promote_types(x.dtype, torch.float32)
    wide, rate = x.to(precision), alpha.to(precision)
    return (wide + torch.sin(wide * rate).square() / (rate + _NEVER_ZERO)).to(x.dtype)
