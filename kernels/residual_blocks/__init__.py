"""The vocoder's residual blocks beside one another: their mean, and a leaky ReLU where the next layer begins with one.

Each block goes through its layers: Snake, dilated convolution, Snake, plain convolution, added to what came.

    x ← x + plain(snake₂(dilated(snake₁(x))))

Each sequence sees zeros beyond its own ends, and every convolution keeps its length. In one operation so that a
convolution can write the next one's input while its own sums are still in registers.

Source: zai-org/GLM-4-Voice, cosyvoice/hifigan/generator.py (`ResBlock`, and their mean in `HiFTGenerator.decode`).
"""

from collections.abc import Sequence

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.registry import Op
from antiphon.kernels.residual_blocks import reference
from antiphon.kernels.residual_blocks.layer import ResidualLayer

__all__ = ["OP", "ResidualLayer", "residual_blocks"]

OP = Op("residual_blocks", reference.residual_blocks, "antiphon.kernels.residual_blocks.kernel")


def residual_blocks(
    x: torch.Tensor,  # f[ΣT, C]
    blocks: Sequence[Sequence[ResidualLayer]],  # at least one of at least one layer, all of x's dtype
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    slope: float = 1.0,  # of the leaky ReLU below 0; 1: none
) -> torch.Tensor:
    """Return f[ΣT, C]."""
    check_shape("x", x, (None, None))
    check_shape("cu_seqlens", cu_seqlens, (None,))
    check(x.is_floating_point(), f"x is {x.dtype}; expected a floating-point dtype.")
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check(
        len(cu_seqlens) >= 2, f"cu_seqlens has {len(cu_seqlens)} entries; expected one more than there are sequences."
    )
    sizes = [len(layers) for layers in blocks]
    check(bool(sizes) and min(sizes) >= 1, f"blocks have {sizes} layers; expected one block or more of at least one.")
    for b, layers in enumerate(blocks):
        for n, layer in enumerate(layers):
            _check_layer(f"of layer {n} of block {b}", layer, x)
    return OP.implementation(x.device)(x, blocks, cu_seqlens, slope=slope)


def _check_layer(where: str, layer: ResidualLayer, x: torch.Tensor) -> None:
    channels = x.shape[1]
    for name, weight in (("weight_1", layer.weight_1), ("weight_2", layer.weight_2)):
        check_shape(f"{name} {where}", weight, (channels, channels, None))
        check(weight.shape[2] % 2 == 1, f"{name} {where} has {weight.shape[2]} taps; expected an odd number.")
    for name, tensor in layer.tensors().items():
        if tensor.ndim != 3:
            check_shape(f"{name} {where}", tensor, (channels,))
        check_dtype(f"{name} {where}", tensor, x.dtype)
    check_same_device(x=x, **layer.tensors())
    check(layer.dilation >= 1, f"the dilation {where} is {layer.dilation}; expected at least 1.")
