"""The nearest code of a codebook by squared Euclidean distance, exactly: of equally near codes the first.

Source: van den Oord et al. 2017 (arXiv 1711.00937); zai-org/GLM-4-Voice, speech_tokenizer/modeling_whisper.py.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.registry import Op
from antiphon.kernels.vq_nearest import reference

OP = Op("vq_nearest", reference.vq_nearest, "antiphon.kernels.vq_nearest.kernel")


def vq_nearest(
    x: torch.Tensor,  # f32[N, D]
    codebook: torch.Tensor,  # f32[K, D]
) -> torch.Tensor:
    """i64[N]: for each row of `x`, the index of its code. Both arguments must be finite."""
    check_shape("x", x, (None, None))
    check_shape("codebook", codebook, (None, x.shape[1]))
    check_dtype("x", x, torch.float32)
    check_dtype("codebook", codebook, torch.float32)
    check_same_device(x=x, codebook=codebook)
    check(codebook.shape[0] >= 1, "the codebook is empty; expected at least one code.")
    return OP.implementation(x.device)(x, codebook)
