"""`varlen_attention` as the three models call it: the flow in full, the speech encoder by blocks, prompts causally."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.varlen_attention.cost import varlen_attention_cost

_HALF: Final = 1e-2  # the weights' and the result's rounding to bfloat16
_FULL: Final = 1e-5  # sums of up to some thousand terms in float32


class _Heads(NamedTuple):
    query: int
    kv: int
    dim: int


def _case(
    name: str,
    query_lens: Sequence[int],
    key_lens: Sequence[int],
    heads: _Heads,
    dtype: torch.dtype,
    block: int | None = None,
    starts: Sequence[int] | None = None,
) -> Case:
    def make(device: torch.device) -> Call:
        def whole(values: Sequence[int]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.int32, device=device)

        def heads_of(rows: int, count: int) -> torch.Tensor:
            return torch.randn(rows, count, heads.dim, device=device, dtype=dtype)

        given: dict[str, Any] = {"scale": heads.dim**-0.5}
        if block is not None:
            given |= {"mask": "causal"} if block == 1 else {"mask": "block_causal", "block": block}
        if starts is not None:
            given["query_starts"] = whole(starts)
        q, (k, v) = heads_of(sum(query_lens), heads.query), (heads_of(sum(key_lens), heads.kv) for _ in range(2))
        return Call((q, k, v, whole([0, *accumulate(query_lens)]), whole([0, *accumulate(key_lens)])), given)

    cost = varlen_attention_cost(
        query_lens, key_lens, *heads, block=block, query_starts=starts, itemsize=dtype.itemsize
    )
    precision = str(dtype).removeprefix("torch.")
    error = _FULL if dtype == torch.float32 else _HALF
    same = len(set(query_lens)) == 1 and query_lens == key_lens and block is None
    baselines: dict[str, Callable[..., Any]] = {"SDPA, one length": _dense} if same else {}
    return Case(f"{name}, {precision}", make, cost, tolerance=error, baselines=baselines)


def _dense(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cu: torch.Tensor, _: torch.Tensor, *, scale: float
) -> torch.Tensor:
    """The library's attention of sequences that happen to be of one length, which packs are not."""
    query, key, value = (x.view(len(cu) - 1, -1, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=scale)
    return attended.transpose(1, 2).reshape(q.shape)


_FLOW: Final = _Heads(8, 8, 64)
_ENCODER: Final = _Heads(20, 20, 64)
_LM: Final = _Heads(32, 2, 128)
CASES: Final = (
    _case("flow, one pair of 172 frames", [172] * 2, [172] * 2, _FLOW, torch.bfloat16),
    _case("flow, 32 pairs of 172 frames", [172] * 64, [172] * 64, _FLOW, torch.bfloat16),
    _case("flow, one pair of 172 frames", [172] * 2, [172] * 2, _FLOW, torch.float32),
    _case("8 s of speech in blocks of 4 s", [400], [400], _ENCODER, torch.bfloat16, block=200, starts=[0]),
    _case("8 s of speech in blocks of 4 s", [400], [400], _ENCODER, torch.float32, block=200, starts=[0]),
    _case("a prompt of 500 without a cache", [500], [500], _LM, torch.bfloat16, block=1),
    _case("a prompt of 500 without a cache", [500], [500], _LM, torch.float32, block=1),
)
