"""The parts of the GLM stack. Parameters carry the names of the official checkpoint.

Source: modeling_chatglm.py of glm-4-voice-9b (GLMBlock, SelfAttention, MLP, RMSNorm, RotaryEmbedding). Its scaling of
scores by layer number cancels out and is left out.
"""

import torch
from torch import nn

from antiphon.engine.think.kv_cache import PackedBatch
from antiphon.engine.weights.configs import LanguageModelConfig
from antiphon.kernels.paged_attention import paged_attention
from antiphon.kernels.rms_norm import rms_norm
from antiphon.kernels.rope_paged_write import rope_paged_write
from antiphon.kernels.swiglu import swiglu
from antiphon.kernels.varlen_attention import varlen_attention

LayerPages = tuple[torch.Tensor, torch.Tensor]  # keys and values, f[n_pages, page_size, kv_heads, head_dim] each


class RMSNorm(nn.Module):
    """`antiphon.kernels.rms_norm` with its weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """(the norm of x + residual, that sum): f[N, size] each."""
        return rms_norm(x, self.weight, self.eps, residual)


def rope_cos_sin(
    positions: torch.Tensor,  # i64[N]
    head_dim: int,
    theta: float,
    dtype: torch.dtype,  # the model's
) -> torch.Tensor:
    """f32[N, head_dim / 4, 2]: cosine and sine of the angles that turn the first half of each head.

    Computed in float32 and rounded to the model's dtype, as the official table is.
    """
    rotated = head_dim // 2
    exponents = torch.arange(0, rotated, 2, dtype=torch.float32, device=positions.device) / rotated
    angles = torch.outer(positions.float(), 1.0 / theta**exponents)
    return torch.stack((angles.cos(), angles.sin()), dim=-1).to(dtype).float()


class SelfAttention(nn.Module):
    """Grouped-query causal attention, over the cache where there is one."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        width, kv_width = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.query_key_value = nn.Linear(config.hidden, width + 2 * kv_width)  # rows: all queries, keys, values
        self.dense = nn.Linear(width, config.hidden, bias=False)

    def forward(
        self, x: torch.Tensor, cos_sin: torch.Tensor, batch: PackedBatch, pages: LayerPages | None
    ) -> torch.Tensor:
        """f[N, hidden] → f[N, hidden]. Writes the rows' keys and values into `pages`."""
        heads, kv_heads = self.config.heads, self.config.kv_heads
        qkv: torch.Tensor = self.query_key_value(x)
        q, k, v = torch.split(qkv.view(len(x), -1, self.config.head_dim), [heads, kv_heads, kv_heads], dim=1)
        scale = self.config.head_dim**-0.5
        if pages is None:
            q, k = rope_paged_write(q, k, v, cos_sin)
            attended = varlen_attention(q, k, v, batch.cu_seqlens_q, batch.cu_seqlens_q, scale=scale, mask="causal")
        else:
            q, _ = rope_paged_write(q, k, v, cos_sin, *pages, batch.slot_mapping)
            attended = paged_attention(
                q, *pages, batch.cu_seqlens_q, batch.context_lens, batch.block_tables, scale=scale
            )
        projected: torch.Tensor = self.dense(attended.flatten(1))
        return projected


class MLP(nn.Module):
    """SwiGLU feed-forward; `dense_h_to_4h` holds the gate's rows, then the up projection's."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden, 2 * config.ffn, bias=False)
        self.dense_4h_to_h = nn.Linear(config.ffn, config.hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """f[N, hidden] → f[N, hidden]."""
        y: torch.Tensor = self.dense_4h_to_h(swiglu(self.dense_h_to_4h(x)))
        return y


class Block(nn.Module):
    """One layer: attention and feed-forward, each normed before and added to the residual stream."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden, config.norm_eps)
        self.self_attention = SelfAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden, config.norm_eps)
        self.mlp = MLP(config)

    def forward(
        self,
        x: torch.Tensor,  # f[N, hidden], what the layer before has yet to add to the stream
        stream: torch.Tensor | None,  # f[N, hidden]; None before the first layer
        cos_sin: torch.Tensor,
        batch: PackedBatch,
        pages: LayerPages | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(what is yet to be added to the stream, the stream): the next norm adds them as it reads them."""
        normed, stream = self.input_layernorm(x, stream)
        attended = self.self_attention(normed, cos_sin, batch, pages)
        normed, stream = self.post_attention_layernorm(attended, stream)
        return self.mlp(normed), stream
