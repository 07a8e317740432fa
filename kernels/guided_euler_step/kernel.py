"""`guided_euler_step` in Triton: guidance and step in one pass, each row's pair found through `cu_seqlens`."""

import torch
import triton
import triton.language as tl

from antiphon.kernels.guided_euler_step.tuned import BLOCK, WARPS
from antiphon.kernels.jit_functions import sequence_of


@triton.jit(do_not_specialize=["sequences", "steps", "values"])
def _guided_euler_step(
    x,  # f32[ΣT, C]
    velocity,  # f[2·ΣT, C]
    dt,  # f32[S]
    cu_seqlens,  # i32[S + 1]
    y,  # f32[ΣT, C]
    sequences,
    steps,
    values,
    channels,
    guidance,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = at < values
    row = (at // channels).to(tl.int32)
    sequence = sequence_of(cu_seqlens, row, sequences, steps, 0)
    start = tl.load(cu_seqlens + sequence)
    length = tl.load(cu_seqlens + sequence + 1) - start
    conditional = at + start.to(tl.int64) * channels  # the pairs before it have twice its rows
    v_c = tl.load(velocity + conditional, mask=mask, other=0.0).to(tl.float32)
    v_u = tl.load(velocity + conditional + length.to(tl.int64) * channels, mask=mask, other=0.0).to(tl.float32)
    guided = (1.0 + guidance) * v_c - guidance * v_u
    step = tl.load(dt + sequence)
    tl.store(y + at, tl.load(x + at, mask=mask, other=0.0) + step * guided, mask=mask)


def guided_euler_step(
    x: torch.Tensor,  # f32[ΣT, C]
    velocity: torch.Tensor,  # f[2·ΣT, C]
    dt: torch.Tensor,  # f32[S]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    guidance: float,
) -> torch.Tensor:
    """As the reference; nothing is read from the device."""
    x, velocity = x.contiguous(), velocity.contiguous()
    y = torch.empty_like(x)
    sequences = len(dt)
    if x.numel():
        _guided_euler_step[(triton.cdiv(x.numel(), BLOCK),)](
            x,
            velocity,
            dt,
            cu_seqlens,
            y,
            sequences,
            (sequences - 1).bit_length(),
            x.numel(),
            x.shape[1],
            guidance,
            BLOCK=BLOCK,
            num_warps=WARPS,
        )
    return y
