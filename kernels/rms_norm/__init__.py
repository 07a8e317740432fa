"""RMS normalisation of each row, in float32, times a weight: y = weight · x / sqrt(mean(x²) + eps).

Where a residual is given it is added first, and the sum, rounded to the dtype, is returned beside its norm: the stream
that the next layer adds to.

Source: Zhang & Sennrich 2019 (arXiv 1910.07467); rounding as RMSNorm in glm-4-voice-9b's modeling_chatglm.py, once, at
the end.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape, check_unit_stride
from antiphon.kernels.registry import Op
from antiphon.kernels.rms_norm import reference

OP = Op("rms_norm", reference.rms_norm, "antiphon.kernels.rms_norm.kernel")


def rms_norm(
    x: torch.Tensor,  # f[N, H]
    weight: torch.Tensor,  # f[H], of x's dtype
    eps: float,
    residual: torch.Tensor | None = None,  # f[N, H], of x's dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """(the norm f[N, H], what was normed f[N, H]) of x's dtype; the second is x itself without a residual.

    Rows are independent of each other.
    """
    check_shape("x", x, (None, None))
    check_shape("weight", weight, (x.shape[1],))
    check(x.is_floating_point(), f"x is {x.dtype}; expected a floating-point dtype.")
    check_dtype("weight", weight, x.dtype)
    check_same_device(x=x, weight=weight)
    check_unit_stride(x=x, weight=weight)
    if residual is not None:
        check_shape("residual", residual, tuple(x.shape))
        check_dtype("residual", residual, x.dtype)
        check_same_device(x=x, residual=residual)
        check_unit_stride(residual=residual)
    return OP.implementation(x.device)(x, weight, eps, residual)
