"""`rope_paged_write` in plain torch."""

import torch


def rope_paged_write(
    q: torch.Tensor,  # f[N, heads, D]
    k: torch.Tensor,  # f[N, kv_heads, D]
    v: torch.Tensor,  # f[N, kv_heads, D]
    cos_sin: torch.Tensor,  # f32[N, R, 2]
    k_pages: torch.Tensor | None = None,  # f[pages, page_size, kv_heads, D]
    v_pages: torch.Tensor | None = None,  # f[pages, page_size, kv_heads, D]
    slot_mapping: torch.Tensor | None = None,  # i64[N]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Differentiable in q and k; the definition of correct."""
    q, k = _rotate(q, cos_sin), _rotate(k, cos_sin)
    if k_pages is not None and v_pages is not None and slot_mapping is not None:
        k_pages.flatten(0, 1)[slot_mapping] = k
        v_pages.flatten(0, 1)[slot_mapping] = v
    return q, k


def _rotate(x: torch.Tensor, cos_sin: torch.Tensor) -> torch.Tensor:
    rotated = 2 * cos_sin.shape[1]
    wide = torch.promote_types(x.dtype, torch.float32)
    even, odd = x[..., :rotated].to(wide).reshape(*x.shape[:-1], -1, 2).unbind(-1)
    cos, sin = cos_sin.unsqueeze(1).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)
    return torch.cat((turned.to(x.dtype), x[..., rotated:]), dim=-1)
