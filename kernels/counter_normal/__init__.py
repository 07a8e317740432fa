"""Standard normals drawn from a counter: what number i of a sequence is depends on its seed, its stream and i alone.

So a piece of noise is the same whichever call draws it and wherever the call's pieces were cut, and nothing is kept
between calls. Normals 4c … 4c + 3 come from the four words of Philox-4x32-10 at counter (c's low word, c's high word,
stream, 0), key seed: words 0 and 1 give two normals, words 2 and 3 two more, by Box-Muller on their upper 24 bits (so
none lies beyond 5.77). A stream tells apart what one seed is used for.

Source: Salmon et al. 2011 (doi 10.1145/2063384.2063405); Box and Muller 1958 (doi 10.1214/aoms/1177706645).
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.counter_normal import reference
from antiphon.kernels.registry import Op

OP = Op("counter_normal", reference.counter_normal, "antiphon.kernels.counter_normal.kernel")


def counter_normal(
    seeds: torch.Tensor,  # i64[S], at least 0
    first: torch.Tensor,  # i64[S], at least 0: the index of each sequence's first normal
    cu_seqlens: torch.Tensor,  # i32[S + 1], in normals
    *,
    stream: int,  # 0 to 2³² − 1
    rows: int,  # ΣN, the last of cu_seqlens
) -> torch.Tensor:
    """Return f32[ΣN]."""
    sequences = len(seeds)
    for name, column, length, dtype in (
        ("seeds", seeds, sequences, torch.int64),
        ("first", first, sequences, torch.int64),
        ("cu_seqlens", cu_seqlens, sequences + 1, torch.int32),
    ):
        check_shape(name, column, (length,))
        check_dtype(name, column, dtype)
    check_same_device(seeds=seeds, first=first, cu_seqlens=cu_seqlens)
    check(0 <= stream < 2**32 and rows >= 0, f"{stream=} must be within 0..2³² − 1 and {rows=} at least 0.")
    return OP.implementation(seeds.device)(seeds, first, cu_seqlens, stream=stream, rows=rows)
