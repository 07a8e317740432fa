"""The vocoder's layers against the official ones, and what must hold for any input."""

import numpy as np
import pytest
import torch
from compare import assert_close
from goldens import golden
from tolerances import TOLERANCE

from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.speak.packing import Packing
from antiphon.engine.speak.source import official_randomness
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.weights.configs import VocoderConfig
from antiphon.kernels.packed_stft import packed_stft

TINY = VocoderConfig(base_channels=16, f0_channels=8)


@pytest.fixture(scope="module")
def vocoder() -> HiFT:
    return SpeechDecoder.load(golden("decoder")).vocoder


def _packing(*lengths: int) -> Packing:
    return Packing.of(lengths, torch.device("cpu"))


def test_layers(vocoder: HiFT) -> None:
    unit = np.load(golden("decoder/hift_unit.npz"))
    mel, source = torch.from_numpy(unit["mel"]).t(), torch.from_numpy(unit["source"].astype(np.float32))
    spectrum, _ = packed_stft(source, _packing(len(source)).cu_seqlens, n_fft=16, hop=4)
    assert_close(
        spectrum.t(), np.concatenate([unit["stft_real"], unit["stft_imag"]]), TOLERANCE["wave-from-mel"], "stft"
    )
    watched = {
        "conv_pre": vocoder.conv_pre,
        "up0": vocoder.ups[0],
        "up1": vocoder.ups[1],
        "source_res0": vocoder.source_resblocks[0],
        "source_res1": vocoder.source_resblocks[1],
        "conv_post": vocoder.conv_post,
    }
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        module.register_forward_hook(
            lambda _, __, output, name=name: seen.update({name: output[0] if isinstance(output, tuple) else output})
        )
        for name, module in watched.items()
    ]
    with torch.inference_mode():
        vocoder(mel, source, _packing(len(mel)).cu_seqlens)
    for hook in hooks:
        hook.remove()
    for name, rows in seen.items():
        assert_close(rows.t(), unit[name], TOLERANCE["wave-from-mel"], name)
    assert seen.keys() == watched.keys()


def test_source_mixed_from_the_official_sines(vocoder: HiFT) -> None:
    unit = np.load(golden("decoder/sinegen_unit.npz"))
    f0, phase, noise = (torch.from_numpy(unit[name]) for name in ("f0", "phase", "noise"))
    source = vocoder.m_source(f0, phase[None], noise.t(), _packing(16).cu_seqlens)
    assert_close(source, unit["source"], TOLERANCE["sine"], "source")


def test_official_draws_leave_the_global_generator_alone() -> None:
    asis = np.load(golden("decoder/asis_cpu_rng.npz"))
    frames = asis["mel"].shape[1]
    before = torch.get_rng_state()
    draws = official_randomness(frames, frames, VocoderConfig())
    assert torch.equal(torch.get_rng_state(), before)
    assert_close(draws.phase, asis["phase"], 0, "phase")
    assert_close(draws.noise[:256].t(), asis["noise_first_256"], 0, "noise")
    assert draws.noise.shape == (frames * 256, 9)


def test_batch_equals_singles(vocoder: HiFT) -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = (7, 1, 18)
    mels = [torch.randn(n, 80, generator=generator) for n in lengths]
    draws = [official_randomness(n, n, vocoder.config) for n in lengths]
    phase, noise = torch.stack([draw.phase for draw in draws]), torch.cat([draw.noise for draw in draws])
    cu_seqlens = _packing(*lengths).cu_seqlens
    with torch.inference_mode():
        f0 = vocoder.f0_predictor(torch.cat(mels), cu_seqlens)
        source = vocoder.m_source(f0, phase, noise, cu_seqlens)
        wave = vocoder(torch.cat(mels), source, cu_seqlens)
        samples = [256 * n for n in lengths]
        pieces = zip(mels, draws, f0.split(lengths), source.split(samples), wave.split(samples), strict=True)
        for mel, draw, its_f0, its_source, its_wave in pieces:
            alone = _packing(len(mel)).cu_seqlens
            assert_close(its_f0, vocoder.f0_predictor(mel, alone), TOLERANCE["f0"], "F0")
            made = vocoder.m_source(its_f0, draw.phase[None], draw.noise, alone)
            assert_close(its_source, made, TOLERANCE["vocoder-batch"], "source")
            assert_close(its_wave, vocoder(mel, its_source, alone), TOLERANCE["vocoder-batch"], "wave")


def test_gradients_are_finite_and_reach_every_parameter_of_the_filter() -> None:
    torch.manual_seed(0)
    vocoder = HiFT(TINY)
    mel = torch.randn(5, 80, requires_grad=True)
    cu_seqlens = _packing(2, 3).cu_seqlens
    f0 = vocoder.f0_predictor(mel, cu_seqlens)
    draws = official_randomness(5, 5, TINY)
    source = vocoder.m_source(f0, draws.phase.expand(2, -1), draws.noise, cu_seqlens)
    (vocoder(mel, source, cu_seqlens).square().mean() + f0.mean()).backward()
    for name, parameter in vocoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert mel.grad is not None and mel.grad.isfinite().all()


@pytest.mark.parametrize(
    "config",
    [
        VocoderConfig(base_channels=16, f0_channels=8, upsample_rates=(4, 4), upsample_kernels=(8, 8), istft_n_fft=64,
                      istft_hop=16),
        VocoderConfig(base_channels=16, f0_channels=8, upsample_rates=(8, 4, 2), upsample_kernels=(16, 8, 4),
                      source_kernels=(7, 7, 11), source_dilations=((1,), (1, 3), (1, 3, 5)), resblock_kernels=(3, 5),
                      resblock_dilations=((1,), (1, 2)), harmonics=3),
    ],
)  # fmt: skip
def test_other_rates_and_kernels(config: VocoderConfig) -> None:
    vocoder = HiFT(config)
    packing = _packing(3, 2)
    wave = vocoder(torch.randn(5, 80), torch.zeros(5 * config.hop), packing.cu_seqlens)
    assert wave.shape == (5 * config.hop,) and wave.isfinite().all()


def test_filter_in_bfloat16_keeps_f0_in_float32() -> None:
    vocoder = HiFT(TINY)
    vocoder.cast_filter(torch.bfloat16)
    assert vocoder.f0_predictor.classifier.weight.dtype == vocoder.m_source.l_linear.weight.dtype == torch.float32
    wave = vocoder(torch.randn(3, 80), torch.zeros(3 * 256), _packing(3).cu_seqlens)
    assert wave.dtype == torch.float32 and wave.isfinite().all()


def test_builds_at_full_size_without_memory() -> None:
    with torch.device("meta"):
        vocoder = HiFT(VocoderConfig())
    folded = sum(parameter.numel() for parameter in vocoder.parameters())
    assert folded == 20_460_591 - _weight_norm_gains(vocoder)


def _weight_norm_gains(vocoder: HiFT) -> int:
    """How many values `weight_g` holds in the official file: one per first-dimension row of each normalised tensor."""
    return sum(
        parameter.shape[0]
        for name, parameter in vocoder.named_parameters()
        if name.endswith("weight") and parameter.ndim == 3 and not name.startswith("source_downs")
    )
