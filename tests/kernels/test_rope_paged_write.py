"""Rotation against complex multiplication in float64, and where keys and values are written."""

import pytest
import torch
from compare import assert_close

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.rope_paged_write import rope_paged_write

ROWS, HEADS, KV_HEADS, HEAD_DIM, PAIRS = 5, 4, 2, 16, 4


def _inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    q, k, v = torch.randn(ROWS, HEADS, HEAD_DIM), *torch.randn(2, ROWS, KV_HEADS, HEAD_DIM)
    angles = torch.randn(ROWS, PAIRS) * 100
    return q, k, v, torch.stack((angles.cos(), angles.sin()), -1)


def _formula(x: torch.Tensor, cos_sin: torch.Tensor) -> torch.Tensor:
    pairs = torch.view_as_complex(x[..., : 2 * PAIRS].double().reshape(*x.shape[:2], PAIRS, 2).contiguous())
    turned = pairs * torch.view_as_complex(cos_sin.double()).unsqueeze(1)
    return torch.cat((torch.view_as_real(turned).flatten(-2), x[..., 2 * PAIRS :].double()), -1)


def test_turns_interleaved_pairs_of_the_first_half_and_passes_the_rest() -> None:
    q, k, v, cos_sin = _inputs()
    turned_q, turned_k = rope_paged_write(q, k, v, cos_sin)
    assert_close(turned_q, _formula(q, cos_sin), 1e-6)
    assert_close(turned_k, _formula(k, cos_sin), 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_writes_turned_keys_and_values_to_their_slots_alone(dtype: torch.dtype) -> None:
    *qkv, cos_sin = _inputs()
    q, k, v = (x.to(dtype) for x in qkv)
    pages = torch.full((2, 3, 4, KV_HEADS, HEAD_DIM), 7.0, dtype=dtype)
    slots = torch.tensor([9, 0, 5, 10, 3])
    _, turned = rope_paged_write(q, k, v, cos_sin, pages[0], pages[1], slots)
    for written, expected in zip(pages.flatten(1, 2), (turned, v), strict=True):
        assert torch.equal(written[slots], expected)
        others = [slot for slot in range(12) if slot not in slots.tolist()]
        assert torch.equal(written[others], torch.full_like(written[others], 7.0))


def test_pages_without_slots_are_refused() -> None:
    q, k, v, cos_sin = _inputs()
    pages = torch.zeros(3, 4, KV_HEADS, HEAD_DIM)
    with pytest.raises(KernelArgumentError, match="must be given together or not at all"):
        rope_paged_write(q, k, v, cos_sin, pages, pages)
