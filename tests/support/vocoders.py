"""Vocoders to speak turns with: the goldens', and tiny ones of other rates, with fixed random weights."""

from functools import cache

import torch
from goldens import golden

from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.weights.configs import VocoderConfig

# The published kernels and rates, few channels.
NARROW = VocoderConfig(mel_bins=8, base_channels=8, f0_channels=6)
# Other rates, kernels, transform and overtones: 24 samples a frame, one upsampling of odd rate.
ODD = VocoderConfig(
    mel_bins=5,
    base_channels=8,
    f0_channels=4,
    harmonics=2,
    upsample_rates=(4, 3),
    upsample_kernels=(8, 7),
    istft_n_fft=8,
    istft_hop=2,
    resblock_kernels=(3, 5),
    resblock_dilations=((1,), (1, 2)),
    source_kernels=(7, 3),
    source_dilations=((1, 3), (1,)),
)
# Three stages.
DEEP = VocoderConfig(
    mel_bins=4,
    base_channels=16,
    f0_channels=4,
    harmonics=1,
    upsample_rates=(2, 4, 2),
    upsample_kernels=(4, 4, 6),
    istft_n_fft=64,
    istft_hop=16,
    resblock_kernels=(3,),
    resblock_dilations=((1, 3),),
    source_kernels=(3, 3, 5),
    source_dilations=((1,), (1,), (2, 1)),
)
# One stage and 4 samples a frame: minutes cost little.
SHORT = VocoderConfig(
    mel_bins=3,
    base_channels=4,
    f0_channels=3,
    harmonics=1,
    upsample_rates=(2,),
    upsample_kernels=(4,),
    istft_n_fft=4,
    istft_hop=2,
    resblock_kernels=(3,),
    resblock_dilations=((1, 2),),
    source_kernels=(3,),
    source_dilations=((1,),),
)


@cache
def golden_vocoder() -> HiFT:
    """Shared: do not change it."""
    return SpeechDecoder.load(golden("decoder")).vocoder


def random_vocoder(config: VocoderConfig) -> HiFT:
    """In eval mode, with a pitch that moves about 120 Hz and falls silent here and there."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        vocoder = HiFT(config).eval().requires_grad_(False)
    classifier = vocoder.f0_predictor.classifier
    classifier.weight.mul_(1_500)
    classifier.bias.fill_(120)
    return vocoder


def random_mel(config: VocoderConfig, frames: int, seed: int = 0) -> torch.Tensor:
    """f32[mel_bins, frames]."""
    return torch.randn(config.mel_bins, frames, generator=torch.Generator().manual_seed(seed))
