"""`snake` in Triton: one pass over the values. Where a convolution comes before, its epilogue does this instead."""

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check_dtype
from antiphon.kernels.jit_functions import snake_of
from antiphon.kernels.snake.tuned import BLOCK, WARPS


@triton.jit(do_not_specialize=["values"])
def _snake(
    x,  # f[values]
    alpha,  # f[C]
    y,  # f[values]
    values,
    channels,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = at < values
    rate = tl.load(alpha + at % channels, mask=mask, other=1.0).to(tl.float32)
    wide = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(y + at, snake_of(wide, rate).to(y.dtype.element_ty), mask=mask)


def snake(
    x: torch.Tensor,  # f[N, C]
    alpha: torch.Tensor,  # f[C]
) -> torch.Tensor:
    """As the reference, for float32, bfloat16 and float16."""
    check_dtype("x", x, *KERNEL_FLOATS)
    x = x.contiguous()
    y = torch.empty_like(x)
    if x.numel():
        _snake[(triton.cdiv(x.numel(), BLOCK),)](x, alpha, y, x.numel(), x.shape[1], BLOCK=BLOCK, num_warps=WARPS)
    return y
