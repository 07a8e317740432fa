"""The vocoder's operations: each sequence as if it were alone, against torch and closed forms."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from compare import assert_close
from goldens import golden
from tolerances import TOLERANCE

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.harmonic_source import harmonic_source
from antiphon.kernels.istft_head import istft_head
from antiphon.kernels.packed_conv_transpose1d import packed_conv_transpose1d
from antiphon.kernels.packed_stft import packed_stft
from antiphon.kernels.snake import snake

SOURCE = {"hop": 256, "sample_rate": 22_050, "amplitude": 0.1, "sigma": 0.003, "voiced_threshold": 10.0}


def _cu(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_snake_is_its_formula() -> None:
    x, alpha = _random(7, 3), torch.tensor([0.5, 1.0, 3.0])
    expected = x.double() + torch.sin(x.double() * alpha) ** 2 / (alpha.double() + 1e-9)
    assert_close(snake(x, alpha), expected, 1e-6)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(16, 8, 4), (4, 2, 1), (3, 3, 0)])
@pytest.mark.parametrize("lengths", [[6], [3, 1, 9]])
def test_upsamples_each_sequence_as_if_alone(kernel: int, stride: int, padding: int, lengths: list[int]) -> None:
    x, weight, bias = _random(sum(lengths), 5), _random(5, 4, kernel, seed=1), _random(4, seed=2)
    y, cu_out = packed_conv_transpose1d(x, weight, bias, _cu(lengths), stride=stride, padding=padding)
    expected = [F.conv_transpose1d(rows.t()[None], weight, bias, stride, padding)[0].t() for rows in x.split(lengths)]
    torch.testing.assert_close(y, torch.cat(expected))
    assert cu_out.diff().tolist() == [len(e) for e in expected]


@pytest.mark.parametrize("lengths", [[16], [32, 12, 256]])
def test_inverse_transform_undoes_the_transform(lengths: list[int]) -> None:
    # The head takes the phase through a sine, so only angles within ±1 come back: keep the spectrum near the real axis.
    cu_seqlens = _cu([n // 4 + 1 for n in lengths])
    magnitude = _random(int(cu_seqlens[-1]), 9).mul(0.3)
    wave, cu_wave = istft_head(
        torch.cat([magnitude, torch.zeros_like(magnitude)], dim=1),
        cu_seqlens,
        n_fft=16,
        hop=4,
        magnitude_limit=100.0,
        audio_limit=10.0,
    )
    assert cu_wave.diff().tolist() == lengths
    expected = [
        torch.istft(torch.complex(rows.exp(), torch.zeros_like(rows)).t(), 16, 4, window=torch.hann_window(16))
        for rows in magnitude.split(cu_seqlens.diff().tolist())
    ]
    assert_close(wave, torch.cat(expected), 1e-6)


def test_head_limits_magnitude_and_samples() -> None:
    rows = torch.full((5, 18), -30.0)
    rows[:, 0] = 1e3  # a constant of e¹⁰⁰⁰ before the limit
    rows[:, 9:] = 0
    rows.requires_grad_()
    limits = {"n_fft": 16, "hop": 4, "audio_limit": 1e6}
    loud, _ = istft_head(rows, _cu([5]), magnitude_limit=100.0, **limits)
    louder, _ = istft_head(rows, _cu([5]), magnitude_limit=200.0, **limits)
    assert_close(louder, 2 * loud, 1e-4)
    clamped, _ = istft_head(rows, _cu([5]), n_fft=16, hop=4, magnitude_limit=100.0, audio_limit=0.99)
    assert float(clamped.detach().abs().max()) == pytest.approx(0.99)
    loud.sum().backward()
    assert rows.grad is not None and rows.grad.isfinite().all()


def test_transform_reflects_at_each_sequences_own_ends() -> None:
    lengths = [256, 12, 512]
    samples = _random(sum(lengths))
    rows, cu_rows = packed_stft(samples, _cu(lengths), n_fft=16, hop=4)
    assert cu_rows.diff().tolist() == [n // 4 + 1 for n in lengths]
    angle = 2 * math.pi * torch.outer(torch.arange(16.0), torch.arange(9.0)) / 16
    basis = torch.cat([angle.cos(), -angle.sin()], dim=1) * torch.hann_window(16)[:, None]
    expected = [
        F.pad(s[None, None], (8, 8), mode="reflect")[0, 0].unfold(0, 16, 4) @ basis for s in samples.split(lengths)
    ]
    assert_close(rows, torch.cat(expected), 1e-5)


def test_source_against_the_official_sines() -> None:
    unit = np.load(golden("decoder/sinegen_unit.npz"))
    f0, phase, noise = (torch.from_numpy(unit[name]) for name in ("f0", "phase", "noise"))
    sines = harmonic_source(f0, phase[None], noise.t(), _cu([16]), **SOURCE)
    assert_close(sines.t(), unit["sine_waves"], TOLERANCE["sine"], "sine_waves")
    # What a unit of noise adds tells voiced samples (0.003) from unvoiced ones (0.1 / 3).
    louder = harmonic_source(f0, phase[None], noise.t() + 1, _cu([16]), **SOURCE)
    assert_close((louder - sines)[:, 0] < 0.01, unit["uv"], 0, "uv")


def test_source_of_a_pack_equals_its_members() -> None:
    lengths = [3, 1, 5]
    f0, phase, noise = _random(9).abs() * 100, _random(3, 9), _random(9 * 256, 9)
    together = harmonic_source(f0, phase, noise, _cu(lengths), **SOURCE)
    pieces = zip(f0.split(lengths), phase, noise.split([n * 256 for n in lengths]), strict=True)
    alone = [harmonic_source(f, p[None], n, _cu([len(f)]), **SOURCE) for f, p, n in pieces]
    assert_close(together, torch.cat(alone), TOLERANCE["vocoder-batch"])


def test_phase_keeps_its_precision_over_minutes() -> None:
    f0 = torch.full((5_000,), 150.0)
    silent = torch.zeros(5_000 * 256, 9)
    sines = harmonic_source(f0, torch.zeros(1, 9), silent, _cu([5_000]), **SOURCE)
    step = float(torch.tensor(150.0) * 9 / 22_050)  # the ninth harmonic, rounded to float32 once
    last = torch.arange(5_000 * 256 - 99, 5_000 * 256 + 1, dtype=torch.float64)
    assert_close(sines[-100:, 8], 0.1 * torch.sin(2 * math.pi * (last * step % 1)), 1e-5)


def test_refuses_noise_of_another_length() -> None:
    with pytest.raises(KernelArgumentError, match=r"noise has shape \[255, 9\]; expected \[256, 9\]"):
        harmonic_source(torch.zeros(1), torch.zeros(1, 9), torch.zeros(255, 9), _cu([1]), **SOURCE)
