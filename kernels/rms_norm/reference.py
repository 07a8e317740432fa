"""`rms_norm` in plain torch."""

import torch


def rms_norm(
    x: torch.Tensor,  # f[N, H]
    weight: torch.Tensor,  # f[H]
    eps: float,
) -> torch.Tensor:
    """Differentiable; the definition of correct."""
    wide = x.float()
    return (weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps))).to(x.dtype)
