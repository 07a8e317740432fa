"""The vocoder's residual block: for each layer Snake, dilated convolution, Snake, plain convolution, beside a residual.

    x ← x + plain(snake₂(dilated(snake₁(x))))

Each sequence sees zeros beyond its own ends, and every convolution keeps its length. In one operation so that a
convolution can write the next one's input while its own sums are still in registers.

Source: zai-org/GLM-4-Voice, cosyvoice/hifigan/generator.py (`ResBlock`).
"""

from collections.abc import Sequence

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.registry import Op
from antiphon.kernels.residual_block import reference
from antiphon.kernels.residual_block.layer import ResidualLayer

__all__ = ["OP", "ResidualLayer", "residual_block"]

OP = Op("residual_block", reference.residual_block, "antiphon.kernels.residual_block.kernel")


def residual_block(
    x: torch.Tensor,  # f[ΣT, C]
    layers: Sequence[ResidualLayer],  # at least one, all of x's dtype
    cu_seqlens: torch.Tensor,  # i32[S + 1]
) -> torch.Tensor:
    """Return f[ΣT, C]."""
    check_shape("x", x, (None, None))
    check_shape("cu_seqlens", cu_seqlens, (None,))
    check(x.is_floating_point(), f"x is {x.dtype}; expected a floating-point dtype.")
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check(
        len(cu_seqlens) >= 2, f"cu_seqlens has {len(cu_seqlens)} entries; expected one more than there are sequences."
    )
    check(len(layers) >= 1, "layers is empty; expected at least one.")
    channels = x.shape[1]
    for n, layer in enumerate(layers):
        for name in ("weight_1", "weight_2"):
            weight = getattr(layer, name)
            check_shape(f"{name} of layer {n}", weight, (channels, channels, None))
            check(weight.shape[2] % 2 == 1, f"{name} of layer {n} has {weight.shape[2]} taps; expected an odd number.")
        for name in ("alpha_1", "bias_1", "alpha_2", "bias_2"):
            check_shape(f"{name} of layer {n}", getattr(layer, name), (channels,))
        for name, tensor in layer.tensors().items():
            check_dtype(f"{name} of layer {n}", tensor, x.dtype)
        check_same_device(x=x, cu_seqlens=cu_seqlens, **layer.tensors())
        check(layer.dilation >= 1, f"the dilation of layer {n} is {layer.dilation}; expected at least 1.")
    return OP.implementation(x.device)(x, layers, cu_seqlens)
