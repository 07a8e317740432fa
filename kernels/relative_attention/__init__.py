"""Block-causal attention with relative positions over packed rows.

    score(i, j) = ((q_i + u) · k_j + (q_i + v) · p_{i − j}) / √D    for keys j of row i's block and of all blocks
    before it

Blocks of `block` rows count from each sequence's own first row. `positions` runs from the furthest past to the furthest
future: row r stands for i − j = max_seqlen − 1 − r.

Source: Dai et al. 2019 (arXiv 1901.02860, section 3.3) in the form of espnet; zai-org/GLM-4-Voice,
cosyvoice/transformer/attention.py, `BlockRelPositionMultiHeadedAttention`: its mask "lower triangle or own block" is
this one.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.registry import Op
from antiphon.kernels.relative_attention import reference

OP = Op("relative_attention", reference.relative_attention)


def relative_attention(
    q: torch.Tensor,  # f[ΣT, H, D]
    k: torch.Tensor,  # f[ΣT, H, D]
    v: torch.Tensor,  # f[ΣT, H, D]
    positions: torch.Tensor,  # f[2·max_seqlen − 1, H, D]
    bias_u: torch.Tensor,  # f[H, D]
    bias_v: torch.Tensor,  # f[H, D]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    max_seqlen: int,  # rows of the longest sequence
    block: int,
    dropout: float = 0.0,  # of the weights, for training
) -> torch.Tensor:
    """Return f[ΣT, H, D]."""
    check_shape("q", q, (None, None, None))
    check_shape("k", k, tuple(q.shape))
    check_shape("v", v, tuple(q.shape))
    check_shape("positions", positions, (2 * max_seqlen - 1, *q.shape[1:]))
    check_shape("bias_u", bias_u, tuple(q.shape[1:]))
    check_shape("bias_v", bias_v, tuple(q.shape[1:]))
    for name, tensor in (("k", k), ("v", v), ("positions", positions)):
        check_dtype(name, tensor, q.dtype)
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check_same_device(q=q, k=k, v=v, positions=positions, cu_seqlens=cu_seqlens)
    check(block >= 1, f"{block=} must be at least 1.")
    run = OP.implementation(q.device)
    return run(q, k, v, positions, bias_u, bias_v, cu_seqlens, max_seqlen=max_seqlen, block=block, dropout=dropout)
