"""`counter_normal` in plain torch."""

import math
from typing import Final

import torch

from antiphon.kernels.sample.philox import philox_4x32

_WORD: Final = 0xFFFF_FFFF
_PER_COUNTER: Final = 4  # normals
# Counters are drawn in whole lines of 64 and at most 128 lines a time. In such tensors torch's logarithm and cosine
# take no value by another path than its neighbours (the last few of a tensor, or of a thread's share, would round
# differently); and the words of one go stay in the processor's cache.
_LINE: Final = 64
_AT_ONCE: Final = 128 * _LINE


def counter_normal(
    seeds: torch.Tensor,  # i64[S]
    first: torch.Tensor,  # i64[S]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    stream: int,
    rows: int,
) -> torch.Tensor:
    """The definition of correct."""
    counts = cu_seqlens.diff().tolist()
    spans = zip(seeds, first.tolist(), counts, strict=True)
    pieces = [_one(seed, start, count, stream) for seed, start, count in spans if count]
    if not pieces:
        return torch.zeros(rows, device=seeds.device)
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _one(
    seed: torch.Tensor,  # i64[]
    start: int,
    count: int,
    stream: int,
) -> torch.Tensor:
    """f32[count], normals `start` and on."""
    opens = start // (_PER_COUNTER * _LINE) * _LINE
    closes = -(-(start + count) // (_PER_COUNTER * _LINE)) * _LINE
    lines = [
        _normals(torch.arange(at, min(at + _AT_ONCE, closes), device=seed.device), seed, stream)
        for at in range(opens, closes, _AT_ONCE)
    ]
    skipped = start - opens * _PER_COUNTER
    return torch.cat(lines)[skipped : skipped + count]


def _normals(
    counters: torch.Tensor,  # i64[C]
    seed: torch.Tensor,  # i64[]
    stream: int,
) -> torch.Tensor:
    """f32[4 · C]."""
    zero = torch.zeros_like(seed)
    words = philox_4x32(
        (counters & _WORD, counters >> 32, zero + stream, zero),
        (seed & _WORD, seed >> 32),
    )
    pairs = [_box_muller(words[0], words[1]), _box_muller(words[2], words[3])]
    return torch.stack([normal for pair in pairs for normal in pair], dim=1).flatten()


def _box_muller(
    radius_word: torch.Tensor,  # i64[C], unsigned 32-bit words
    angle_word: torch.Tensor,  # i64[C]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two f32[C]."""
    radius = torch.sqrt(-2 * torch.log(((radius_word >> 8) + 1).float() * 2**-24))
    angle = (angle_word >> 8).float() * (2 * math.pi * 2**-24)
    return radius * torch.cos(angle), radius * torch.sin(angle)
