"""`packed_upsample` in plain torch."""

import torch

from antiphon.kernels.packing import batches_of
from antiphon.kernels.rows_convolution import convolve_transposed


def packed_upsample(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_in, C_out, 4]
    bias: torch.Tensor,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    out_cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    max_seqlen: int,
    out_rows: int,
) -> torch.Tensor:
    """Differentiable; the definition of correct. f[out_rows, C_out]."""
    doubled = [
        convolve_transposed(batch, weight, bias, stride=2, padding=1) for batch in batches_of(x, cu_seqlens, max_seqlen)
    ]
    if len(doubled) == 1 and out_rows == len(doubled[0]) * doubled[0].shape[1]:  # nothing to crop
        return doubled[0].flatten(0, 1)
    sequences = [sequence for batch in doubled for sequence in batch]
    lengths: list[int] = out_cu_seqlens.diff().tolist()
    return torch.cat([sequence[:length] for sequence, length in zip(sequences, lengths, strict=True)])
