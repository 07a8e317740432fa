"""The sizes that `new-checkpoint` offers."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch

from antiphon.engine.weights.configs import (
    DecoderConfig,
    FlowConfig,
    LanguageModelConfig,
    SpeechTokenizerConfig,
    VocoderConfig,
)


@dataclass(frozen=True)
class CheckpointSize:
    """Dimensions of the three models, which share one codebook."""

    speech_tokenizer: SpeechTokenizerConfig
    language_model: LanguageModelConfig  # its stop_ids follow from the text tokenizer
    decoder: DecoderConfig
    text_ranks: int
    first_speech_id: int
    language_model_dtype: torch.dtype
    shard_bytes: int  # of the language model, as much as one file holds


# A turn in about a second on two CPU cores, a few MB on disk.
_TINY: Final = CheckpointSize(
    speech_tokenizer=SpeechTokenizerConfig(d_model=64, heads=4, ffn=256, layers=2, codebook_size=512),
    language_model=LanguageModelConfig(
        layers=4, hidden=128, heads=4, kv_heads=2, head_dim=32, ffn=352, vocab_size=2_304
    ),
    decoder=DecoderConfig(
        FlowConfig(
            vocab_size=512,
            input_size=48,
            encoder_size=64,
            encoder_heads=4,
            encoder_ffn=128,
            encoder_layers=2,
            estimator_channels=(16, 16),
            estimator_head_dim=16,
            estimator_heads=1,
            estimator_blocks=1,
            estimator_mid_blocks=1,
        ),
        VocoderConfig(base_channels=16, f0_channels=32),
    ),
    text_ranks=1_536,
    first_speech_id=1_664,
    language_model_dtype=torch.float32,
    shard_bytes=2 << 20,
)

# About 50 million parameters: large enough that its matrix products count.
_SMALL: Final = CheckpointSize(
    speech_tokenizer=SpeechTokenizerConfig(d_model=256, heads=8, ffn=1_024, layers=6, codebook_size=4_096),
    language_model=LanguageModelConfig(
        layers=8, hidden=512, heads=8, kv_heads=2, head_dim=64, ffn=1_408, vocab_size=9_216
    ),
    decoder=DecoderConfig(
        FlowConfig(
            vocab_size=4_096,
            input_size=256,
            encoder_size=256,
            encoder_ffn=1_024,
            encoder_layers=3,
            estimator_channels=(128, 128),
            estimator_head_dim=32,
            estimator_heads=4,
            estimator_blocks=2,
            estimator_mid_blocks=4,
        ),
        VocoderConfig(base_channels=192, f0_channels=192),
    ),
    text_ranks=4_096,
    first_speech_id=4_096 + 1_024,
    language_model_dtype=torch.float32,
    shard_bytes=64 << 20,
)

# The published dimensions, ids and dtypes.
_9B: Final = CheckpointSize(
    speech_tokenizer=SpeechTokenizerConfig(),
    language_model=LanguageModelConfig(),
    decoder=DecoderConfig(),
    text_ranks=151_329,
    first_speech_id=152_353,
    language_model_dtype=torch.bfloat16,
    shard_bytes=5_000_000_000,
)

SIZES: Final[Mapping[str, CheckpointSize]] = MappingProxyType({"tiny": _TINY, "small": _SMALL, "9b": _9B})
