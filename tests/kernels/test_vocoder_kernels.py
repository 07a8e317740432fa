"""The vocoder's kernels, in Triton's interpreter, against the references in float64."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from compare import assert_close
from interpreter import among_nans, interpreted
from kernel_tolerances import KERNEL_TOLERANCE

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.counter_normal import counter_normal
from antiphon.kernels.harmonic_source import harmonic_source
from antiphon.kernels.istft_head import istft_head
from antiphon.kernels.packed_conv1d import packed_conv1d
from antiphon.kernels.packed_conv1d.order import taps_outermost
from antiphon.kernels.packed_conv_transpose1d import packed_conv_transpose1d
from antiphon.kernels.packed_stft import packed_stft
from antiphon.kernels.residual_blocks import ResidualLayer, residual_blocks
from antiphon.kernels.snake import snake

# The interpreter's tiles of a convolution have 32 rows, or 16 where there are few channels.
SOURCE = {"hop": 6, "sample_rate": 22_050, "amplitude": 0.1, "sigma": 0.003, "voiced_threshold": 10.0}
HEAD = {"n_fft": 16, "hop": 4, "magnitude_limit": 100.0, "audio_limit": 0.99}


def _cu(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _check(op: str, actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    assert actual.dtype == dtype
    assert_close(actual.double(), expected, KERNEL_TOLERANCE[op, str(dtype).removeprefix("torch.")] * largest, op)


@pytest.mark.parametrize(
    ("lengths", "widths", "kernel", "given"),
    [
        ([1], (5, 7), 3, {"stride": 2, "padding": (1, 1)}),
        ([31, 1, 32, 5], (5, 7), 3, {"stride": 2, "padding": (1, 1)}),
        ([65, 1, 7, 32], (18, 33), 16, {"stride": 8, "padding": (4, 4)}),  # two too short for a single row
        ([33], (17, 40), 5, {"padding": (10, 10), "dilation": 5}),
        ([31, 1, 32], (17, 40), 5, {"padding": (10, 10), "dilation": 5}),
        ([17, 15], (16, 32), 3, {"padding": (2, 0), "activation": "elu"}),
        ([16, 1], (9, 1), 1, {"activation": "gelu"}),
    ],
)
def test_convolution(lengths: list[int], widths: tuple[int, int], kernel: int, given: dict[str, Any]) -> None:
    x = among_nans(_random(sum(lengths), widths[0]))
    weight, bias = _random(widths[1], widths[0], kernel, seed=1), _random(widths[1], seed=2)
    with interpreted():
        y, cu_out = packed_conv1d(x, taps_outermost(weight), bias, _cu(lengths), **given)
    expected, cu_expected = packed_conv1d(x.double(), weight.double(), bias.double(), _cu(lengths), **given)
    _check("packed_conv1d", y, expected)
    assert torch.equal(cu_out, cu_expected) and cu_out.dtype == torch.int32


def test_convolution_in_bfloat16() -> None:
    x, weight = _random(40, 20).bfloat16(), _random(33, 20, 3, seed=1).bfloat16()
    with interpreted():
        y, _ = packed_conv1d(x, weight, None, _cu([7, 33]), padding=(1, 1))
    expected, _ = packed_conv1d(x.double(), weight.double(), None, _cu([7, 33]), padding=(1, 1))
    _check("packed_conv1d", y, expected, torch.bfloat16)


def test_a_convolution_in_float64_is_the_library_s() -> None:
    x, weight = _random(9, 4).double(), _random(3, 4, 3, seed=1).double()
    expected, _ = packed_conv1d(x, weight, None, _cu([7, 2]), padding=(1, 1))
    with interpreted():
        y, _ = packed_conv1d(x, weight, None, _cu([7, 2]), padding=(1, 1))
    assert torch.equal(y, expected)


@pytest.mark.parametrize(
    ("lengths", "kernel", "stride", "padding"),
    [([17, 1], 16, 8, 4), ([1], 4, 2, 1), ([33], 4, 2, 1), ([31, 1, 32, 5], 3, 3, 0), ([15, 0, 4], 7, 3, 2)],
)
def test_transposed_convolution(lengths: list[int], kernel: int, stride: int, padding: int) -> None:
    x = among_nans(_random(sum(lengths), 20))
    weight, bias = _random(20, 33, kernel, seed=1), _random(33, seed=2)
    given = {"stride": stride, "padding": padding}
    with interpreted():
        y, cu_out = packed_conv_transpose1d(x, weight, bias, _cu(lengths), **given)
    expected, cu_expected = packed_conv_transpose1d(x.double(), weight.double(), bias.double(), _cu(lengths), **given)
    _check("packed_conv_transpose1d", y, expected)
    assert torch.equal(cu_out, cu_expected) and cu_out.dtype == torch.int32


def _layers(channels: int) -> list[ResidualLayer]:
    def layer(seed: int, dilation: int) -> ResidualLayer:
        alphas = _random(2, channels, seed=seed).abs() + 0.2
        weights = _random(2, channels, channels, 3, seed=seed + 1) / math.sqrt(3 * channels)
        biases = _random(2, channels, seed=seed + 2)
        return ResidualLayer(alphas[0], weights[0], biases[0], dilation, alphas[1], weights[1], biases[1])

    return [layer(10, 1), layer(20, 5)]


def _widened(layer: ResidualLayer) -> ResidualLayer:
    return replace(layer, **{name: tensor.double() for name, tensor in layer.tensors().items()})


@pytest.mark.parametrize(("lengths", "slope"), [([1], 0.1), ([33], 1.0), ([31, 1, 5], 0.01)])
def test_residual_blocks(lengths: list[int], slope: float) -> None:
    x, layers = among_nans(_random(sum(lengths), 33)), _layers(33)
    wide = [_widened(layer) for layer in layers]
    blocks = slice(1, 2) if slope == 1 else slice(2)  # one alone is its own mean
    with interpreted():
        y = residual_blocks(x, [layers, layers[1:]][blocks], _cu(lengths), slope=slope)
    _check("residual_blocks", y, residual_blocks(x.double(), [wide, wide[1:]][blocks], _cu(lengths), slope=slope))


def test_a_sequence_comes_out_the_same_bits_in_any_company() -> None:
    lengths, layers = [17, 1, 10], _layers(16)[1:]
    members = [_random(n, 16, seed=n) for n in lengths]
    weight, down = _random(16, 20, 4, seed=1), _random(9, 20, 4, seed=2)

    def run(rows: list[torch.Tensor]) -> list[torch.Tensor]:
        cu = _cu([len(one) for one in rows])
        x, cu_x = packed_conv_transpose1d(residual_blocks(torch.cat(rows), [layers], cu), weight, None, cu, stride=2)
        y, cu_y = packed_conv1d(x, down, None, cu_x, stride=2, padding=(1, 1))
        return list(y.split(cu_y.diff().tolist()))

    with interpreted():
        alone = [run([one])[0] for one in members]
        together = run([members[2], members[0], members[1]])
    assert all(torch.equal(rows, alone[i]) for rows, i in zip(together, (2, 0, 1), strict=True))


def test_a_nan_stays_in_its_sequence() -> None:
    lengths = [6, 3, 7]
    cu = _cu(lengths)
    x = _random(16, 20)
    poisoned = x.clone()
    poisoned[7] = torch.nan
    layers, weight, rows = _layers(20)[:1], _random(20, 8, 4), _random(16, 18)
    f0, phase, noise = _random(16).abs() * 200, _random(3, 9), _random(96, 9)
    bad_rows, bad_f0 = rows.clone(), f0.clone()
    bad_rows[7], bad_f0[7] = torch.nan, torch.nan

    def run(x: torch.Tensor, rows: torch.Tensor, f0: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [
            (residual_blocks(x, [layers], cu), cu),
            packed_conv_transpose1d(x, weight, None, cu, stride=2, padding=1),
            istft_head(rows, cu, **HEAD),
            packed_stft(x.flatten(), 20 * cu, n_fft=16, hop=4),
            (harmonic_source(f0, phase, noise, cu, **SOURCE), 6 * cu),
        ]

    with interpreted():
        for (y, cu_y), (bad, _) in zip(run(x, rows, f0), run(poisoned, bad_rows, bad_f0), strict=True):
            begins, ends = int(cu_y[1]), int(cu_y[2])
            assert bad[begins:ends].isnan().any()
            assert torch.equal(bad[:begins], y[:begins]) and torch.equal(bad[ends:], y[ends:])


def test_sine_keeps_its_precision_far_from_zero() -> None:
    x = torch.cat([torch.linspace(-30, 30, 997), torch.linspace(-1e4, 1e4, 1_003)])[:, None]
    alpha = torch.ones(1)
    with interpreted():
        squared = snake(x, alpha) - x  # sin² but for the addition's rounding
    near = x.abs()[:, 0] < 40
    expected = x.double().sin().square()
    assert_close(squared[near], expected[near], 2.5e-6)  # x near 30 rounds by 1e-6
    assert_close(squared[~near], expected[~near], 1e-3)  # x near 10⁴ rounds by 5e-4
    with interpreted():
        # Beyond all precision a sine is still a sine, and what is not finite stays so.
        assert torch.equal(snake(torch.tensor([[1e30]]), alpha), torch.tensor([[1e30]]))
        assert snake(torch.tensor([[torch.inf]]), alpha).isnan()
        assert torch.equal(snake(torch.tensor([[3.0]]), torch.zeros(1)), torch.tensor([[3.0]]))  # not 0 / 0


@pytest.mark.parametrize("lengths", [[2], [33], [5, 2, 40]])
@pytest.mark.parametrize(("n_fft", "hop"), [(16, 4), (12, 5)])
def test_inverse_transform(lengths: list[int], n_fft: int, hop: int) -> None:
    given = HEAD | {"n_fft": n_fft, "hop": hop}
    rows = _random(sum(lengths), n_fft + 2)
    rows[:, n_fft // 2 + 1 :] *= 5
    rows[1, 0] = 1e3  # beyond the magnitudes' limit
    with interpreted():
        wave, cu_wave = istft_head(among_nans(rows), _cu(lengths), **given)
    expected, cu_expected = istft_head(rows.double(), _cu(lengths), **given)
    _check("istft_head", wave, expected)
    assert torch.equal(cu_wave, cu_expected) and cu_wave.dtype == torch.int32


@pytest.mark.parametrize("lengths", [[9], [300], [256, 12, 9]])
def test_transform(lengths: list[int]) -> None:
    samples = _random(sum(lengths))
    with interpreted():
        rows, cu_rows = packed_stft(among_nans(samples), _cu(lengths), n_fft=16, hop=4)
    expected, cu_expected = packed_stft(samples.double(), _cu(lengths), n_fft=16, hop=4)
    _check("packed_stft", rows, expected)
    assert torch.equal(cu_rows, cu_expected)


def test_source() -> None:
    lengths = [3, 1, 66]  # 64 frames are summed at a time
    f0 = _random(70).abs() * 300
    f0[4:9], f0[9] = 0, SOURCE["voiced_threshold"]  # at the threshold: not voiced
    phase, noise = _random(3, 9), _random(70 * 6, 9)
    with interpreted():
        sines = harmonic_source(among_nans(f0), phase, among_nans(noise), _cu(lengths), **SOURCE)
    _check("harmonic_source", sines, harmonic_source(f0, phase, noise, _cu(lengths), **SOURCE).double())


def test_source_sums_its_phase_exactly() -> None:
    f0 = torch.full((140,), 2_222.2)
    with interpreted():
        sines = harmonic_source(f0, torch.zeros(1, 1), torch.zeros(140, 1), _cu([140]), **(SOURCE | {"hop": 1}))
    # Turns a sample as float32 rounds them, summed in Python's whole numbers.
    step = int(float(torch.tensor(2_222.2) / 22_050) * 2**62)
    angles = [(n * step) % 2**62 / 2**62 * 2 * math.pi for n in range(1, 141)]
    assert_close(sines[:, 0], torch.tensor([0.1 * math.sin(angle) for angle in angles]), 6e-8)


def test_normals_from_counters() -> None:
    seeds, first = torch.tensor([0, 1, 2**32, 2**63 - 1]), torch.tensor([3, 2**34 - 6, 0, 17])
    cu = _cu([5, 12, 600, 3])
    expected = counter_normal(seeds, first, cu, stream=2**32 - 1, rows=620)
    with interpreted():
        drawn = counter_normal(seeds, first, cu, stream=2**32 - 1, rows=620)
        piece = counter_normal(seeds[2:3], torch.tensor([101]), _cu([50]), stream=2**32 - 1, rows=50)
    _check("counter_normal", drawn, expected.double())
    assert torch.equal(piece, drawn[17 + 101 : 17 + 151])


def test_refusals_show_the_numbers() -> None:
    with interpreted():
        with pytest.raises(KernelArgumentError, match=r"x is torch.float64; expected torch.float32 or torch.bfloat16"):
            packed_conv_transpose1d(_random(4, 2).double(), _random(2, 3, 1).double(), None, _cu([4]), stride=1)
        with pytest.raises(
            KernelArgumentError, match=r"weight_2 of layer 1 of block 0 has 4 taps; expected an odd number"
        ):
            layers = _layers(2)
            even = replace(layers[1], weight_2=_random(2, 2, 4))
            residual_blocks(_random(4, 2), [[layers[0], even]], _cu([4]))
        with pytest.raises(
            KernelArgumentError, match=r"weight_1 of layer 0 of block 0 has shape \[2, 2, 3\]; expected \[3, 3, any\]"
        ):
            residual_blocks(_random(4, 3), [_layers(2)], _cu([4]))
