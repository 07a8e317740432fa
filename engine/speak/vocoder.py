"""HiFT: from mel and source to the wave. A neural source-filter generator whose last layer is an inverse STFT.

Three separate parts, each a pure function of its inputs: `f0_predictor` (mel → F0), `m_source` (F0 and randomness →
source) and the filter, `forward` (mel and source → wave). Several dialogues go through at once as packed rows.

Source: zai-org/GLM-4-Voice cosyvoice/hifigan/generator.py (`HiFTGenerator`); Li et al. 2023, arXiv:2309.09493.
"""

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from antiphon.engine.speak.convolution import PackedConv1d, PackedConvTranspose1d
from antiphon.engine.speak.source import HarmonicSource
from antiphon.engine.speak.vocoder_blocks import F0Predictor, ResidualBlock, reflect_first
from antiphon.engine.weights.configs import VocoderConfig
from antiphon.kernels.istft_head import istft_head
from antiphon.kernels.packed_stft import packed_stft
from antiphon.kernels.residual_blocks import residual_blocks

_MAGNITUDE_LIMIT: Final = 100.0
_LAST_SLOPE: Final = 0.01  # the activation before `conv_post` has torch's default slope, not the configured one


class HiFT(nn.Module):
    """The vocoder. Parameter names are the checkpoint's, weight norm folded."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        stages = len(config.upsample_rates)
        channels = [config.base_channels // 2**i for i in range(stages + 1)]
        self.f0_predictor = F0Predictor(config.mel_bins, config.f0_channels)
        self.m_source = HarmonicSource(config)
        self.conv_pre = PackedConv1d(config.mel_bins, channels[0], 7, padding=3)
        self.ups = nn.ModuleList(
            PackedConvTranspose1d(channels[i], channels[i + 1], kernel, stride=rate, padding=(kernel - rate) // 2)
            for i, (rate, kernel) in enumerate(zip(config.upsample_rates, config.upsample_kernels, strict=True))
        )
        self.source_downs = nn.ModuleList(
            _source_down(config.istft_n_fft + 2, channels[i + 1], math.prod(config.upsample_rates[i + 1 :]))
            for i in range(stages)
        )
        self.source_resblocks = nn.ModuleList(
            ResidualBlock(channels[i + 1], kernel, dilations)
            for i, (kernel, dilations) in enumerate(zip(config.source_kernels, config.source_dilations, strict=True))
        )
        self.resblocks = nn.ModuleList(
            ResidualBlock(channels[i + 1], kernel, dilations)
            for i in range(stages)
            for kernel, dilations in zip(config.resblock_kernels, config.resblock_dilations, strict=True)
        )
        self.conv_post = PackedConv1d(channels[-1], config.istft_n_fft + 2, 7, padding=3)

    def cast_filter(self, dtype: torch.dtype) -> None:
        """Let the filter's convolutions run in `dtype`; F0 and source keep float32, since they move the phase."""
        for name, module in self.named_children():
            if name not in ("f0_predictor", "m_source"):
                module.to(dtype)

    def forward(
        self,
        mel: torch.Tensor,  # f32[ΣT, mel_bins]
        source: torch.Tensor,  # f32[ΣT · hop]
        cu_seqlens: torch.Tensor,  # i32[S + 1], in frames; each sequence has at least 1
    ) -> torch.Tensor:
        """Return the wave f32[ΣT · hop], within ± the configured limit."""
        config = self.config
        spectrum, cu_spectrum = packed_stft(
            source,
            cu_seqlens * config.hop,
            n_fft=config.istft_n_fft,
            hop=config.istft_hop,
            out_rows=len(source) // config.istft_hop + len(cu_seqlens) - 1,
        )
        dtype = self.conv_pre.weight.dtype
        spectrum = spectrum.to(dtype)
        x, cu = self.conv_pre(mel.to(dtype), cu_seqlens)
        x = F.leaky_relu(x, config.leaky_slope)
        for stage, upsample in enumerate(self.ups):
            x, cu = upsample(x, cu)
            if stage == len(self.ups) - 1:
                x, cu = reflect_first(x, cu)
            x = x + self._source_at(stage, spectrum, cu_spectrum, len(x))
            x = self.fuse(stage, x, cu)
        return self.speak(x, cu)

    def _source_at(self, stage: int, spectrum: torch.Tensor, cu_spectrum: torch.Tensor, rows: int) -> torch.Tensor:
        """The source's spectrum at the rate and width of `stage`, which has so many rows."""
        x, cu = self.source_downs[stage](spectrum, cu_spectrum, rows)
        fitted: torch.Tensor = self.source_resblocks[stage](x, cu)
        return fitted

    def fuse(self, stage: int, x: torch.Tensor, cu: torch.Tensor) -> torch.Tensor:
        """The mean of the stage's residual blocks, which differ in kernel, with the activation of the layer behind."""
        kernels = len(self.config.resblock_kernels)
        blocks = []
        for block in self.resblocks[stage * kernels : (stage + 1) * kernels]:
            assert isinstance(block, ResidualBlock)
            blocks.append(block.layers())
        slope = _LAST_SLOPE if stage == len(self.ups) - 1 else self.config.leaky_slope
        return residual_blocks(x, blocks, cu, slope=slope)

    def speak(self, x: torch.Tensor, cu: torch.Tensor) -> torch.Tensor:
        """The wave of what the last stage made, activated, f[ΣF, C]: f32[Σ(F − 1) · istft_hop]."""
        config = self.config
        x, cu = self.conv_post(x, cu)
        wave, _ = istft_head(
            x,
            cu,
            n_fft=config.istft_n_fft,
            hop=config.istft_hop,
            magnitude_limit=_MAGNITUDE_LIMIT,
            audio_limit=config.audio_limit,
        )
        return wave


def _source_down(channels_in: int, channels_out: int, rate: int) -> PackedConv1d:
    """Brings the source's spectrum down to the rate of one stage; at the last stage the rates agree."""
    if rate == 1:
        return PackedConv1d(channels_in, channels_out, 1)
    return PackedConv1d(channels_in, channels_out, 2 * rate, stride=rate, padding=rate // 2)
