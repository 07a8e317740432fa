"""The residual feed-forward of a transformer block, with the exact GELU (by erf).

    y = x + gelu(layer_norm(x) · W₁ᵀ + b₁) · W₂ᵀ + b₂

Source: shivammehta25/Matcha-TTS, matcha/models/components/transformer.py, `FeedForward` with activation "gelu", and its
residual.
"""

import torch

from antiphon.kernels.checks import check_dtype, check_same_device, check_shape
from antiphon.kernels.feed_forward_gelu import reference
from antiphon.kernels.registry import Op

OP = Op("feed_forward_gelu", reference.feed_forward_gelu, "antiphon.kernels.feed_forward_gelu.kernel")


def feed_forward_gelu(
    x: torch.Tensor,  # f[N, C]
    norm_weight: torch.Tensor,  # f[C]
    norm_bias: torch.Tensor,  # f[C]
    weight_1: torch.Tensor,  # f[F, C]
    bias_1: torch.Tensor,  # f[F]
    weight_2: torch.Tensor,  # f[C, F]
    bias_2: torch.Tensor,  # f[C]
    *,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Return f[N, C]."""
    check_shape("x", x, (None, None))
    channels, inner = x.shape[1], weight_1.shape[0]
    check_shape("weight_1", weight_1, (None, channels))
    check_shape("weight_2", weight_2, (channels, inner))
    check_shape("bias_1", bias_1, (inner,))
    for name, vector in (("norm_weight", norm_weight), ("norm_bias", norm_bias), ("bias_2", bias_2)):
        check_shape(name, vector, (channels,))
    check_dtype("weight_1", weight_1, x.dtype)
    check_dtype("weight_2", weight_2, x.dtype)
    check_same_device(x=x, weight_1=weight_1, weight_2=weight_2)
    run = OP.implementation(x.device)
    return run(x, norm_weight, norm_bias, weight_1, bias_1, weight_2, bias_2, eps=eps)
