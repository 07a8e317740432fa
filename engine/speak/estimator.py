"""The U-Net that estimates the flow's velocity, on packed rows at one rate or several.

Source: zai-org/GLM-4-Voice, cosyvoice/flow/decoder.py, `ConditionalDecoder`.
"""

import torch
import torch.nn.functional as F
from torch import nn

from antiphon.engine.speak.flow_blocks import (
    Conv,
    ConvBlock,
    ResnetBlock,
    TimeEmbedding,
    TransformerBlock,
    Upsample,
)
from antiphon.engine.speak.packing import Packing
from antiphon.engine.weights.configs import FlowConfig


class Stage(nn.Module):
    """A resnet block and its transformer blocks, all at one rate."""

    def __init__(self, config: FlowConfig, channels_in: int, channels_out: int):
        super().__init__()
        heads, head_dim = config.estimator_heads, config.estimator_head_dim
        self.resnet = ResnetBlock(channels_in, channels_out, 4 * config.estimator_channels[0])
        self.transformers = nn.ModuleList(
            TransformerBlock(channels_out, heads, head_dim) for _ in range(config.estimator_blocks)
        )

    def forward(self, x: torch.Tensor, time: torch.Tensor, packing: Packing) -> torch.Tensor:
        """f[ΣT, channels_in] -> f[ΣT, channels_out]."""
        x = self.resnet(x, time, packing)
        for transformer in self.transformers:
            x = transformer(x, packing)
        return x


class DownStage(Stage):
    """A stage on the way down. Its output is kept for the way up and goes on at half the rate, the last at the same."""

    def __init__(self, config: FlowConfig, channels_in: int, channels_out: int, last: bool):
        super().__init__(config, channels_in, channels_out)
        self.downsample = None if last else Conv(channels_out, stride=2)
        self.conv = Conv(channels_out) if last else None

    def leave(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        """f[ΣT, C] -> f[Σ⌈T/2⌉, C], or f[ΣT, C] from the last stage."""
        resample = self.downsample or self.conv
        assert resample is not None
        y: torch.Tensor = resample(x, packing)
        return y


class UpStage(Stage):
    """A stage on the way up. It takes in what was kept at its rate and leaves at twice it, the last at the same."""

    def __init__(self, config: FlowConfig, channels_in: int, channels_out: int, last: bool):
        super().__init__(config, channels_in, channels_out)
        self.upsample = None if last else Upsample(channels_out)
        self.conv = Conv(channels_out) if last else None

    def leave(self, x: torch.Tensor, packing: Packing, doubled: Packing | None) -> torch.Tensor:
        """f[ΣT, C] -> f[rows of `doubled`, C], or f[ΣT, C] from the last stage, where `doubled` is None."""
        if doubled is None:
            assert self.conv is not None
            y: torch.Tensor = self.conv(x, packing)
        else:
            assert self.upsample is not None
            y = self.upsample(x, packing, doubled)
        return y


class Estimator(nn.Module):
    """The velocity of a noisy mel, given the time and the conditions beside it."""

    def __init__(self, config: FlowConfig):
        super().__init__()
        channels, time_size = config.estimator_channels, 4 * config.estimator_channels[0]
        last = len(channels) - 1
        ways_in = (config.estimator_in, *channels)
        ways_out = (*channels[::-1], channels[0])
        self.time_mlp = TimeEmbedding(config.estimator_in, time_size)
        self.down_blocks = nn.ModuleList(
            DownStage(config, ways_in[i], ways_in[i + 1], last=i == last) for i in range(len(channels))
        )
        self.mid_blocks = nn.ModuleList(
            Stage(config, channels[-1], channels[-1]) for _ in range(config.estimator_mid_blocks)
        )
        self.up_blocks = nn.ModuleList(
            UpStage(config, 2 * ways_out[i], ways_out[i + 1], last=i == last) for i in range(len(channels))
        )
        self.final_block = ConvBlock(channels[0], channels[0])
        self.final_proj = nn.Conv1d(channels[0], config.mel_bins, 1)

    def forward(
        self,
        x: torch.Tensor,  # f[ΣT, estimator_in]: noisy mel, mu, speaker and condition side by side
        t: torch.Tensor,  # f32[S], in [0, 1]
        packing: Packing,
    ) -> torch.Tensor:
        """f[ΣT, mel_bins]."""
        time = F.mish(self.time_mlp(t))  # every resnet block begins with Mish: done once for all
        rates = [packing]
        for _ in self.down_blocks[1:]:
            rates.append(rates[-1].halved())
        skips = []
        for stage, rate in zip(self.down_blocks, rates, strict=True):
            assert isinstance(stage, DownStage)
            x = stage(x, time, rate)
            skips.append(x)
            x = stage.leave(x, rate)
        for stage in self.mid_blocks:
            x = stage(x, time, rates[-1])
        for stage in self.up_blocks:
            assert isinstance(stage, UpStage)
            rate = rates.pop()
            x = stage(torch.cat((x, skips.pop()), dim=1), time, rate)
            x = stage.leave(x, rate, doubled=rates[-1] if rates else None)
        x = self.final_block(x, packing)
        return F.linear(x, self.final_proj.weight.squeeze(2), self.final_proj.bias)
