"""The flow's encoder: speech tokens, embedded, to hidden rows at the tokens' own rate.

Source: zai-org/GLM-4-Voice, cosyvoice/transformer/encoder.py, `BlockConformerEncoder` with the published settings:
linear input layer, espnet relative positions, layer norm before each part, no convolution module and no macaron feed-
forward.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from antiphon.engine.speak.packing import Packing
from antiphon.engine.weights.configs import FlowConfig
from antiphon.kernels.relative_attention import relative_attention


class BlockConformerEncoder(nn.Module):
    """Conformer layers whose rows see their own block of tokens and all blocks before it."""

    def __init__(self, config: FlowConfig):
        super().__init__()
        self.size = config.encoder_size
        self.input_proj = nn.Linear(config.input_size, self.size)
        self.input_norm = nn.LayerNorm(self.size)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.encoder_layers))
        self.after_norm = nn.LayerNorm(self.size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: torch.Tensor,  # f[ΣN, input_size]
        packing: Packing,
    ) -> torch.Tensor:
        """f[ΣN, encoder_size]."""
        x = self.dropout(self.embed(x) * math.sqrt(self.size))  # scaled to stand beside the positions
        positions = self.dropout(relative_positions(packing.max_length, self.size, x.device).to(x.dtype))
        for layer in self.layers:
            x = layer(x, positions, packing)
        normed: torch.Tensor = self.after_norm(x)
        return normed

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """The input layer: f[ΣN, input_size] -> f[ΣN, encoder_size]."""
        y: torch.Tensor = self.dropout(self.input_norm(self.input_proj(x)))
        return y


class ConformerLayer(nn.Module):
    """Attention and feed-forward, each behind a layer norm and beside a residual."""

    def __init__(self, config: FlowConfig):
        super().__init__()
        self.self_attn = RelativeAttention(config)
        self.feed_forward = FeedForward(config)
        self.norm_mha = nn.LayerNorm(config.encoder_size)
        self.norm_ff = nn.LayerNorm(config.encoder_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, positions: torch.Tensor, packing: Packing) -> torch.Tensor:
        """f[ΣN, C] -> f[ΣN, C]."""
        x = x + self.dropout(self.self_attn(self.norm_mha(x), positions, packing))
        y: torch.Tensor = x + self.dropout(self.feed_forward(self.norm_ff(x)))
        return y


class RelativeAttention(nn.Module):
    """Self-attention with relative positions, as the operation `relative_attention` defines it."""

    def __init__(self, config: FlowConfig):
        super().__init__()
        size, self.heads, self.block = config.encoder_size, config.encoder_heads, config.encoder_block
        self.linear_q = nn.Linear(size, size)
        self.linear_k = nn.Linear(size, size)
        self.linear_v = nn.Linear(size, size)
        self.linear_out = nn.Linear(size, size)
        self.linear_pos = nn.Linear(size, size, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(self.heads, size // self.heads))
        self.pos_bias_v = nn.Parameter(torch.empty(self.heads, size // self.heads))
        self.dropout_rate = config.dropout
        nn.init.xavier_uniform_(self.pos_bias_u)
        nn.init.xavier_uniform_(self.pos_bias_v)

    def forward(
        self,
        x: torch.Tensor,  # f[ΣN, C]
        positions: torch.Tensor,  # f[2·max_length − 1, C]
        packing: Packing,
    ) -> torch.Tensor:
        """f[ΣN, C]."""
        q, k, v, p = (
            rows.view(len(rows), self.heads, -1)
            for rows in (self.linear_q(x), self.linear_k(x), self.linear_v(x), self.linear_pos(positions))
        )
        heads = relative_attention(
            q,
            k,
            v,
            p,
            self.pos_bias_u,
            self.pos_bias_v,
            packing.cu_seqlens,
            max_seqlen=packing.max_length,
            block=self.block,
            dropout=self.dropout_rate if self.training else 0.0,
        )
        y: torch.Tensor = self.linear_out(heads.flatten(1))
        return y


class FeedForward(nn.Module):
    """Two linear layers with SiLU between them."""

    def __init__(self, config: FlowConfig):
        super().__init__()
        self.w_1 = nn.Linear(config.encoder_size, config.encoder_ffn)
        self.w_2 = nn.Linear(config.encoder_ffn, config.encoder_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """f[N, C] -> f[N, C]."""
        y: torch.Tensor = self.w_2(self.dropout(F.silu(self.w_1(x))))
        return y


def relative_positions(length: int, size: int, device: torch.device) -> torch.Tensor:
    """f32[2·length − 1, size]: sines (even channels) and cosines (odd) of the offsets length − 1 down to 1 − length.

    Source: espnet's relative positional encoding; zai-org/GLM-4-Voice, cosyvoice/transformer/embedding.py.
    """
    offsets = torch.arange(length - 1, -length, -1, dtype=torch.float32, device=device)
    channels = torch.arange(0, size, 2, dtype=torch.float32, device=device)
    angles = offsets[:, None] * torch.exp(channels * -(math.log(10_000.0) / size))
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)
