"""The U-Net that estimates the flow's velocity, on packed rows at one rate or several.

Source: zai-org/GLM-4-Voice, cosyvoice/flow/decoder.py, `ConditionalDecoder`.
"""

from collections.abc import Sequence

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
from antiphon.engine.speak.packing import Rate
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

    def forward(
        self,
        x: torch.Tensor,  # f[ΣT, channels_in], or the first of them
        shift: torch.Tensor,  # f[S, channels_out]
        rate: Rate,
        added: torch.Tensor | None = None,  # f[ΣT, 2 · channels_out]: what the others come to in the resnet block
    ) -> torch.Tensor:
        """f[ΣT, channels_out]."""
        x = self.resnet(x, shift, rate, added)
        for transformer in self.transformers:
            x = transformer(x, rate)
        return x


class DownStage(Stage):
    """A stage on the way down. Its output is kept for the way up and goes on at half the rate, the last at the same."""

    def __init__(self, config: FlowConfig, channels_in: int, channels_out: int, last: bool):
        super().__init__(config, channels_in, channels_out)
        self.downsample = None if last else Conv(channels_out, stride=2)
        self.conv = Conv(channels_out) if last else None

    def leave(self, x: torch.Tensor, rate: Rate, next_rate: Rate) -> torch.Tensor:
        """f[ΣT, C] -> f[rows of `next_rate`, C]: half the rate, or the same from the last stage."""
        resample = self.downsample or self.conv
        assert resample is not None
        y: torch.Tensor = resample(x, rate, next_rate)
        return y


class UpStage(Stage):
    """A stage on the way up. It takes in what was kept at its rate and leaves at twice it, the last at the same."""

    def __init__(self, config: FlowConfig, channels_in: int, channels_out: int, last: bool):
        super().__init__(config, channels_in, channels_out)
        self.upsample = None if last else Upsample(channels_out)
        self.conv = Conv(channels_out) if last else None

    def leave(self, x: torch.Tensor, rate: Rate, doubled: Rate | None) -> torch.Tensor:
        """f[ΣT, C] -> f[rows of `doubled`, C], or f[ΣT, C] from the last stage, where `doubled` is None."""
        if doubled is None:
            assert self.conv is not None
            y: torch.Tensor = self.conv(x, rate, rate)
        else:
            assert self.upsample is not None
            y = self.upsample(x, rate, doubled)
        return y


class Estimator(nn.Module):
    """The velocity of a noisy mel, given the time and the conditions beside it.

    Of its first layer's input only the noisy mel changes along a solve, and the time is one of few: what the conditions
    (`of_conditions`) and the times (`shifts`) come to is computed apart from `forward`, once for all steps.
    """

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

    @property
    def n_rates(self) -> int:
        """At how many rates it looks at the rows, each half the one before."""
        return len(self.down_blocks)

    @property
    def _resnets(self) -> list[ResnetBlock]:
        """In the order in which they run."""
        return [stage.resnet for stage in (*self.down_blocks, *self.mid_blocks, *self.up_blocks)]

    @property
    def _shift_widths(self) -> list[int]:
        return [resnet.time_proj.out_features for resnet in self._resnets]

    @property
    def shift_width(self) -> int:
        """Columns of `shifts`."""
        return sum(self._shift_widths)

    @property
    def added_width(self) -> int:
        """Columns of `of_conditions`."""
        return 2 * self._resnets[0].res_conv.out_channels

    def shifts(
        self,
        t: torch.Tensor,  # f32[S], in [0, 1]
    ) -> torch.Tensor:
        """What the time adds in each resnet block, side by side: f[S, …]."""
        time = F.mish(self.time_mlp(t))  # every resnet block begins with Mish: done once for all
        return torch.cat([resnet.time_proj(time) for resnet in self._resnets], dim=1)

    def of_conditions(
        self,
        conditions: torch.Tensor,  # f[ΣT, estimator_in − mel_bins]: mu, speaker and condition side by side
        rate: Rate,
    ) -> torch.Tensor:
        """What the conditions come to in the first layer, f[ΣT, …]. Zeros come to zeros."""
        return self._resnets[0].of_last_channels(conditions, rate)

    def forward(
        self,
        x: torch.Tensor,  # f[ΣT, mel_bins]: noisy mel
        shifts: torch.Tensor,  # f[S, …]: `shifts` of each sequence's time
        added: torch.Tensor,  # f[ΣT, …]: `of_conditions`
        rates: Sequence[Rate],  # `n_rates` of them, from x's own down
    ) -> torch.Tensor:
        """f[ΣT, mel_bins]."""
        shift = iter(torch.split(shifts, self._shift_widths, dim=1))
        skips: list[torch.Tensor] = []
        for stage, rate, next_rate in zip(self.down_blocks, rates, (*rates[1:], rates[-1]), strict=True):
            assert isinstance(stage, DownStage)
            x = stage(x, next(shift), rate, None if skips else added)
            skips.append(x)
            x = stage.leave(x, rate, next_rate)
        for stage in self.mid_blocks:
            x = stage(x, next(shift), rates[-1])
        for stage, rate, doubled in zip(self.up_blocks, rates[::-1], (*rates[-2::-1], None), strict=True):
            assert isinstance(stage, UpStage)
            x = stage(torch.cat((x, skips.pop()), dim=1), next(shift), rate)
            x = stage.leave(x, rate, doubled)
        x = self.final_block(x, rates[0])
        return F.linear(x, self.final_proj.weight.squeeze(2), self.final_proj.bias)
