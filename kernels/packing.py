"""Rows of several sequences in one tensor, taken apart for the references (kernels index with `cu_seqlens` instead)."""

import torch


def sequences_of(
    x: torch.Tensor,  # [ΣT, ...]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
) -> tuple[torch.Tensor, ...]:
    """Views of each sequence's rows. One sequence reads nothing from the device: its length is the row count."""
    if len(cu_seqlens) == 2:
        return (x,)
    lengths: list[int] = cu_seqlens.diff().tolist()
    return torch.split(x, lengths)
