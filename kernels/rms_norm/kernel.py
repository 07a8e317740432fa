"""`rms_norm` in Triton: a program takes one row whole, adds the residual where there is one, and norms the sum."""

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check, check_dtype
from antiphon.kernels.rms_norm.tuned import warps_for


@triton.jit
def _rms_norm(
    x,  # f[N, H]
    residual,  # f[N, H], or any pointer
    weight,  # f[H]
    normed,  # f[N, H]
    stream,  # f[N, H], or any pointer
    width,  # H
    x_stride,
    residual_stride,
    eps,
    HAS_RESIDUAL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    value = tl.load(x + row * x_stride + column, mask=inside, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        value += tl.load(residual + row * residual_stride + column, mask=inside, other=0.0).to(tl.float32)
        total = value.to(stream.dtype.element_ty)  # what is normed is the sum as it is kept
        tl.store(stream + row * width + column, total, mask=inside)
        value = total.to(tl.float32)
    scale = tl.rsqrt(tl.sum(value * value, axis=0) / width + eps)
    gain = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + row * width + column, (gain * (value * scale)).to(normed.dtype.element_ty), mask=inside)


def rms_norm(
    x: torch.Tensor,  # f[N, H]
    weight: torch.Tensor,  # f[H]
    eps: float,
    residual: torch.Tensor | None = None,  # f[N, H]
) -> tuple[torch.Tensor, torch.Tensor]:
    """As the reference, for float32, bfloat16 and float16."""
    check_dtype("x", x, *KERNEL_FLOATS)
    rows, width = x.shape
    check(width <= 1 << 16, f"rows have {width} values; the Triton kernel takes at most {1 << 16} in one program.")
    normed = torch.empty(rows, width, dtype=x.dtype, device=x.device)
    stream = x if residual is None else torch.empty_like(normed)
    if normed.numel():
        _rms_norm[(rows,)](
            x,
            x if residual is None else residual,
            weight,
            normed,
            stream,
            width,
            x.stride(0),
            0 if residual is None else residual.stride(0),
            eps,
            HAS_RESIDUAL=residual is not None,
            BLOCK=triton.next_power_of_2(width),
            num_warps=warps_for(width),
        )
    return normed, stream
