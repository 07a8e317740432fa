"""The arrays a plan is written into: allocated once, of fixed capacity and address, as a CUDA graph wants them."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from antiphon.scheduler.settings import Settings

Int32Array = npt.NDArray[np.int32]


def shapes(settings: Settings) -> dict[str, tuple[int, ...]]:
    """The shape of each of `PlanBuffers`' arrays."""
    rows, solves = settings.max_rows, settings.max_solves
    return {
        "lm_dialogues": (rows,),
        "lm_ends": (rows,),
        "cu_seqlens": (rows + 1,),
        "context_lens": (rows,),
        "block_tables": (rows, settings.max_row_pages),
        "positions": (settings.max_tokens,),
        "slots": (settings.max_tokens,),
        "dropped": (settings.max_dialogues,),
        "paused": (settings.max_dialogues,),
        "encodes": (settings.max_encodes,),
        "solves": (solves,),
        "solve_steps": (solves,),
        "vocodes": (solves,),
    }


@dataclass(frozen=True)
class PlanBuffers:
    """Each i32; a plan says how many entries of each it wrote. What lies beyond them is left from earlier plans.

    Any writable C-contiguous arrays will do, such as the NumPy views of pinned torch tensors.
    """

    lm_dialogues: Int32Array  # [rows] of the LM forward, in order
    lm_ends: Int32Array  # [rows] 1 where the row computes its last id and its turn waits for the next, else 0
    cu_seqlens: Int32Array  # [rows + 1] where each row's positions begin; the last entry is the number of positions
    context_lens: Int32Array  # [rows] positions visible to a row's last one
    block_tables: Int32Array  # [rows, max_row_pages] each row's pages; entries past its context are not written
    positions: Int32Array  # [tokens] in each row's own sequence
    slots: Int32Array  # [tokens] page · page_size + offset: where each position's key and value go
    dropped: Int32Array  # dialogues whose KV was given up, in order
    paused: Int32Array  # dialogues with work that waits for their playback or their client
    encodes: Int32Array  # dialogues whose waiting audio is encoded now, in order
    solves: Int32Array  # [solves] dialogues whose solve advances now
    solve_steps: Int32Array  # [solves] Euler steps each of them has done; 0: its chunk starts now
    vocodes: Int32Array  # dialogues whose solved chunk is vocoded now

    @classmethod
    def allocate(cls, settings: Settings) -> Self:
        """Zeroed arrays for a scheduler of these settings."""
        return cls(**{name: np.zeros(shape, np.int32) for name, shape in shapes(settings).items()})

    def __post_init__(self) -> None:
        for field in fields(self):
            array = getattr(self, field.name)
            if array.dtype != np.int32 or not array.flags.c_contiguous or not array.flags.writeable:
                raise ValueError(
                    f"buffer {field.name} is {array.dtype}, contiguous {array.flags.c_contiguous}, writeable "
                    f"{array.flags.writeable}; expected writable, contiguous int32"
                )

    def check(self, settings: Settings) -> None:
        """Raise ValueError unless the arrays have the shapes these settings ask for."""
        for name, shape in shapes(settings).items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"buffer {name} has shape {getattr(self, name).shape}; expected {shape}")
