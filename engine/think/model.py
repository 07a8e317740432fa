"""GLM-4, the language model, over packed batches. `state_dict()` has the tensor names of the official checkpoint."""

import torch
from torch import nn

from antiphon.engine.think.kv_cache import PackedBatch, PagedKVCache
from antiphon.engine.think.layers import Block, RMSNorm, rope_cos_sin
from antiphon.engine.weights.configs import LanguageModelConfig


class GLM(nn.Module):
    """The GLM stack and its head.

    Differentiable without a cache; with one, serving runs it in inference mode.
    Source: modeling_chatglm.py of glm-4-voice-9b (ChatGLMModel).
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = _Transformer(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.transformer.output_layer.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are."""
        return self.transformer.output_layer.weight.dtype

    def forward(
        self,
        ids: torch.Tensor,  # i64[N]
        batch: PackedBatch,
        cache: PagedKVCache | None = None,
    ) -> torch.Tensor:
        """f[N, hidden] after the final norm, of the weights' dtype.

        With a cache, the rows' keys and values are written to the batch's slots and the rest of each context is read
        from its pages. Without one, every sequence must be whole (`PackedBatch.whole`).
        """
        hidden: torch.Tensor = self.transformer(ids, batch, cache)
        return hidden

    def logits(
        self,
        hidden: torch.Tensor,  # f[R, hidden], rows of `forward`
    ) -> torch.Tensor:
        """f32[R, vocab_size]."""
        scores: torch.Tensor = self.transformer.output_layer(hidden)
        return scores.float()


class _Transformer(nn.Module):
    """The tree of modules that the checkpoint calls `transformer`."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = _Embedding(config)
        self.encoder = _Encoder(config)
        self.output_layer = nn.Linear(config.hidden, config.vocab_size, bias=False)

    def forward(self, ids: torch.Tensor, batch: PackedBatch, cache: PagedKVCache | None) -> torch.Tensor:
        x: torch.Tensor = self.embedding.word_embeddings(ids)
        cos_sin = rope_cos_sin(batch.positions, self.config.head_dim, self.config.rope_theta, x.dtype)
        stream: torch.Tensor | None = None
        for index, block in enumerate(self.encoder.layers):
            x, stream = block(x, stream, cos_sin, batch, None if cache is None else cache.layer(index))
        y: torch.Tensor
        y, _ = self.encoder.final_layernorm(x, stream)
        return y


class _Embedding(nn.Module):
    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden)


class _Encoder(nn.Module):
    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_layernorm = RMSNorm(config.hidden, config.norm_eps)
