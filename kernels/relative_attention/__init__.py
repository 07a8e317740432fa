"""Block-causal attention with relative positions over packed rows.

    score(i, j) = ((q_i + u) · k_j + (q_i + v) · p_{i − j}) / √D    for keys j of row i's block and of all blocks
    before it

The rows i that ask are the last of each sequence's keys; without `cu_seqlens_k` they are all of them. Blocks of `block`
rows count from each sequence's own first key. `positions` runs from the furthest past to the furthest future: row r
stands for i − j = max_seqlen_k − 1 − r.

Source: Dai et al. 2019 (arXiv 1901.02860, section 3.3) in the form of espnet; zai-org/GLM-4-Voice,
cosyvoice/transformer/attention.py, `BlockRelPositionMultiHeadedAttention`: its mask "lower triangle or own block" is
this one.
"""

import torch

from antiphon.kernels.checks import check, check_contiguous, check_dtype, check_same_device, check_shape
from antiphon.kernels.registry import Op
from antiphon.kernels.relative_attention import reference

OP = Op(
    "relative_attention",
    reference.relative_attention,
    "antiphon.kernels.relative_attention.kernel",
    exceptions="dropout",
)


def relative_attention(
    q: torch.Tensor,  # f[ΣT, H, D]
    k: torch.Tensor,  # f[ΣK, H, D]
    v: torch.Tensor,  # f[ΣK, H, D]
    positions: torch.Tensor,  # f[max_seqlen_k + max_seqlen − 1, H, D]
    bias_u: torch.Tensor,  # f[H, D]
    bias_v: torch.Tensor,  # f[H, D]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    max_seqlen: int,  # rows of the longest sequence
    block: int,
    cu_seqlens_k: torch.Tensor | None = None,  # i32[S + 1]: keys, no fewer than rows; None: as many
    max_seqlen_k: int | None = None,  # keys of the sequence that has most; with `cu_seqlens_k`
    dropout: float = 0.0,  # of the weights, for training
) -> torch.Tensor:
    """Return f[ΣT, H, D]."""
    check(
        (cu_seqlens_k is None) == (max_seqlen_k is None),
        f"{max_seqlen_k=} and cu_seqlens_k go together; expected both or neither.",
    )
    if cu_seqlens_k is None or max_seqlen_k is None:
        cu_seqlens_k, max_seqlen_k, keys = cu_seqlens, max_seqlen, len(q)
    else:
        keys = len(k)
    check_shape("q", q, (None, None, None))
    check_shape("k", k, (keys, *q.shape[1:]))
    check_shape("v", v, (keys, *q.shape[1:]))
    check_shape("cu_seqlens_k", cu_seqlens_k, tuple(cu_seqlens.shape))
    check_dtype("cu_seqlens_k", cu_seqlens_k, torch.int32)
    check_shape("positions", positions, (max_seqlen_k + max_seqlen - 1, *q.shape[1:]))
    check_shape("bias_u", bias_u, tuple(q.shape[1:]))
    check_shape("bias_v", bias_v, tuple(q.shape[1:]))
    check(q.is_floating_point(), f"q is {q.dtype}; expected a floating-point dtype.")
    for name, tensor in (("k", k), ("v", v), ("positions", positions), ("bias_u", bias_u), ("bias_v", bias_v)):
        check_dtype(name, tensor, q.dtype)
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check_same_device(
        q=q,
        k=k,
        v=v,
        positions=positions,
        bias_u=bias_u,
        bias_v=bias_v,
        cu_seqlens=cu_seqlens,
        cu_seqlens_k=cu_seqlens_k,
    )
    check_contiguous(cu_seqlens=cu_seqlens, cu_seqlens_k=cu_seqlens_k)
    check(block >= 1, f"{block=} must be at least 1.")
    return OP.implementation(q.device)(
        q,
        k,
        v,
        positions,
        bias_u,
        bias_v,
        cu_seqlens,
        cu_seqlens_k,
        max_seqlen=max_seqlen,
        max_seqlen_k=max_seqlen_k,
        block=block,
        dropout=dropout,
    )
