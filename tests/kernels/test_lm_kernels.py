"""Kernels of rows, in Triton's interpreter, against the references in float64: norms, gates, rotations, projections."""

import pytest
import torch
from compare import assert_close
from interpreter import among_nans, interpreted
from kernel_tolerances import KERNEL_TOLERANCE

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.layer_norm_linear import layer_norm_linear
from antiphon.kernels.rms_norm import rms_norm
from antiphon.kernels.rope_paged_write import rope_paged_write
from antiphon.kernels.swiglu import swiglu

DTYPES = [torch.float32, torch.bfloat16]
EPS = 3.90625e-08


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _check(op: str, actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    assert actual.dtype == dtype
    tolerance = KERNEL_TOLERANCE[op, str(dtype).removeprefix("torch.")]
    assert_close(actual.double(), expected, tolerance * float(expected.abs().max()), op)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (3, 129), (2, 64)])
def test_rms_norm(rows: int, width: int, dtype: torch.dtype) -> None:
    x, residual, weight = (_random(*shape, seed=seed, dtype=dtype)
                           for seed, shape in enumerate(((rows, width), (rows, width), (width,))))  # fmt: skip
    with interpreted():
        normed, stream = rms_norm(among_nans(x), among_nans(weight), EPS, among_nans(residual))
        alone, same = rms_norm(x, weight, EPS)
        single, _ = rms_norm(x[-1:], weight, EPS, residual[-1:])
    assert torch.equal(stream, x + residual)
    assert same is x
    assert torch.equal(single, normed[-1:])
    _check("rms_norm", normed, rms_norm(stream.double(), weight.double(), EPS)[0], dtype)
    _check("rms_norm", alone, rms_norm(x.double(), weight.double(), EPS)[0], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (2, 1_023), (2, 1_025)])  # 1,024 at once
def test_swiglu(rows: int, width: int, dtype: torch.dtype) -> None:
    x = _random(rows, 2 * width, dtype=dtype) * 10
    with interpreted():
        y = swiglu(among_nans(x))
    _check("swiglu", y, swiglu(x.double()), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "pairs"), [(9, 1, 16, 4), (4, 2, 12, 6), (8, 8, 2, 1)]
)  # 8 heads at once
def test_rope_paged_write(heads: int, kv_heads: int, head_dim: int, pairs: int, dtype: torch.dtype) -> None:
    rows = 3
    qkv = _random(rows, heads + 2 * kv_heads, head_dim, dtype=dtype)
    q, k, v = torch.split(among_nans(qkv), [heads, kv_heads, kv_heads], dim=1)  # views, as the model has them
    angles = 100 * _random(rows, pairs, seed=1)
    cos_sin = torch.stack((angles.cos(), angles.sin()), -1)
    pages = torch.full((2, 3, 4, kv_heads, head_dim), torch.nan, dtype=dtype)
    slots = torch.tensor([9, 0, 5])
    with interpreted():
        turned_q, turned_k = rope_paged_write(q, k, v, among_nans(cos_sin), pages[0], pages[1], slots)
        without = rope_paged_write(q, k, v, cos_sin)
    expected_q, expected_k = rope_paged_write(*(x.double() for x in (q, k, v, cos_sin)))
    _check("rope_paged_write", turned_q, expected_q, dtype)
    _check("rope_paged_write", turned_k, expected_k, dtype)
    assert torch.equal(turned_q[..., 2 * pairs :], q[..., 2 * pairs :])
    assert all(torch.equal(x, y) for x, y in zip(without, (turned_q, turned_k), strict=True))
    for written, value in zip(pages.flatten(1, 2), (turned_k, v), strict=True):
        assert torch.equal(written[slots], value)
        assert written[[1, 2, 3, 4, 6, 7, 8, 10, 11]].isnan().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("rows", "channels", "widths"), [(1, 20, [5]), (17, 16, [33, 32]), (15, 40, [8, 40, 64]), (2, 16, [4] * 4)]
)  # 16 rows and 32 columns at once, three projections in one launch
def test_layer_norm_linear(rows: int, channels: int, widths: list[int], dtype: torch.dtype) -> None:
    x = _random(rows, channels, dtype=dtype) + 3
    gain, offset = _random(2, channels, seed=1, dtype=dtype)
    weights = [_random(width, channels, seed=2 + i, dtype=dtype) for i, width in enumerate(widths)]
    with interpreted():
        outputs = layer_norm_linear(among_nans(x), gain, offset, [among_nans(weight) for weight in weights])
        last = layer_norm_linear(x[-1:], gain, offset, weights)
    expected = layer_norm_linear(x.double(), gain.double(), offset.double(), [weight.double() for weight in weights])
    for y, alone, wanted in zip(outputs, last, expected, strict=True):
        _check("layer_norm_linear", y, wanted, dtype)
        assert torch.equal(alone, y[-1:])


def test_rows_of_one_value_have_a_norm() -> None:
    zeros, same, weight = torch.zeros(2, 20), torch.full((2, 20), 3.0), _random(4, 20)
    with interpreted():
        assert torch.equal(rms_norm(zeros, torch.ones(20), EPS)[0], zeros)
        assert torch.equal(layer_norm_linear(same, torch.ones(20), torch.zeros(20), [weight])[0], torch.zeros(2, 4))


def test_a_slot_that_the_pages_lack_is_not_written() -> None:
    keys, values = torch.full((2, 3, 4, 1, 8), torch.nan)  # the pages between others' memory
    heads, slots = _random(3, 1, 8), torch.tensor([1, 4, -1])
    with interpreted():
        rope_paged_write(heads, heads, heads, torch.ones(3, 2, 2), keys[1:2], values[1:2], slots)
    for memory in (keys.flatten(0, 1), values.flatten(0, 1)):
        written = memory.isfinite().all(-1).flatten()
        assert written.nonzero().flatten().tolist() == [4 + 1]


def test_nan_stays_in_its_row() -> None:
    x = _random(3, 16)
    x[1, 3] = torch.nan
    weight = _random(16, seed=1)
    cos_sin = torch.ones(3, 4, 2)
    with interpreted():
        results = [
            rms_norm(x, weight, EPS)[0],
            swiglu(x),
            rope_paged_write(x.unsqueeze(1), x.unsqueeze(1), x.unsqueeze(1), cos_sin)[0],
            layer_norm_linear(x, weight, weight, [_random(4, 16)])[0],
        ]
    for y in results:
        assert y[1].isnan().any()
        assert y[[0, 2]].isfinite().all()


def test_no_rows() -> None:
    nothing = torch.zeros(0, 16)
    with interpreted():
        assert rms_norm(nothing, torch.ones(16), EPS)[0].shape == (0, 16)
        assert swiglu(nothing).shape == (0, 8)
        assert layer_norm_linear(nothing, torch.ones(16), torch.ones(16), [torch.ones(4, 16)])[0].shape == (0, 4)


def test_refusals_show_the_numbers() -> None:
    x, weight = torch.zeros(2, 4), torch.ones(4)
    with interpreted():
        with pytest.raises(KernelArgumentError, match=r"residual has shape \[2, 3\]; expected \[2, 4\]"):
            rms_norm(x, weight, EPS, torch.zeros(2, 3))
        with pytest.raises(KernelArgumentError, match=r"x has strides \[1, 2\]; expected 1 for the last"):
            rms_norm(torch.zeros(4, 2).t(), weight, EPS)
        with pytest.raises(KernelArgumentError, match=r"gate_up is torch.float64; expected torch.float32 or"):
            swiglu(x.double())
        heads, pages = torch.zeros(2, 1, 4), torch.zeros(2, 3, 1, 4)
        turned = (heads, heads, heads, torch.zeros(2, 1, 2))
        slots = torch.zeros(2, dtype=torch.int64)
        with pytest.raises(KernelArgumentError, match=r"k_pages of shape \[3, 2, 1, 4\] has strides .* contiguous"):
            rope_paged_write(*turned, pages.transpose(0, 1), pages.transpose(0, 1), slots)
        with pytest.raises(KernelArgumentError, match=r"norm_bias has shape \[3\]; expected \[4\]"):
            layer_norm_linear(x, weight, torch.ones(3), [torch.ones(2, 4)])
