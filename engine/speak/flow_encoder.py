"""The flow's encoder: speech tokens, embedded, to hidden rows at the tokens' own rate.

Source: zai-org/GLM-4-Voice, cosyvoice/transformer/encoder.py, `BlockConformerEncoder` with the published settings:
linear input layer, espnet relative positions, layer norm before each part, no convolution module and no macaron feed-
forward.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from antiphon.engine.speak.encoder_history import EncoderHistory, with_histories
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

    def begin(self) -> EncoderHistory:
        """The history of a turn that has none."""
        weight, attention = self.input_proj.weight, self._attention
        nothing = weight.new_zeros(len(self.layers), 0, attention.heads, self.size // attention.heads)
        return EncoderHistory(nothing, nothing)

    def extend(
        self,
        x: torch.Tensor,  # f[ΣN, input_size]: of each turn the tokens after its history's
        packing: Packing,
        histories: Sequence[EncoderHistory],
        limit: int,  # tokens of a history at most
    ) -> tuple[torch.Tensor, list[EncoderHistory]]:
        """f[ΣN, encoder_size], and each turn's history with the blocks that are full now.

        Those rows are what `forward` makes of them in the whole turn, as long as no block has left the history; and
        rows of a block that is not full yet are what they are with nothing after them. In eval mode.
        """
        x = self.embed(x) * math.sqrt(self.size)
        together = Packing.of(
            [history.tokens + new for history, new in zip(histories, packing.lengths, strict=True)], x.device
        )
        positions = relative_positions(packing.max_length, self.size, x.device, keys=together.max_length).to(x.dtype)
        made = []
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, ConformerLayer)
            past = [(history.keys[i], history.values[i]) for history in histories]
            x, *pair = layer.extend(x, positions, packing, together, past)
            made.append(pair)
        new = [torch.split(torch.stack(rows), list(packing.lengths), dim=1) for rows in zip(*made, strict=True)]
        block = self._attention.block
        after = []
        for history, keys, values in zip(histories, *new, strict=True):
            full = keys.shape[1] // block * block
            after.append(history.extended(keys[:, :full], values[:, :full], limit // block * block))
        return self.after_norm(x), after

    @property
    def _attention(self) -> "RelativeAttention":
        layer = self.layers[0]
        assert isinstance(layer, ConformerLayer)
        return layer.self_attn

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

    def extend(
        self,
        x: torch.Tensor,  # f[ΣN, C]
        positions: torch.Tensor,  # f[most keys + max_length − 1, C]
        packing: Packing,
        together: Packing,  # of histories and rows
        past: Sequence[tuple[torch.Tensor, torch.Tensor]],  # keys and values f[tokens, H, D] of each sequence
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """f[ΣN, C], and the rows' own keys and values, f[ΣN, H, D]."""
        attention = self.self_attn
        q, k, v = attention.project(self.norm_mha(x))
        keys = with_histories([keys for keys, _ in past], k, packing)
        values = with_histories([values for _, values in past], v, packing)
        x = x + attention.attend(q, keys, values, positions, packing, together)
        return x + self.feed_forward(self.norm_ff(x)), k, v


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
        return self.attend(*self.project(x), positions, packing, packing)

    def project(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values of rows f[N, C]: three f[N, H, D]."""
        q, k, v = (linear(x).view(len(x), self.heads, -1) for linear in (self.linear_q, self.linear_k, self.linear_v))
        return q, k, v

    def attend(
        self,
        q: torch.Tensor,  # f[ΣN, H, D]
        k: torch.Tensor,  # f[ΣK, H, D]
        v: torch.Tensor,  # f[ΣK, H, D]
        positions: torch.Tensor,  # f[most keys + most rows − 1, C]
        rows: Packing,  # ΣN: the last of each sequence's keys
        keys: Packing,  # ΣK
    ) -> torch.Tensor:
        """f[ΣN, C]."""
        heads = relative_attention(
            q,
            k,
            v,
            self.linear_pos(positions).view(len(positions), self.heads, -1),
            self.pos_bias_u,
            self.pos_bias_v,
            rows.cu_seqlens,
            max_seqlen=rows.max_length,
            block=self.block,
            cu_seqlens_k=keys.cu_seqlens,
            max_seqlen_k=keys.max_length,
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


def relative_positions(length: int, size: int, device: torch.device, *, keys: int | None = None) -> torch.Tensor:
    """f32[keys + length − 1, size]: sines (even channels) and cosines (odd) of the offsets keys − 1 down to 1 − length.

    `length` rows are the last of `keys`; None: they are all of them. Source: espnet's relative positional encoding;
    zai-org/GLM-4-Voice, cosyvoice/transformer/embedding.py.
    """
    furthest = length if keys is None else keys
    offsets = torch.arange(furthest - 1, -length, -1, dtype=torch.float32, device=device)
    channels = torch.arange(0, size, 2, dtype=torch.float32, device=device)
    angles = offsets[:, None] * torch.exp(channels * -(math.log(10_000.0) / size))
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)
