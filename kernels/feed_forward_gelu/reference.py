"""`feed_forward_gelu` in plain torch."""

import torch
import torch.nn.functional as F


def feed_forward_gelu(
    x: torch.Tensor,  # f[N, C]
    norm_weight: torch.Tensor,  # f[C]
    norm_bias: torch.Tensor,  # f[C]
    weight_1: torch.Tensor,  # f[F, C]
    bias_1: torch.Tensor,  # f[F]
    weight_2: torch.Tensor,  # f[C, F]
    bias_2: torch.Tensor,  # f[C]
    *,
    eps: float,
) -> torch.Tensor:
    """Differentiable; the definition of correct. f[N, C]."""
    normed = F.layer_norm(x, x.shape[1:], norm_weight, norm_bias, eps)
    return x + F.linear(F.gelu(F.linear(normed, weight_1, bias_1)), weight_2, bias_2)
