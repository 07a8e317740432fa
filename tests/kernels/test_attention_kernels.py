"""Attention kernels in Triton's interpreter against the references in float64, and their independence of company.

The interpreter's tiles take 16 keys and 16 rows (32 where queries are packed with their heads); its splits 32 keys.
"""

from itertools import accumulate
from typing import Any

import pytest
import torch
from compare import assert_close
from interpreter import among_nans, interpreted
from kernel_tolerances import KERNEL_TOLERANCE

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.paged_attention import paged_attention
from antiphon.kernels.relative_attention import relative_attention
from antiphon.kernels.varlen_attention import varlen_attention

DTYPES = [torch.float32, torch.bfloat16]


def _cu(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _check(op: str, actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    assert actual.dtype == dtype
    tolerance = KERNEL_TOLERANCE[op, str(dtype).removeprefix("torch.")]
    assert_close(actual.double(), expected, tolerance * float(expected.abs().max()), op)


def _paged(
    query_lens: list[int],
    context_lens: list[int],
    page_size: int,
    shape: tuple[int, int, int],
    dtype: torch.dtype = torch.float32,
    order: list[int] | None = None,
    pages_seed: int = 0,
) -> dict[str, Any]:
    """A call; sequence s holds the same values in any `order` of sequences and pages, and NaN lies around them."""
    heads, kv_heads, head_dim = shape
    order = list(range(len(query_lens))) if order is None else order
    needed = [-(-context // page_size) for context in context_lens]
    pages = torch.randperm(sum(needed) + 1, generator=torch.Generator().manual_seed(pages_seed)).tolist()
    pool = torch.full((2, sum(needed) + 1, page_size, kv_heads, head_dim), torch.nan, dtype=dtype)
    tables = torch.full((len(order), max(needed) + 1), 2**31 - 1, dtype=torch.int32)
    for table, s in zip(tables, order, strict=True):
        own = [pages.pop() for _ in range(needed[s])]
        table[: len(own)] = torch.tensor(own)
        kv = _random(2, context_lens[s], kv_heads, head_dim, seed=100 + s, dtype=dtype)
        for position in range(context_lens[s]):
            pool[:, own[position // page_size], position % page_size] = kv[:, position]
    return {
        "q": among_nans(torch.cat([_random(query_lens[s], heads, head_dim, seed=s, dtype=dtype) for s in order])),
        "k_pages": pool[0],
        "v_pages": pool[1],
        "cu_seqlens_q": _cu([query_lens[s] for s in order]),
        "context_lens": torch.tensor([context_lens[s] for s in order], dtype=torch.int32),
        "block_tables": tables,
        "scale": head_dim**-0.5,
    }


def _wide(call: dict[str, Any]) -> dict[str, Any]:
    return {
        name: x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for name, x in call.items()
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("query_lens", "context_lens", "page_size", "shape"),
    [
        ([1] * 6, [1, 16, 17, 31, 33, 97], 16, (16, 1, 16)),  # decodes: one split, its edges, four of them
        ([1] * 3, [32, 64, 65], 64, (6, 2, 24)),  # eight heads' rows are packed into sixteen
        ([1, 3, 1, 2], [40, 3, 5, 34], 16, (32, 2, 16)),  # two queries a tile
        ([5, 1, 17], [5, 0, 49], 64, (3, 1, 8)),  # a sequence without keys
        ([2, 0], [35, 4], 1, (2, 2, 8)),  # no more queries than sequences, though one has two
    ],
)
def test_paged_attention(
    query_lens: list[int], context_lens: list[int], page_size: int, shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    call = _paged(query_lens, context_lens, page_size, shape, dtype)
    with interpreted():
        out = paged_attention(**call)
    _check("paged_attention", out, paged_attention(**_wide(call)), dtype)


def test_neither_company_nor_order_nor_pages_change_a_bit_of_paged_attention() -> None:
    query_lens, context_lens, shape = [1, 3, 1, 2], [70, 19, 9, 34], (4, 2, 8)
    with interpreted():
        together = paged_attention(**_paged(query_lens, context_lens, 16, shape)).split(query_lens)
        order = [2, 0, 3, 1]
        call = _paged(query_lens, context_lens, 64, shape, order=order, pages_seed=1)
        permuted = paged_attention(**call).split([query_lens[s] for s in order])
        alone = [paged_attention(**_paged(query_lens, context_lens, 16, shape, order=[s])) for s in range(4)]
        decodes = paged_attention(**_paged(query_lens, context_lens, 16, shape, order=[0, 2])).split(1)
    assert all(torch.equal(permuted[place], together[s]) for place, s in enumerate(order))
    assert all(torch.equal(out, whole) for out, whole in zip(alone, together, strict=True))
    assert all(torch.equal(out, together[s]) for out, s in zip(decodes, (0, 2), strict=True))


def test_nan_stays_in_its_sequence() -> None:
    query_lens, context_lens = [1, 1, 2], [20, 40, 5]
    call = _paged(query_lens, context_lens, 16, (2, 1, 8))
    clean = dict(call)
    call["k_pages"] = call["k_pages"].clone()
    call["k_pages"][call["block_tables"][1, 0], 3] = torch.nan
    with interpreted():
        out, expected = paged_attention(**call), paged_attention(**clean)
    assert out[1].isnan().all()
    assert torch.equal(out[[0, 2, 3]], expected[[0, 2, 3]])


def test_a_table_too_short_is_refused_or_becomes_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    call = _paged([1, 1, 2], [20, 40, 33], 16, (2, 1, 8)) | {"scale": 1.0}
    call["block_tables"] = call["block_tables"][:, :2].contiguous()
    with pytest.raises(KernelArgumentError, match="a context of 40 positions needs 3 pages of 16; block_tables has 2"):
        paged_attention(**call)
    from antiphon.kernels.paged_attention import kernel

    with interpreted():  # as on a card, where lengths are not read back
        out = kernel.paged_attention(**call)
    assert out[1:].isnan().all()
    assert out[0].isfinite().all()


QUERY_LENS, KEY_LENS, STARTS = [3, 1, 17, 33, 2], [3, 6, 33, 33, 1], [0, 5, 16, 0, 4]


def _varlen(order: list[int], kv_heads: int, head_dim: int, dtype: torch.dtype) -> dict[str, Any]:
    def rows(lengths: list[int], heads: int, seed: int) -> torch.Tensor:
        parts = [_random(lengths[s], heads, head_dim, seed=seed + s, dtype=dtype) for s in order]
        return among_nans(torch.cat(parts))

    return {
        "q": rows(QUERY_LENS, 4, 0),
        "k": rows(KEY_LENS, kv_heads, 100),
        "v": rows(KEY_LENS, kv_heads, 200),
        "cu_seqlens_q": _cu([QUERY_LENS[s] for s in order]),
        "cu_seqlens_k": _cu([KEY_LENS[s] for s in order]),
        "scale": 0.3,
        "query_starts": torch.tensor([STARTS[s] for s in order], dtype=torch.int32),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("mask", "kv_heads", "head_dim"),
    [
        ({"mask": "full"}, 4, 8),
        ({"mask": "causal"}, 2, 24),
        ({"mask": "causal", "query_starts": None}, 4, 8),
        ({"mask": "block_causal", "block": 4}, 1, 8),
        ({"mask": "block_causal", "block": 20}, 4, 64),
    ],
)
def test_varlen_attention(mask: dict[str, Any], kv_heads: int, head_dim: int, dtype: torch.dtype) -> None:
    sequences = [0, 1, 2, 3] if "query_starts" in mask else [0, 1, 2, 3, 4]  # the last has more queries than keys
    call = _varlen(sequences, kv_heads, head_dim, dtype) | mask
    with interpreted():
        out = varlen_attention(**call)
    _check("varlen_attention", out, varlen_attention(**_wide(call)), dtype)


def test_neither_company_nor_order_changes_a_bit_of_varlen_attention() -> None:
    order = [3, 1, 0, 2]
    mask = {"mask": "block_causal", "block": 4}
    with interpreted():
        together = varlen_attention(**_varlen([0, 1, 2, 3], 2, 8, torch.float32), **mask).split(QUERY_LENS[:4])
        permuted = varlen_attention(**_varlen(order, 2, 8, torch.float32), **mask).split([QUERY_LENS[s] for s in order])
        alone = [varlen_attention(**_varlen([s], 2, 8, torch.float32), **mask) for s in range(4)]
    assert all(torch.equal(permuted[place], together[s]) for place, s in enumerate(order))
    assert all(torch.equal(out, whole) for out, whole in zip(alone, together, strict=True))


def _relative(lengths: list[int], histories: list[int], head_dim: int, dtype: torch.dtype) -> dict[str, Any]:
    keys = [length + history for length, history in zip(lengths, histories, strict=True)]
    offsets = max(lengths) + max(keys) - 1
    q, k, v, positions, biases = (
        among_nans(_random(rows, 2, head_dim, seed=seed, dtype=dtype))
        for seed, rows in enumerate((sum(lengths), sum(keys), sum(keys), offsets, 2))
    )
    given = {"q": q, "k": k, "v": v, "positions": positions, "bias_u": biases[0], "bias_v": biases[1]}
    longest = {"max_seqlen": max(lengths), "max_seqlen_k": max(keys)}
    return given | longest | {"cu_seqlens": _cu(lengths), "cu_seqlens_k": _cu(keys), "block": 10}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("lengths", "histories", "head_dim"), [([1], [0], 8), ([17, 1, 16], [0, 20, 10], 24), ([33], [30], 64)]
)
def test_relative_attention(lengths: list[int], histories: list[int], head_dim: int, dtype: torch.dtype) -> None:
    call = _relative(lengths, histories, head_dim, dtype)
    with interpreted():
        out = relative_attention(**call)
    _check("relative_attention", out, relative_attention(**_wide(call)), dtype)


def test_relative_attention_of_a_pack_equals_its_members() -> None:
    lengths, histories = [17, 3], [10, 40]
    call = _relative(lengths, histories, 8, torch.float32)
    keys = [27, 43]
    with interpreted():
        together = relative_attention(**call).split(lengths)
        for s, whole in enumerate(together):
            own = {
                "q": call["q"].split(lengths)[s],
                "k": call["k"].split(keys)[s],
                "v": call["v"].split(keys)[s],
                "positions": call["positions"][43 - keys[s] : 43 + lengths[s] - 1],
                "cu_seqlens": _cu([lengths[s]]),
                "cu_seqlens_k": _cu([keys[s]]),
                "max_seqlen": lengths[s],
                "max_seqlen_k": keys[s],
            }
            assert torch.equal(relative_attention(**(call | own)), whole)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"k_pages": torch.zeros(2, 48, 1, 8), "v_pages": torch.zeros(2, 48, 1, 8)},
            "pages hold 48 positions; expected",
        ),
        ({"v_pages": torch.zeros(3, 16, 1, 8).bfloat16()}, "v_pages is torch.bfloat16; expected torch.float32"),
        ({"v_pages": torch.zeros(3, 16, 1, 8, device="meta")}, "one device; got .*v_pages on meta"),
        ({"q": torch.zeros(1, 8, 2).transpose(1, 2)}, r"q has strides \[16, 1, 2\]; expected 1 for the last"),
        ({"block_tables": torch.zeros(2, 1).int()}, r"block_tables has shape \[2, 1\]; expected \[1, any\]"),
        ({"q": torch.zeros(1, 2, 8).double()}, "k_pages is torch.float32; expected torch.float64"),
    ],
)
def test_refusals_show_the_numbers(change: dict[str, torch.Tensor], sentence: str) -> None:
    call = _paged([1], [20], 16, (2, 1, 8))
    with interpreted(), pytest.raises(KernelArgumentError, match=sentence):
        paged_attention(**(call | change))


def test_heads_wider_than_the_tiles_are_refused() -> None:
    wide, one = torch.zeros(1, 1, 129), _cu([1])
    with interpreted(), pytest.raises(KernelArgumentError, match="heads have 129 values; .* at most 128"):
        varlen_attention(wide, wide, wide, one, one, scale=1.0)
