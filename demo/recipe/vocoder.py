"""The vocoder: its F0 predictor first, then, with that frozen and driven by the true F0, the rest.

Losses: the log and the linear magnitudes of spectrograms at several windows, and the mel. An adversarial stage made
neither the mel nor the words better in a trial.
Source of the multi-resolution loss: Yamamoto et al. 2019 (arXiv 1910.11480).
"""

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F

from antiphon.engine.speak.packing import Packing
from antiphon.engine.speak.vocoder import HiFT
from demo.recipe.data import Corpus
from demo.recipe.mel import log_mel
from demo.recipe.scales import Scale
from demo.recipe.spoken import Spoken, crop
from demo.recipe.stage import Stage, freeze, train

_FRAMES: Final = 48  # of a crop: 0.56 s
_WINDOWS: Final = (128, 512, 1_024, 2_048)
_MEAN_PITCH: Final = 150.0  # Hz, where the predictor starts
_MEL_WEIGHT: Final = 2.0


def run(stage: Stage, corpus: Corpus, scale: Scale, seed: int, device: torch.device) -> None:
    """Train F0 predictor and filter."""
    torch.manual_seed(seed)
    vocoder = HiFT(scale.decoder_config.vocoder).to(device)
    with torch.no_grad():
        vocoder.f0_predictor.classifier.bias.fill_(_MEAN_PITCH)

    def batch(step: int, count: int, kind: int) -> list[Spoken]:
        random = np.random.default_rng((seed, kind, step))
        return [crop(corpus.assistant, _FRAMES, random) for _ in range(count)]

    packs = {count: Packing.of([_FRAMES] * count, device) for count in (scale.f0.batch, scale.vocoder.batch)}

    def pitch_loss(step: int) -> dict[str, torch.Tensor]:
        crops = batch(step, scale.f0.batch, 20)
        mel, f0 = (torch.cat(parts).to(device) for parts in ([c.mel for c in crops], [c.f0 for c in crops]))
        predicted = vocoder.f0_predictor(mel, packs[scale.f0.batch].cu_seqlens)
        return {"loss": F.l1_loss(predicted, f0)}

    pitch_error = train(stage, {"f0_predictor": vocoder.f0_predictor}, scale.f0, pitch_loss, seed, "f0.pt")["loss"]
    freeze(vocoder.f0_predictor)

    def filter_loss(step: int) -> dict[str, torch.Tensor]:
        crops = batch(step, scale.vocoder.batch, 21)
        wave = speak(vocoder, crops, packs[scale.vocoder.batch])
        wanted = torch.stack([one.wave for one in crops]).to(device)
        spectra = spectral_loss(wave, wanted)
        mel = F.l1_loss(log_mel(wave), log_mel(wanted))
        return {"loss": spectra + _MEL_WEIGHT * mel, "spectra": spectra, "mel": mel}

    losses = train(stage, {"vocoder": vocoder}, scale.vocoder, filter_loss, seed)
    stage.finish(f0_error_hz=pitch_error, **losses)


def load(stage: Stage, scale: Scale, device: torch.device) -> HiFT:
    """The trained vocoder, frozen."""
    state = stage.load()
    if state is None:
        raise FileNotFoundError(f"{stage.folder} holds no state.pt; run the stage {stage.name!r} first.")
    vocoder = HiFT(scale.decoder_config.vocoder)
    vocoder.load_state_dict(state["vocoder"])
    freeze(vocoder.to(device))
    return vocoder


def speak(vocoder: HiFT, crops: list[Spoken], packing: Packing) -> torch.Tensor:
    """The waves f32[crops, samples] of crops of one length, by their true mel and F0, with random phases."""
    config, device = vocoder.config, packing.cu_seqlens.device
    mel, f0 = (torch.cat(parts).to(device) for parts in ([c.mel for c in crops], [c.f0 for c in crops]))
    phase = (2 * torch.rand(len(crops), config.harmonics + 1, device=device) - 1) * torch.pi
    phase[:, 0] = 0
    noise = torch.randn(len(f0) * config.hop, config.harmonics + 1, device=device)
    source = vocoder.m_source(f0, phase, noise, packing.cu_seqlens)
    wave: torch.Tensor = vocoder(mel, source, packing.cu_seqlens)
    return wave.view(len(crops), -1)


def spectral_loss(wave: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """L1 of log magnitudes and spectral convergence over several windows; f32[batch, samples] each."""
    losses = []
    for size in _WINDOWS:
        given, target = _magnitudes(wave, size), _magnitudes(wanted, size)
        losses.append(F.l1_loss(given.log(), target.log()))
        losses.append((target - given).norm() / target.norm().clamp(min=1e-3))
    return torch.stack(losses).sum() / len(_WINDOWS)


def _magnitudes(wave: torch.Tensor, size: int) -> torch.Tensor:
    window = torch.hann_window(size, device=wave.device)
    spectrum = torch.stft(wave, size, size // 4, window=window, return_complex=True)
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-7)
