"""Tile sizes of `paged_attention`'s kernels, as data: never by the batch, so that no request depends on others."""

from dataclasses import dataclass
from typing import Final

from antiphon.kernels.targets import Target

SPLITS_AT_ONCE: Final = 16  # partial results of a decode that are merged in one step


@dataclass(frozen=True)
class Decode:
    """One program takes one query's heads of one KV head over `split` keys."""

    split: int  # keys; fixed, so that a sequence is cut alike in any batch
    keys: int  # at a step; divides the split
    warps: int
    stages: int


@dataclass(frozen=True)
class Prefill:
    """One program takes some queries' heads of one KV head over all keys they see."""

    rows: int  # queries times heads
    keys: int  # at a step
    warps: int
    stages: int


DECODE: Final[dict[tuple[Target, int], Decode]] = {  # by bytes of a value
    ("sm_80", 4): Decode(split=256, keys=32, warps=4, stages=2),
    ("sm_80", 2): Decode(split=256, keys=64, warps=4, stages=3),
    ("sm_90", 4): Decode(split=256, keys=32, warps=4, stages=2),
    ("sm_90", 2): Decode(split=256, keys=64, warps=4, stages=3),
    ("interpreter", 4): Decode(split=32, keys=16, warps=4, stages=1),
    ("interpreter", 2): Decode(split=32, keys=16, warps=4, stages=1),
}
PREFILL: Final[dict[tuple[Target, int], Prefill]] = {
    ("sm_80", 4): Prefill(rows=32, keys=32, warps=8, stages=2),
    ("sm_80", 2): Prefill(rows=128, keys=64, warps=8, stages=2),
    ("sm_90", 4): Prefill(rows=32, keys=32, warps=8, stages=2),
    ("sm_90", 2): Prefill(rows=128, keys=64, warps=8, stages=3),
    ("interpreter", 4): Prefill(rows=32, keys=16, warps=4, stages=1),
    ("interpreter", 2): Prefill(rows=32, keys=16, warps=4, stages=1),
}
