"""The flow's operations against torch's own on each sequence alone, in float64; their gradients against differences."""

import math

import pytest
import torch
import torch.nn.functional as F

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.conv_norm_mish import conv_norm_mish
from antiphon.kernels.feed_forward_gelu import feed_forward_gelu
from antiphon.kernels.guided_euler_step import guided_euler_step
from antiphon.kernels.layer_norm_linear import layer_norm_linear
from antiphon.kernels.packed_upsample import packed_upsample
from antiphon.kernels.relative_attention import relative_attention
from antiphon.kernels.relative_attention.cost import relative_attention_cost

LENGTHS = [[7], [6, 6], [5, 5, 1, 8]]  # one, a pair, a run of two among others


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _offsets(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("beside", [False, True])
def test_conv_norm_mish(lengths: list[int], beside: bool) -> None:
    x, weight, vectors = _random(sum(lengths), 3), _random(4, 3, 3, seed=1), _random(3, 4, seed=2)
    shift = _random(len(lengths), 4, seed=3) if beside else None
    added = _random(sum(lengths), 4, seed=4) if beside else None
    tensors = [tensor for tensor in (x, weight, vectors, added, shift) if tensor is not None]

    def run(
        x: torch.Tensor,
        weight: torch.Tensor,
        vectors: torch.Tensor,
        added: torch.Tensor | None = None,
        shift: torch.Tensor | None = None,
    ) -> torch.Tensor:
        given = {"max_seqlen": max(lengths), "groups": 2, "eps": 1e-5}
        return conv_norm_mish(x, weight, *vectors, _offsets(lengths), **given, added=added, shift=shift)

    expected = []
    added_rows = [0] * len(lengths) if added is None else [rows.t() for rows in added.split(lengths)]
    for s, rows in enumerate(x.split(lengths)):
        convolved = F.conv1d(rows.t()[None], weight, vectors[0], padding=1) + added_rows[s]
        y = F.mish(F.group_norm(convolved, 2, vectors[1], vectors[2]))
        expected.append(y[0].t() + (0 if shift is None else shift[s]))
    torch.testing.assert_close(run(*tensors), torch.cat(expected))
    assert torch.autograd.gradcheck(run, [tensor.requires_grad_() for tensor in tensors])


@pytest.mark.parametrize(
    ("lengths", "wanted"), [([3], [5]), ([3], [6]), ([4, 4], [7, 7]), ([4, 4], [7, 8]), ([3, 1, 4], [6, 1, 7])]
)
def test_packed_upsample(lengths: list[int], wanted: list[int]) -> None:
    x, weight, bias = _random(sum(lengths), 3), _random(3, 2, 4, seed=1), _random(2, seed=2)

    def run(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        offsets, doubled = _offsets(lengths), _offsets(wanted)
        return packed_upsample(x, weight, bias, offsets, doubled, max_seqlen=max(lengths), out_rows=sum(wanted))

    expected = [
        F.conv_transpose1d(rows.t()[None], weight, bias, stride=2, padding=1)[0].t()[:length]
        for rows, length in zip(x.split(lengths), wanted, strict=True)
    ]
    torch.testing.assert_close(run(x, weight, bias), torch.cat(expected))
    assert torch.autograd.gradcheck(run, [tensor.requires_grad_() for tensor in (x, weight, bias)])


@pytest.mark.parametrize("lengths", LENGTHS)
def test_relative_attention_is_its_formula(lengths: list[int]) -> None:
    heads, dim, block, longest = 2, 3, 3, max(lengths)
    q, k, v = _random(3, sum(lengths), heads, dim)
    positions, (u, w) = _random(2 * longest - 1, heads, dim, seed=1), _random(2, heads, dim, seed=2)

    def run(*tensors: torch.Tensor) -> torch.Tensor:
        return relative_attention(*tensors, _offsets(lengths), max_seqlen=longest, block=block)

    expected = torch.zeros_like(q)
    seen, start = 0, 0
    for length in lengths:
        for i in range(length):
            keys = range(min((i // block + 1) * block, length))
            seen += len(keys)
            for h in range(heads):
                query = q[start + i, h]
                scores = torch.stack(
                    [
                        (query + u[h]) @ k[start + j, h] + (query + w[h]) @ positions[longest - 1 - (i - j), h]
                        for j in keys
                    ]
                )
                weights = (scores / math.sqrt(dim)).softmax(0)
                expected[start + i, h] = weights @ v[start : start + len(keys), h]
        start += length
    inputs = (q, k, v, positions, u, w)
    torch.testing.assert_close(run(*inputs), expected)
    assert relative_attention_cost(lengths, heads, dim, block).flops == seen * heads * (6 * dim + 5)


@pytest.mark.parametrize(("lengths", "histories"), [([4], [6]), ([2, 5, 5, 1], [3, 0, 9, 9]), ([3, 3], [3, 6])])
def test_relative_attention_with_a_history_is_the_end_of_the_whole(lengths: list[int], histories: list[int]) -> None:
    heads, dim, block = 2, 3, 3
    totals = [length + history for length, history in zip(lengths, histories, strict=True)]
    longest, most = max(lengths), max(totals)
    q, k, v = _random(3, sum(totals), heads, dim)
    positions, (u, w) = _random(2 * most - 1, heads, dim, seed=1), _random(2, heads, dim, seed=2)
    whole = relative_attention(q, k, v, positions, u, w, _offsets(totals), max_seqlen=most, block=block)
    asking = torch.cat([torch.arange(t) >= h for t, h in zip(totals, histories, strict=True)])
    nearest = positions[: most + longest - 1]
    ends = relative_attention(
        q[asking],
        k,
        v,
        nearest,
        u,
        w,
        _offsets(lengths),
        max_seqlen=longest,
        block=block,
        cu_seqlens_k=_offsets(totals),
        max_seqlen_k=most,
    )
    torch.testing.assert_close(ends, whole[asking])
    seen = relative_attention_cost(totals, heads, dim, block).flops
    before = relative_attention_cost(histories, heads, dim, block).flops
    assert relative_attention_cost(lengths, heads, dim, block, histories=histories).flops == seen - before


def test_relative_attention_is_differentiable() -> None:
    inputs = [_random(*shape, seed=seed) for seed, shape in enumerate([(5, 2, 2)] * 4 + [(2, 2)] * 2)]
    assert torch.autograd.gradcheck(
        lambda *tensors: relative_attention(*tensors, _offsets([3, 2]), max_seqlen=3, block=2),
        [tensor.requires_grad_() for tensor in inputs],
    )


def test_layer_norm_linear_and_feed_forward() -> None:
    x, gain, offset = _random(5, 4), _random(4, seed=1), _random(4, seed=2)
    weights = [_random(3, 4, seed=3), _random(6, 4, seed=4)]
    normed = F.layer_norm(x, (4,), gain, offset, 1e-3)
    for y, weight in zip(layer_norm_linear(x, gain, offset, weights, eps=1e-3), weights, strict=True):
        torch.testing.assert_close(y, normed @ weight.t())
    up, bias_1, down, bias_2 = _random(6, 4, seed=5), _random(6, seed=6), _random(4, 6, seed=7), _random(4, seed=8)
    hidden = normed @ up.t() + bias_1
    exact_gelu = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    y = feed_forward_gelu(x, gain, offset, up, bias_1, down, bias_2, eps=1e-3)
    torch.testing.assert_close(y, x + exact_gelu @ down.t() + bias_2)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_guided_euler_step(lengths: list[int]) -> None:
    x, velocity = _random(sum(lengths), 3).float(), _random(2 * sum(lengths), 3, seed=1).float()
    dt = torch.linspace(0.1, 0.4, len(lengths))
    expected = []
    for s, (rows, pair) in enumerate(zip(x.split(lengths), velocity.split([2 * n for n in lengths]), strict=True)):
        conditional, unconditional = pair.chunk(2)
        expected.append(rows + dt[s] * (1.7 * conditional - 0.7 * unconditional))
    actual = guided_euler_step(x, velocity, dt, _offsets(lengths), guidance=0.7)
    torch.testing.assert_close(actual, torch.cat(expected), rtol=0, atol=1e-6)


def test_refusals_show_the_numbers() -> None:
    x, offsets = torch.zeros(4, 3), _offsets([4])
    with pytest.raises(KernelArgumentError, match=r"channels=4 must be a multiple of groups=3"):
        vector = torch.zeros(4)
        conv_norm_mish(x, torch.zeros(4, 3, 3), vector, vector, vector, offsets, max_seqlen=4, groups=3)
    with pytest.raises(KernelArgumentError, match=r"out_rows=6 must be twice the 4 rows"):
        weight = torch.zeros(3, 3, 4)
        packed_upsample(x, weight, torch.zeros(3), offsets, _offsets([6]), max_seqlen=4, out_rows=6)
    with pytest.raises(KernelArgumentError, match=r"velocity has shape \[4, 3\]; expected \[8, 3\]"):
        guided_euler_step(x, x, torch.zeros(1), offsets, guidance=0.7)
