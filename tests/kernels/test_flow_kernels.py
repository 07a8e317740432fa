"""The flow's kernels, in Triton's interpreter, against the references in float64."""

import pytest
import torch
from compare import assert_close
from interpreter import among_nans, interpreted
from kernel_tolerances import KERNEL_TOLERANCE

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.conv_norm_mish import conv_norm_mish
from antiphon.kernels.feed_forward_gelu import feed_forward_gelu
from antiphon.kernels.guided_euler_step import guided_euler_step
from antiphon.kernels.packed_upsample import packed_upsample


def _cu(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _check(op: str, actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
    assert actual.dtype == dtype
    tolerance = KERNEL_TOLERANCE[op, str(dtype).removeprefix("torch.")]
    assert_close(actual.double(), expected, tolerance * float(expected.abs().max()), op)


def _norm_arguments(rows: int, width: int, channels: int) -> list[torch.Tensor]:
    x = _random(rows, width) + 3  # a mean that a sum of squares alone would drown in
    weight = _random(channels, width, 3, seed=1) / (3 * width) ** 0.5
    return [x, weight, *_random(3, channels, seed=2)]


@pytest.mark.parametrize(
    ("lengths", "width", "channels", "groups"),
    # The interpreter's tiles have 16 rows; 16 tiles' statistics are merged at a time.
    [([1], 20, 32, 4), ([1], 20, 8, 8), ([17], 33, 40, 1), ([15, 1, 16, 260], 16, 32, 4), ([16, 15], 5, 40, 1)],
)
def test_conv_norm_mish(lengths: list[int], width: int, channels: int, groups: int) -> None:
    arguments = _norm_arguments(sum(lengths), width, channels)
    given = {"max_seqlen": max(lengths), "groups": groups}
    beside, beside_wide = {}, {}
    if groups > 1:  # columns of wider rows
        beside["shift"] = _random(len(lengths), channels + 3, seed=3)[:, 3:]
        beside["added"] = among_nans(_random(sum(lengths), 2 * channels, seed=4))[:, :channels]
        beside_wide = {name: tensor.double() for name, tensor in beside.items()}
    with interpreted():
        y = conv_norm_mish(among_nans(arguments[0]), *arguments[1:], _cu(lengths), **beside, **given)
    wide = [tensor.double() for tensor in arguments]
    expected = conv_norm_mish(*wide, _cu(lengths), **beside_wide, **given)
    _check("conv_norm_mish", y, expected)


def test_conv_norm_mish_in_bfloat16() -> None:
    arguments = [tensor.bfloat16() for tensor in _norm_arguments(40, 20, 32)]
    with interpreted():
        y = conv_norm_mish(*arguments, _cu([40]), max_seqlen=40, groups=4)
    expected = conv_norm_mish(*[tensor.double() for tensor in arguments], _cu([40]), max_seqlen=40, groups=4)
    _check("conv_norm_mish", y, expected, torch.bfloat16)


def test_a_sequence_comes_out_the_same_bits_in_any_company() -> None:
    lengths = [15, 1, 40]
    x, *weights = _norm_arguments(56, 20, 32)
    shift = _random(3, 32, seed=3)
    poisoned = x.clone()
    poisoned[15] = torch.nan  # all of the second sequence
    with interpreted():
        together = conv_norm_mish(x, *weights, _cu(lengths), max_seqlen=50, groups=4, shift=shift).split(lengths)
        beside = conv_norm_mish(poisoned, *weights, _cu(lengths), max_seqlen=40, groups=4, shift=shift).split(lengths)
        for s, rows in enumerate(x.split(lengths)):
            given = {"max_seqlen": len(rows), "groups": 4, "shift": shift[s : s + 1]}
            assert torch.equal(conv_norm_mish(rows, *weights, _cu([len(rows)]), **given), together[s])
    assert torch.equal(beside[0], together[0]) and torch.equal(beside[2], together[2])
    assert beside[1].isnan().all()


def test_mish_far_from_zero() -> None:
    # One row a sequence and two groups: the norm leaves only its offset, which is Mish's argument.
    values = torch.tensor([-200.0, -30.0, -5.0, 0.0, 5.0, 19.9, 20.1, 200.0])
    flat = torch.zeros(8)
    with interpreted():
        y = conv_norm_mish(
            torch.zeros(1, 8), torch.zeros(8, 8, 3), flat, flat, values, _cu([1]), max_seqlen=1, groups=2
        )
    expected = values.double() * torch.tanh(torch.log1p(values.double().exp()))
    torch.testing.assert_close(y[0].double(), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("rows", "width", "inner"), [(1, 16, 32), (17, 20, 33), (33, 33, 70)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_feed_forward(rows: int, width: int, inner: int, dtype: torch.dtype) -> None:
    x = _random(rows, width) * 2 + 5
    up, down = _random(inner, width, seed=1) / width**0.5, _random(width, inner, seed=2) / inner**0.5
    gain, offset, bias_2 = _random(3, width, seed=3)
    arguments = [t.to(dtype) for t in (x, gain, offset, up, _random(inner, seed=4), down, bias_2)]
    with interpreted():
        y = feed_forward_gelu(among_nans(arguments[0]), *arguments[1:])
        alone = feed_forward_gelu(arguments[0][-1:], *arguments[1:])
    _check("feed_forward_gelu", y, feed_forward_gelu(*[t.double() for t in arguments]), dtype)
    assert torch.equal(alone, y[-1:])


@pytest.mark.parametrize(("lengths", "wanted"), [([1], [1]), ([33], [66]), ([16, 1, 17], [31, 2, 34])])
def test_upsample(lengths: list[int], wanted: list[int]) -> None:
    x, weight, bias = _random(sum(lengths), 20), _random(20, 33, 4, seed=1), _random(33, seed=2)
    sizes = {"max_seqlen": max(lengths), "out_rows": sum(wanted)}
    with interpreted():
        y = packed_upsample(among_nans(x), weight, bias, _cu(lengths), _cu(wanted), **sizes)
    expected = packed_upsample(x.double(), weight.double(), bias.double(), _cu(lengths), _cu(wanted), **sizes)
    _check("packed_upsample", y, expected)


@pytest.mark.parametrize("lengths", [[7], [1, 300, 12]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_guided_euler_step(lengths: list[int], dtype: torch.dtype) -> None:
    x, velocity = _random(sum(lengths), 5), _random(2 * sum(lengths), 5, seed=1).to(dtype)
    dt = torch.linspace(0.1, 0.4, len(lengths))
    with interpreted():
        y = guided_euler_step(among_nans(x), among_nans(velocity), dt, _cu(lengths), guidance=0.7)
    _check("guided_euler_step", y, guided_euler_step(x, velocity, dt, _cu(lengths), guidance=0.7).double())


def test_float64_is_refused() -> None:
    x, vector = torch.zeros(4, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    with interpreted(), pytest.raises(KernelArgumentError, match=r"x is torch.float64; expected torch.float32"):
        feed_forward_gelu(x, vector, vector, x, vector, x, vector)
