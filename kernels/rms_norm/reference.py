"""`rms_norm` in plain torch."""

import torch


def rms_norm(
    x: torch.Tensor,  # f[N, H]
    weight: torch.Tensor,  # f[H]
    eps: float,
    residual: torch.Tensor | None = None,  # f[N, H]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Differentiable; the definition of correct."""
    stream = x if residual is None else x + residual
    wide = stream.to(torch.promote_types(x.dtype, torch.float32))
    normed = weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps))
    return normed.to(x.dtype), stream
