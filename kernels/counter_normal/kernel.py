"""`counter_normal` in Triton: each normal from its own counter, whatever was drawn before.

Four neighbours share a counter and each draws it anew: ten rounds of integer products are cheaper than an exchange
between threads, and a sequence may begin anywhere within a counter.
"""

import math

import torch
import triton
import triton.language as tl

from antiphon.kernels.counter_normal.tuned import BLOCK, WARPS
from antiphon.kernels.jit_functions import cosine, sequence_of, sine

_STEP = tl.constexpr(2.0**-24)
_ANGLE_STEP = tl.constexpr(2 * math.pi * 2.0**-24)


@triton.jit(do_not_specialize=["sequences", "steps", "stream", "rows"])
def _counter_normal(
    seeds,  # i64[S]
    first,  # i64[S]
    cu_seqlens,  # i32[S + 1]
    y,  # f32[rows]
    sequences,
    steps,
    stream,
    rows,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    sequence = sequence_of(cu_seqlens, row, sequences, steps, 0)
    number = tl.load(first + sequence) + (row - tl.load(cu_seqlens + sequence))
    counter, place = number >> 2, number & 3
    low, high = (counter & 0xFFFFFFFF).to(tl.uint32), (counter >> 32).to(tl.uint32)
    of_stream = (low * 0 + stream).to(tl.uint32)
    w0, w1, w2, w3 = tl.philox(tl.load(seeds + sequence), low, high, of_stream, low * 0)
    radius_word, angle_word = tl.where(place < 2, w0, w2), tl.where(place < 2, w1, w3)
    radius = tl.sqrt(-2.0 * tl.log(((radius_word >> 8) + 1).to(tl.float32) * _STEP))
    angle = (angle_word >> 8).to(tl.float32) * _ANGLE_STEP
    normal = radius * tl.where((place & 1) == 0, cosine(angle), sine(angle))
    tl.store(y + row, normal, mask=row < rows)


def counter_normal(
    seeds: torch.Tensor,  # i64[S]
    first: torch.Tensor,  # i64[S]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    stream: int,
    rows: int,
) -> torch.Tensor:
    """As the reference, to the last bit in its uniform draws; nothing is read from the device."""
    sequences = len(seeds)
    y = torch.empty(rows, dtype=torch.float32, device=seeds.device)
    if rows:
        _counter_normal[(triton.cdiv(rows, BLOCK),)](
            seeds,
            first,
            cu_seqlens,
            y,
            sequences,
            (sequences - 1).bit_length(),
            stream,
            rows,
            BLOCK=BLOCK,
            num_warps=WARPS,
        )
    return y
