"""The order in memory in which the convolutions' kernels read weights fastest."""

import torch


def taps_outermost(
    weight: torch.Tensor,  # f[C_out, C_in, K] or, of a transposed convolution, f[C_in, C_out, K]
) -> torch.Tensor:
    """The same tensor with the taps outermost in memory, so that one tap's weights lie together: rows to be copied
    whole. Kernels take any order; in the checkpoints' own the copies are of single values."""
    return weight.movedim(2, 0).contiguous().movedim(0, 2)
