"""Rows of several sequences in one tensor, taken apart for the references (kernels index with `cu_seqlens` instead)."""

from itertools import groupby

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


def batches_of(
    x: torch.Tensor,  # [ΣT, ...]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    max_seqlen: int,
) -> list[torch.Tensor]:
    """Views [B, T, ...] of each run of neighbours of one length T.

    Where all are of one length, nothing is read from the device.
    """
    sequences = len(cu_seqlens) - 1
    if sequences * max_seqlen == len(x):
        return [x.reshape(sequences, max_seqlen, *x.shape[1:])]
    lengths: list[int] = cu_seqlens.diff().tolist()
    runs = [(length, len(list(run))) for length, run in groupby(lengths)]
    parts = torch.split(x, [length * count for length, count in runs])
    return [part.reshape(count, length, *x.shape[1:]) for part, (length, count) in zip(parts, runs, strict=True)]


def sequence_of_row(
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    rows: int,  # ΣT
) -> torch.Tensor:
    """i64[ΣT]: which sequence each row belongs to. Nothing is read from the device."""
    sequences = torch.arange(len(cu_seqlens) - 1, device=cu_seqlens.device)
    return torch.repeat_interleave(sequences, cu_seqlens.diff(), output_size=rows)


def runs_of(
    x: torch.Tensor,  # [ΣT, ...]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
) -> list[torch.Tensor]:
    """`batches_of` where the longest length is not at hand. One sequence reads nothing from the device."""
    if len(cu_seqlens) == 2:
        return [x.unsqueeze(0)]
    return batches_of(x, cu_seqlens, int(cu_seqlens.diff().max()))
