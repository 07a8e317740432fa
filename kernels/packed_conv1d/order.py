"""The orders in memory in which convolutions read their weights fastest."""

import torch


def taps_outermost(
    weight: torch.Tensor,  # f[C_out, C_in, K] or, of a transposed convolution, f[C_in, C_out, K]
) -> torch.Tensor:
    """The same tensor with the taps outermost in memory, so that one tap's weights lie together: rows to be copied
    whole. Kernels take any order; in the checkpoints' own the copies are of single values."""
    return weight.movedim(2, 0).contiguous().movedim(0, 2)


def channels_innermost(
    weight: torch.Tensor,  # f[C_out, C_in, K] or, of a transposed convolution, f[C_in, C_out, K]
) -> torch.Tensor:
    """The same tensor as a channels-last image of height one: what the references' convolutions take as it lies, where
    any other order is changed anew in every call."""
    return weight.transpose(1, 2).contiguous().transpose(1, 2)
