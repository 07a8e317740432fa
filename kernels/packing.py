"""Rows of several sequences in one tensor, for the references: kernels index with `cu_seqlens` on the device instead."""

import torch


def sequences_of(
    x: torch.Tensor,  # [ΣT, ...]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
) -> tuple[torch.Tensor, ...]:
    """Views of each sequence's rows. One sequence reads nothing from the device: its length is the row count."""
    if len(cu_seqlens) == 2:
        return (x,)
    return torch.split(x, cu_seqlens.diff().tolist())
