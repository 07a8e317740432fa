"""Rotate queries and keys by their positions and, where there is a paged KV cache, write keys and values into it.

Of each head the first 2R dimensions are rotated, in interleaved pairs (2i, 2i + 1); the rest passes through. Slot
`page · page_size + offset` of the cache takes the row whose `slot_mapping` names it; every slot is named at most once.

Source: Su et al. 2021 (arXiv 2104.09864); pairs and half rotation as apply_rotary_pos_emb in glm-4-voice-9b's
modeling_chatglm.py; pages as in Kwon et al. 2023 (arXiv 2309.06180).
"""

import torch

from antiphon.kernels.checks import (
    check,
    check_contiguous,
    check_dtype,
    check_same_device,
    check_shape,
    check_unit_stride,
)
from antiphon.kernels.registry import Op
from antiphon.kernels.rope_paged_write import reference

OP = Op("rope_paged_write", reference.rope_paged_write, "antiphon.kernels.rope_paged_write.kernel")


def rope_paged_write(
    q: torch.Tensor,  # f[N, heads, D]
    k: torch.Tensor,  # f[N, kv_heads, D], of q's dtype
    v: torch.Tensor,  # f[N, kv_heads, D], of q's dtype
    cos_sin: torch.Tensor,  # f32[N, R, 2]: cosine and sine of each row's R angles, already rounded as the model wants
    k_pages: torch.Tensor | None = None,  # f[pages, page_size, kv_heads, D], written in place
    v_pages: torch.Tensor | None = None,  # f[pages, page_size, kv_heads, D], written in place
    slot_mapping: torch.Tensor | None = None,  # i64[N]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(rotated q f[N, heads, D], rotated k f[N, kv_heads, D]) of q's dtype; computed in float32, rounded once."""
    check_shape("q", q, (None, None, None))
    rows, _, head_dim = q.shape
    check_shape("k", k, (rows, None, head_dim))
    check_shape("v", v, tuple(k.shape))
    check_shape("cos_sin", cos_sin, (rows, None, 2))
    check(q.is_floating_point(), f"q is {q.dtype}; expected a floating-point dtype.")
    check_dtype("k", k, q.dtype)
    check_dtype("v", v, q.dtype)
    check_dtype("cos_sin", cos_sin, torch.promote_types(q.dtype, torch.float32))
    check(2 * cos_sin.shape[1] <= head_dim, f"{cos_sin.shape[1]} pairs to rotate do not fit into a head of {head_dim}.")
    check_same_device(q=q, k=k, v=v, cos_sin=cos_sin)
    check_unit_stride(q=q, k=k, v=v)
    given = [x is not None for x in (k_pages, v_pages, slot_mapping)]
    check(all(given) or not any(given), "k_pages, v_pages and slot_mapping must be given together or not at all.")
    if k_pages is not None and v_pages is not None and slot_mapping is not None:
        check_shape("k_pages", k_pages, (None, None, k.shape[1], head_dim))
        check_shape("v_pages", v_pages, tuple(k_pages.shape))
        check_shape("slot_mapping", slot_mapping, (rows,))
        check_dtype("k_pages", k_pages, q.dtype)
        check_dtype("v_pages", v_pages, q.dtype)
        check_dtype("slot_mapping", slot_mapping, torch.int64)
        check_contiguous(k_pages=k_pages, v_pages=v_pages, slot_mapping=slot_mapping)
        check_same_device(q=q, k_pages=k_pages, v_pages=v_pages, slot_mapping=slot_mapping)
    return OP.implementation(q.device)(q, k, v, cos_sin, k_pages, v_pages, slot_mapping)
