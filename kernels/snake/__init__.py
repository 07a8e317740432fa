"""Snake activation, `x + sin²(α·x) / (α + 1e-9)`, with one α a channel.

Source: zai-org/GLM-4-Voice cosyvoice/transformer/activation.py (linear α); Ziyin et al. 2020, arXiv:2006.08195.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.registry import Op
from antiphon.kernels.snake import reference

OP = Op("snake", reference.snake, "antiphon.kernels.snake.kernel")


def snake(
    x: torch.Tensor,  # f[N, C]
    alpha: torch.Tensor,  # f[C], of x's dtype
) -> torch.Tensor:
    """Return f[N, C] of x's dtype; the sine is taken in float32 or better."""
    check_shape("x", x, (None, None))
    check_shape("alpha", alpha, (x.shape[1],))
    check(x.is_floating_point(), f"x is {x.dtype}; expected a floating-point dtype.")
    check_dtype("alpha", alpha, x.dtype)
    check_same_device(x=x, alpha=alpha)
    return OP.implementation(x.device)(x, alpha)
