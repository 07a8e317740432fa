"""RMS normalisation of each row, in float32, times a weight: y = weight · x / sqrt(mean(x²) + eps).

Source: Zhang & Sennrich 2019 (arXiv 1910.07467); rounding as RMSNorm in glm-4-voice-9b's modeling_chatglm.py, once, at
the end.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.registry import Op
from antiphon.kernels.rms_norm import reference

OP = Op("rms_norm", reference.rms_norm)


def rms_norm(
    x: torch.Tensor,  # f[N, H]
    weight: torch.Tensor,  # f[H], of x's dtype
    eps: float,
) -> torch.Tensor:
    """f[N, H] of x's dtype. Rows are independent of each other."""
    check_shape("x", x, (None, None))
    check_shape("weight", weight, (x.shape[1],))
    check(x.is_floating_point(), f"x is {x.dtype}; expected a floating-point dtype.")
    check_dtype("weight", weight, x.dtype)
    check_same_device(x=x, weight=weight)
    return OP.implementation(x.device)(x, weight, eps)
