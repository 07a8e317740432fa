"""`swiglu` in Triton: a program makes a run of one row's values."""

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check_dtype
from antiphon.kernels.swiglu.tuned import COLUMNS, WARPS


@triton.jit
def _swiglu(
    gate_up,  # f[N, 2F]
    y,  # f[N, F]
    width,  # F
    row_stride,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    at = gate_up + row * row_stride + column
    gate = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(at + width, mask=inside, other=0.0).to(tl.float32)
    gated = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(y + row * width + column, gated.to(y.dtype.element_ty), mask=inside)


def swiglu(
    gate_up: torch.Tensor,  # f[N, 2F]
) -> torch.Tensor:
    """As the reference, for float32, bfloat16 and float16."""
    check_dtype("gate_up", gate_up, *KERNEL_FLOATS)
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    y = torch.empty(rows, width, dtype=gate_up.dtype, device=gate_up.device)
    if y.numel():
        _swiglu[(rows, triton.cdiv(width, COLUMNS))](
            gate_up, y, width, gate_up.stride(0), BLOCK=COLUMNS, num_warps=WARPS
        )
    return y
