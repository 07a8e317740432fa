"""The speech encoder: log-mel frames to the vectors that the codebook quantises, 12.5 a second.

Two causal convolutions halve the frame rate, transformer layers attend within blocks and to all earlier frames of their
segment, and every four frames are averaged. Because nothing looks past its own block, a segment can be encoded a few
blocks at a time, with the keys and values of what came before.

Source: zai-org/GLM-4-Voice, speech_tokenizer/modeling_whisper.py (WhisperVQEncoder). Parameters carry its names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from antiphon.engine.hear.quantizer import Codebook
from antiphon.engine.weights.configs import SpeechTokenizerConfig
from antiphon.kernels.packed_conv1d import packed_conv1d
from antiphon.kernels.varlen_attention import varlen_attention

STEM_STRIDE: Final = 2  # log-mel frames per encoder frame
STEM_CONTEXT: Final = 4  # log-mel frames before its own two that an encoder frame depends on
_STEM_KERNEL: Final = 3


def stem_context(first: int) -> int:
    """Log-mel frames to give ahead of those of a run that begins at encoder frame `first` of its segment."""
    return 0 if first == 0 else STEM_CONTEXT


@dataclass(frozen=True, eq=False)
class SegmentCache:
    """Keys and values of a segment's first encoder frames, for each layer."""

    keys: tuple[torch.Tensor, ...]  # layers x f[frames, heads, head_dim]
    values: tuple[torch.Tensor, ...]  # as keys

    @property
    def frames(self) -> int:
        return self.keys[0].shape[0]

    def until(self, frames: int) -> "SegmentCache":
        """That of the first `frames` frames alone."""
        return SegmentCache(tuple(k[:frames] for k in self.keys), tuple(v[:frames] for v in self.values))


@dataclass(frozen=True, eq=False)
class Span:
    """A run of one segment's encoder frames, to be encoded as one sequence of a pack."""

    first: int  # position of its first frame in the segment: 0, or a block's start
    frames: int  # a multiple of the pooling
    heard: int  # of its frames, those that begin before the audio ends: only these are attended to
    past: SegmentCache | None = None  # the segment's `first` frames before it; None where it is the first
    keep: bool = False  # whether its own keys and values are wanted

    @property
    def context(self) -> int:
        """Log-mel rows given ahead of its own."""
        return stem_context(self.first)


class _Pack:
    """Where the spans lie in the packed rows, on the device."""

    def __init__(self, spans: Sequence[Span], device: torch.device) -> None:
        self.spans = spans
        self.device = device
        self.cu_mel_rows = self._offsets([span.context + STEM_STRIDE * span.frames for span in spans])
        self.cu_queries = self._offsets([span.frames for span in spans])
        self.cu_keys = self._offsets([span.first + span.heard for span in spans])
        self.query_starts = self._indices([span.first for span in spans], torch.int32)
        self.positions = torch.cat([torch.arange(s.first, s.first + s.frames) for s in spans]).to(device)

    def after_context(self, x: torch.Tensor) -> torch.Tensor:
        """Of the stem's output, context included, the spans' own frames."""
        if not any(span.context for span in self.spans):
            return x
        surplus = [span.context // STEM_STRIDE for span in self.spans]
        parts = torch.split(x, [more + span.frames for more, span in zip(surplus, self.spans, strict=True)])
        return torch.cat([part[more:] for more, part in zip(surplus, parts, strict=True)])

    def heard(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The rows of each span's frames that are attended to."""
        parts = torch.split(x, [span.frames for span in self.spans])
        return [part[: span.heard] for part, span in zip(parts, self.spans, strict=True)]

    def _offsets(self, lengths: list[int]) -> torch.Tensor:
        return self._indices(list(accumulate(lengths, initial=0)), torch.int32)

    def _indices(self, values: list[int], dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(values, dtype=dtype, device=self.device)


class SelfAttention(nn.Module):
    """Block-causal attention of packed spans."""

    def __init__(self, config: SpeechTokenizerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.head_dim = config.d_model // config.heads
        self.block_frames = config.block_frames
        self.k_proj = nn.Linear(config.d_model, config.d_model, bias=False)
        self.v_proj = nn.Linear(config.d_model, config.d_model)
        self.q_proj = nn.Linear(config.d_model, config.d_model)
        self.out_proj = nn.Linear(config.d_model, config.d_model)

    def forward(
        self, x: torch.Tensor, pack: _Pack, layer: int
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """f[ΣF, d_model] to the same; then each span's keys and values, those of its past included."""
        q, k, v = (proj(x).view(-1, self.heads, self.head_dim) for proj in (self.q_proj, self.k_proj, self.v_proj))
        keys, values = pack.heard(k), pack.heard(v)
        for s, span in enumerate(pack.spans):
            if span.past is not None:
                keys[s] = torch.cat([span.past.keys[layer], keys[s]])
                values[s] = torch.cat([span.past.values[layer], values[s]])
            elif span.keep:  # a view would keep the whole pack's rows in memory
                keys[s], values[s] = keys[s].clone(), values[s].clone()
        attended = varlen_attention(
            q,
            torch.cat(keys),
            torch.cat(values),
            pack.cu_queries,
            pack.cu_keys,
            scale=self.head_dim**-0.5,
            mask="block_causal",
            block=self.block_frames,
            query_starts=pack.query_starts,
        )
        return self.out_proj(attended.flatten(1)), keys, values


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each normalised before and added."""

    def __init__(self, config: SpeechTokenizerConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.fc1 = nn.Linear(config.d_model, config.ffn)
        self.fc2 = nn.Linear(config.ffn, config.d_model)
        self.final_layer_norm = nn.LayerNorm(config.d_model)

    def forward(
        self, x: torch.Tensor, pack: _Pack, layer: int
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """f[ΣF, d_model] to the same; then each span's keys and values."""
        attended, keys, values = self.self_attn(self.self_attn_layer_norm(x), pack, layer)
        x = x + attended
        x = x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x, keys, values


class SpeechEncoder(nn.Module):
    """The encoder with its codebook. `ema_count` and `ema_weight`, which only training reads, are kept as they came."""

    def __init__(self, config: SpeechTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(config.mel_bins, config.d_model, _STEM_KERNEL)
        self.conv2 = nn.Conv1d(config.d_model, config.d_model, _STEM_KERNEL, stride=STEM_STRIDE)
        self.embed_positions = nn.Embedding(config.max_positions, config.d_model).requires_grad_(False)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.codebook = Codebook(config.codebook_size, config.d_model)
        # For a decoder of these tokens; nothing here reads it.
        self.embed_positions2 = nn.Embedding(-(-config.max_positions // config.pooling), config.d_model)
        if config.ema_decay is not None:
            self.codebook.requires_grad_(False)
            self.register_buffer("ema_count", torch.ones(config.codebook_size))
            self.register_buffer("ema_weight", torch.zeros(config.codebook_size, config.d_model))

    def compute_in(self, dtype: torch.dtype) -> None:
        """Let convolutions and layers compute in `dtype`; the codebook and its averages stay as they are."""
        for part in (self.conv1, self.conv2, self.embed_positions, self.layers):
            part.to(dtype)

    def forward(
        self,
        features: torch.Tensor,  # f[Σ(context + 2 · frames), mel_bins]: the spans' log-mel rows
        spans: Sequence[Span],
    ) -> tuple[torch.Tensor, list[SegmentCache | None]]:
        """The vectors before quantisation, f32[Σframes / pooling, d_model], and for each span that asks its cache."""
        pack = _Pack(spans, features.device)
        x = self._stem(features, pack)
        keys: list[list[torch.Tensor]] = [[] for _ in spans]
        values: list[list[torch.Tensor]] = [[] for _ in spans]
        for index, layer in enumerate(self.layers):
            x, layer_keys, layer_values = layer(x, pack, index)
            for s, span in enumerate(spans):
                if span.keep:
                    keys[s].append(layer_keys[s])
                    values[s].append(layer_values[s])
        # Padding frames are part of the last token's average: the official pooling knows no mask.
        pooled = x.float().view(-1, self.config.pooling, x.shape[1]).mean(dim=1)
        caches = [
            SegmentCache(tuple(k), tuple(v)) if span.keep else None
            for k, v, span in zip(keys, values, spans, strict=True)
        ]
        return pooled, caches

    def _stem(self, features: torch.Tensor, pack: _Pack) -> torch.Tensor:
        """Log-mel rows to encoder frames with their positions: f[ΣF, d_model]."""
        left = (_STEM_KERNEL - 1, 0)
        x, cu_seqlens = packed_conv1d(
            features, self.conv1.weight, self.conv1.bias, pack.cu_mel_rows, padding=left, activation="gelu"
        )
        x, _ = packed_conv1d(
            x,
            self.conv2.weight,
            self.conv2.bias,
            cu_seqlens,
            stride=STEM_STRIDE,
            padding=left,
            out_rows=sum(span.context // STEM_STRIDE + span.frames for span in pack.spans),
            activation="gelu",
        )
        return pack.after_context(x) + F.embedding(pack.positions, self.embed_positions.weight)
