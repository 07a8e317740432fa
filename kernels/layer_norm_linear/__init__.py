"""Layer norm followed by one or several projections of the normalised rows: the query, key and value of an attention.

    y_i = layer_norm(x) · weight_iᵀ

Source: shivammehta25/Matcha-TTS, matcha/models/components/transformer.py, `norm1` and the projections of `attn1`.
"""

from collections.abc import Sequence

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape, check_unit_stride
from antiphon.kernels.layer_norm_linear import reference
from antiphon.kernels.registry import Op

OP = Op("layer_norm_linear", reference.layer_norm_linear, "antiphon.kernels.layer_norm_linear.kernel")


def layer_norm_linear(
    x: torch.Tensor,  # f[N, C]
    norm_weight: torch.Tensor,  # f[C]
    norm_bias: torch.Tensor,  # f[C]
    weights: Sequence[torch.Tensor],  # each f[C_i, C]
    *,
    eps: float = 1e-5,
) -> tuple[torch.Tensor, ...]:
    """Return f[N, C_i] for each of `weights`."""
    check(len(weights) > 0, "weights is empty; expected at least one projection.")
    check_shape("x", x, (None, None))
    check_shape("norm_weight", norm_weight, (x.shape[1],))
    check_shape("norm_bias", norm_bias, (x.shape[1],))
    for weight in weights:
        check_shape("weight", weight, (None, x.shape[1]))
        check_dtype("weight", weight, x.dtype)
        check_same_device(x=x, weight=weight)
    check_dtype("norm_weight", norm_weight, x.dtype)
    check_dtype("norm_bias", norm_bias, x.dtype)
    check_same_device(x=x, norm_weight=norm_weight, norm_bias=norm_bias)
    check_unit_stride(x=x, norm_weight=norm_weight, norm_bias=norm_bias)
    return OP.implementation(x.device)(x, norm_weight, norm_bias, weights, eps=eps)
