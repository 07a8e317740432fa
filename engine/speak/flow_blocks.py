"""The parts the flow's U-Net is made of, on packed rows.

Source: shivammehta25/Matcha-TTS, matcha/models/components/decoder.py and transformer.py (diffusers' attention and feed-
forward).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from antiphon.engine.speak.packing import Rate
from antiphon.kernels.conv_norm_mish import conv_norm_mish
from antiphon.kernels.feed_forward_gelu import feed_forward_gelu
from antiphon.kernels.layer_norm_linear import layer_norm_linear
from antiphon.kernels.packed_conv1d import packed_conv1d
from antiphon.kernels.packed_upsample import packed_upsample
from antiphon.kernels.varlen_attention import varlen_attention

_NORM_GROUPS = 8
_TIME_SCALE = 1_000.0  # the time of the flow runs from 0 to 1, its embedding expects thousands


class TimeEmbedding(nn.Module):
    """The flow's time as sines and cosines, through two linear layers with SiLU between."""

    def __init__(self, size: int, hidden: int):
        super().__init__()
        self.size = size
        self.linear_1 = nn.Linear(size, hidden)
        self.linear_2 = nn.Linear(hidden, hidden)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """t f32[S] in [0, 1] -> f[S, hidden]."""
        half = self.size // 2
        rates = torch.exp(torch.arange(half, dtype=torch.float32, device=t.device) * -(math.log(10_000) / (half - 1)))
        angles = _TIME_SCALE * t[:, None] * rates
        waves = torch.cat((angles.sin(), angles.cos()), dim=1).to(self.linear_1.weight.dtype)
        hidden: torch.Tensor = self.linear_2(F.silu(self.linear_1(waves)))
        return hidden


class ConvBlock(nn.Module):
    """Convolution of three taps, GroupNorm over each sequence's own frames, Mish."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.GroupNorm(_NORM_GROUPS, channels_out)

    def forward(
        self,
        x: torch.Tensor,  # f[ΣT, channels_in]
        rate: Rate,
        shift: torch.Tensor | None = None,  # f[S, channels_out], added after Mish
        added: torch.Tensor | None = None,  # f[ΣT, channels_out]: what the channels that x lacks, its last, come to
    ) -> torch.Tensor:
        """f[ΣT, channels_out]."""
        assert self.conv.bias is not None
        return conv_norm_mish(
            x,
            self.conv.weight[:, : x.shape[1]],
            self.conv.bias,
            self.norm.weight,
            self.norm.bias,
            rate.cu_seqlens,
            max_seqlen=rate.max_length,
            groups=self.norm.num_groups,
            eps=self.norm.eps,
            added=added,
            shift=shift,
        )


class ResnetBlock(nn.Module):
    """Two convolution blocks with the time between them, beside a convolution of one tap."""

    def __init__(self, channels_in: int, channels_out: int, time_size: int):
        super().__init__()
        self.time_proj = nn.Linear(time_size, channels_out)
        self.block1 = ConvBlock(channels_in, channels_out)
        self.block2 = ConvBlock(channels_out, channels_out)
        self.res_conv = nn.Conv1d(channels_in, channels_out, 1)

    def forward(
        self,
        x: torch.Tensor,  # f[ΣT, channels_in], or the first of them
        shift: torch.Tensor,  # f[S, channels_out]: `time_proj` of the time embedding after Mish
        rate: Rate,
        added: torch.Tensor | None = None,  # f[ΣT, 2 · channels_out]: `of_last_channels`, of those that x lacks
    ) -> torch.Tensor:
        """f[ΣT, channels_out]."""
        convolved, shortcut = (None, None) if added is None else added.chunk(2, dim=1)
        h = self.block1(x, rate, shift, convolved)
        h = self.block2(h, rate)
        y: torch.Tensor = h + F.linear(x, self.res_conv.weight[:, : x.shape[1], 0], self.res_conv.bias)
        return y if shortcut is None else y + shortcut

    def of_last_channels(
        self,
        x: torch.Tensor,  # f[ΣT, C], the last of channels_in
        rate: Rate,
    ) -> torch.Tensor:
        """What they add to the first block's convolution and, beside it, to the shortcut: f[ΣT, 2 · channels_out]."""
        first = self.res_conv.in_channels - x.shape[1]
        convolved, _ = packed_conv1d(x, self.block1.conv.weight[:, first:], None, rate.cu_seqlens, padding=(1, 1))
        return torch.cat((convolved, F.linear(x, self.res_conv.weight[:, first:, 0])), dim=1)


class SelfAttention(nn.Module):
    """Full attention within each sequence; the inner width is the heads' own, whatever the channels."""

    def __init__(self, channels: int, heads: int, head_dim: int):
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.to_q = nn.Linear(channels, heads * head_dim, bias=False)
        self.to_k = nn.Linear(channels, heads * head_dim, bias=False)
        self.to_v = nn.Linear(channels, heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, channels)

    def forward(self, x: torch.Tensor, norm: nn.LayerNorm, rate: Rate) -> torch.Tensor:
        """f[ΣT, C] -> f[ΣT, C]; `norm` comes before the projections."""
        weights = (self.to_q.weight, self.to_k.weight, self.to_v.weight)
        q, k, v = (
            rows.view(-1, self.heads, self.head_dim)
            for rows in layer_norm_linear(x, norm.weight, norm.bias, weights, eps=norm.eps)
        )
        offsets = rate.cu_seqlens
        attended = varlen_attention(q, k, v, offsets, offsets, scale=self.head_dim**-0.5)
        y: torch.Tensor = self.to_out(attended.flatten(1))
        return y


class FeedForward(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, channels: int):
        super().__init__()
        self.w_1 = nn.Linear(channels, 4 * channels)
        self.w_2 = nn.Linear(4 * channels, channels)

    def forward(self, x: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
        """x + the feed-forward of `norm(x)`: f[N, C] -> f[N, C]."""
        up, down = self.w_1, self.w_2
        return feed_forward_gelu(x, norm.weight, norm.bias, up.weight, up.bias, down.weight, down.bias, eps=norm.eps)


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each behind a layer norm and beside a residual."""

    def __init__(self, channels: int, heads: int, head_dim: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = SelfAttention(channels, heads, head_dim)
        self.norm2 = nn.LayerNorm(channels)
        self.feed_forward = FeedForward(channels)

    def forward(self, x: torch.Tensor, rate: Rate) -> torch.Tensor:
        """f[ΣT, C] -> f[ΣT, C]."""
        x = x + self.attention(x, self.norm1, rate)
        y: torch.Tensor = self.feed_forward(x, self.norm2)
        return y


class Conv(nn.Conv1d):
    """A convolution of three taps at the rate of its rows, or at half of it."""

    def __init__(self, channels: int, stride: int = 1):
        super().__init__(channels, channels, 3, stride=stride, padding=1)

    def forward(self, x: torch.Tensor, rate: Rate, out: Rate) -> torch.Tensor:  # type: ignore[override]
        """f[ΣT, C] -> f[rows of `out`, C]: of the same rate, or of half of it with stride 2."""
        stride = self.stride[0]
        y, _ = packed_conv1d(
            x, self.weight, self.bias, rate.cu_seqlens, stride=stride, padding=(1, 1), out_rows=out.rows
        )
        return y


class Upsample(nn.ConvTranspose1d):
    """Doubles the rate, cropped to the lengths there were before halving."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 4, stride=2, padding=1)

    def forward(self, x: torch.Tensor, rate: Rate, doubled: Rate) -> torch.Tensor:  # type: ignore[override]
        """f[ΣT, C] -> f[rows of `doubled`, C]."""
        assert self.bias is not None
        return packed_upsample(
            x,
            self.weight,
            self.bias,
            rate.cu_seqlens,
            doubled.cu_seqlens,
            max_seqlen=rate.max_length,
            out_rows=doubled.rows,
        )
