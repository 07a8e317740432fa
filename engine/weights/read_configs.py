"""The configs of the three official folders, read as data into the dataclasses of `configs.py`.

Fields that change what is computed are read or, where this engine supports one value only, compared with it; all others
are for training, for sampling defaults or for other libraries, and are left alone. Every refusal is a CheckpointError
that names the file and the field, what it is and what was expected.
"""

from pathlib import Path
from typing import Final

from antiphon.engine.units import LOG_MEL_HOP, LOG_MEL_WINDOW, MODEL_INPUT_RATE, SEGMENT_SECONDS
from antiphon.engine.weights.configs import LanguageModelConfig, SpeechTokenizerConfig
from antiphon.engine.weights.fields import MAX_LAYERS, Fields, divides
from antiphon.engine.weights.folders import file_in, read_json
from antiphon.engine.weights.read_decoder_config import read_decoder_config

__all__ = ["read_decoder_config", "read_language_model_config", "read_speech_tokenizer_config"]

_ROPE_BASE: Final = 10_000.0


def read_speech_tokenizer_config(folder: Path | str) -> SpeechTokenizerConfig:
    """`config.json` and `preprocessor_config.json` of a glm-4-voice-tokenizer folder.

    Source: zai-org/GLM-4-Voice, speech_tokenizer/configuration_whisper.py and modeling_whisper.py.
    """
    fields = _json_fields(folder, "config.json")
    fields.expect("activation_function", "gelu", default="gelu")
    fields.expect("scale_embedding", False, default=False)
    fields.expect("encoder_causal_convolution", True)
    fields.expect("encoder_causal_attention", False, default=False)
    fields.expect("quantize_causal_encoder", False, default=False)
    fields.expect("pooling_type", "avg")
    layers = fields.size("quantize_position", at_most=MAX_LAYERS)
    fields.expect("pooling_position", layers)
    decay = fields.value("quantize_ema_decay", None)
    config = SpeechTokenizerConfig(
        d_model=fields.size("d_model"),
        heads=fields.size("encoder_attention_heads"),
        ffn=fields.size("encoder_ffn_dim"),
        layers=layers,
        mel_bins=fields.size("num_mel_bins"),
        max_positions=fields.size("max_source_positions", default=1500),
        pooling=fields.size("pooling_kernel_size"),
        codebook_size=fields.size("quantize_vocab_size"),
        block_frames=fields.size("quantize_causal_block_size"),
        ema_decay=None if decay is None else fields.number("quantize_ema_decay", most=1.0),
    )
    divides(fields, "encoder_attention_heads", "d_model", given=(config.heads, config.d_model))
    _check_features(folder, config.mel_bins)
    return config


def read_language_model_config(folder: Path | str) -> LanguageModelConfig:
    """`config.json` of a glm-4-voice-9b folder. Source: configuration_chatglm.py and modeling_chatglm.py there."""
    fields = _json_fields(folder, "config.json")
    fields.expect("model_type", "chatglm")
    fields.expect("add_bias_linear", False)
    fields.expect("add_qkv_bias", True)
    fields.expect("rmsnorm", True, default=True)
    fields.expect("post_layer_norm", True, default=True)
    fields.expect("apply_residual_connection_post_layernorm", False, default=False)
    fields.expect("fp32_residual_connection", False, default=False)
    fields.expect("tie_word_embeddings", False, default=False)
    fields.expect("multi_query_attention", True)
    if fields.value("pre_seq_len", None):
        fields.refuse("pre_seq_len", "null: prefix tuning is not supported")
    if fields.value("quantization_config", None):
        fields.refuse("quantization_config", "none: the weights must be float32, float16 or bfloat16")
    config = LanguageModelConfig(
        layers=fields.size("num_layers", at_most=MAX_LAYERS),
        hidden=fields.size("hidden_size"),
        heads=fields.size("num_attention_heads"),
        kv_heads=fields.size("multi_query_group_num"),
        head_dim=fields.size("kv_channels"),
        ffn=fields.size("ffn_hidden_size"),
        vocab_size=fields.size("padded_vocab_size"),
        norm_eps=fields.number("layernorm_epsilon", most=1.0),
        rope_theta=_ROPE_BASE * fields.number("rope_ratio", default=1, least=1e-6),
        context=fields.size("seq_length"),
        stop_ids=_stop_ids(fields),
    )
    divides(fields, "multi_query_group_num", "num_attention_heads", given=(config.kv_heads, config.heads))
    if config.head_dim % 4:
        fields.refuse("kv_channels", "a multiple of 4: half of each head is turned in pairs")
    return config


def _stop_ids(fields: Fields) -> tuple[int, ...]:
    value = fields.value("eos_token_id")
    ids = value if isinstance(value, list) else [value]
    vocab_size = fields.size("padded_vocab_size")
    if not ids or not all(type(token) is int and 0 <= token < vocab_size for token in ids):
        fields.refuse("eos_token_id", f"one or more ids from 0 to {vocab_size - 1}")
    return tuple(ids)


def _check_features(folder: Path | str, mel_bins: int) -> None:
    """The log-mel that this engine computes must be the one that the tokenizer was trained on."""
    fields = _json_fields(folder, "preprocessor_config.json")
    fields.expect("feature_size", mel_bins)
    fields.expect("sampling_rate", MODEL_INPUT_RATE, default=MODEL_INPUT_RATE)
    fields.expect("hop_length", LOG_MEL_HOP, default=LOG_MEL_HOP)
    fields.expect("n_fft", LOG_MEL_WINDOW, default=LOG_MEL_WINDOW)
    fields.expect("chunk_length", SEGMENT_SECONDS, default=SEGMENT_SECONDS)
    fields.expect("padding_value", 0.0, default=0.0)
    fields.expect("dither", 0.0, default=0.0)


def _json_fields(folder: Path | str, name: str) -> Fields:
    path = file_in(folder, name)
    return Fields(str(path), read_json(path))
