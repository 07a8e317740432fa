"""The config files of the three official folders, written from the dataclasses of `configs.py`."""

import json
from pathlib import Path
from string import Template
from typing import Any, Final

import torch

from antiphon.engine.units import LOG_MEL_HOP, LOG_MEL_WINDOW, MODEL_INPUT_RATE, SEGMENT_SAMPLES, SEGMENT_SECONDS
from antiphon.engine.weights.configs import DecoderConfig, LanguageModelConfig, SpeechTokenizerConfig

_ROPE_BASE: Final = 10_000.0


def write_speech_tokenizer_configs(folder: Path, config: SpeechTokenizerConfig) -> None:
    """`config.json` and `preprocessor_config.json`."""
    _write_json(
        folder / "config.json",
        {
            "activation_function": "gelu",
            "architectures": ["WhisperVQEncoder"],
            "d_model": config.d_model,
            "dropout": 0.0,
            "encoder_attention_heads": config.heads,
            "encoder_causal_attention": False,
            "encoder_causal_convolution": True,
            "encoder_ffn_dim": config.ffn,
            "encoder_layers": 2 * config.layers,  # as published: the second half is left out of the file
            "max_source_positions": config.max_positions,
            "model_type": "whisper",
            "num_mel_bins": config.mel_bins,
            "pooling_kernel_size": config.pooling,
            "pooling_position": config.layers,
            "pooling_type": "avg",
            "quantize_causal_block_size": config.block_frames,
            "quantize_causal_encoder": False,
            "quantize_commit_coefficient": 0.25,
            "quantize_ema_decay": config.ema_decay,
            "quantize_encoder_only": True,
            "quantize_loss_scale": 10.0,
            "quantize_position": config.layers,
            "quantize_restart_interval": 100,
            "quantize_vocab_size": config.codebook_size,
            "scale_embedding": False,
            "skip_language_detection": True,
            "torch_dtype": "float32",
        },
    )
    _write_json(
        folder / "preprocessor_config.json",
        {
            "chunk_length": SEGMENT_SECONDS,
            "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": config.mel_bins,
            "hop_length": LOG_MEL_HOP,
            "n_fft": LOG_MEL_WINDOW,
            "n_samples": SEGMENT_SAMPLES,
            "nb_max_frames": SEGMENT_SAMPLES // LOG_MEL_HOP,
            "padding_side": "right",
            "padding_value": 0.0,
            "processor_class": "WhisperProcessor",
            "return_attention_mask": False,
            "sampling_rate": MODEL_INPUT_RATE,
        },
    )


def write_language_model_config(folder: Path, config: LanguageModelConfig, dtype: torch.dtype) -> None:
    """`config.json`."""
    _write_json(
        folder / "config.json",
        {
            "add_bias_linear": False,
            "add_qkv_bias": True,
            "apply_query_key_layer_scaling": True,
            "apply_residual_connection_post_layernorm": False,
            "architectures": ["ChatGLMForConditionalGeneration"],
            "attention_dropout": 0.0,
            "attention_softmax_in_fp32": True,
            "bias_dropout_fusion": True,
            "classifier_dropout": None,
            "eos_token_id": list(config.stop_ids),
            "ffn_hidden_size": config.ffn,
            "fp32_residual_connection": False,
            "hidden_dropout": 0.0,
            "hidden_size": config.hidden,
            "kv_channels": config.head_dim,
            "layernorm_epsilon": config.norm_eps,
            "model_type": "chatglm",
            "multi_query_attention": True,
            "multi_query_group_num": config.kv_heads,
            "num_attention_heads": config.heads,
            "num_hidden_layers": config.layers,
            "num_layers": config.layers,
            "original_rope": True,
            "pad_token_id": config.stop_ids[0],
            "padded_vocab_size": config.vocab_size,
            "post_layer_norm": True,
            "rmsnorm": True,
            "rope_ratio": config.rope_theta / _ROPE_BASE,
            "seq_length": config.context,
            "tie_word_embeddings": False,
            "torch_dtype": str(dtype).removeprefix("torch."),
            "use_cache": True,
            "vocab_size": config.vocab_size,
        },
    )


def write_decoder_config(folder: Path, config: DecoderConfig) -> None:
    """`config.yaml`."""
    values = {f"flow_{name}": _yaml(value) for name, value in vars(config.flow).items()}
    values |= {f"hift_{name}": _yaml(value) for name, value in vars(config.vocoder).items()}
    ratios = _yaml([1] * config.flow.regulator_layers)
    cfm_channels = 3 * config.flow.mel_bins  # noise, mu and speaker; the prompt comes on top
    (folder / "config.yaml").write_text(_DECODER.substitute(values, ratios=ratios, cfm_channels=cfm_channels))


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def _yaml(value: Any) -> str:
    """A number or a list of them, as YAML and JSON both have it."""
    return json.dumps(value)


_DECODER: Final = Template("""\
__set_seed1: !apply:random.seed [1986]
__set_seed2: !apply:numpy.random.seed [1986]
__set_seed3: !apply:torch.manual_seed [1986]
__set_seed4: !apply:torch.cuda.manual_seed_all [1986]

sample_rate: $hift_sample_rate
spk_embed_dim: $flow_speaker_dim
flow: !new:cosyvoice.flow.flow.MaskedDiffWithXvec
    input_size: $flow_input_size
    output_size: $flow_mel_bins
    spk_embed_dim: !ref <spk_embed_dim>
    output_type: 'mel'
    vocab_size: $flow_vocab_size
    input_frame_rate: $flow_token_rate
    only_mask_loss: True
    encoder: !new:cosyvoice.transformer.encoder.BlockConformerEncoder
        output_size: $flow_encoder_size
        attention_heads: $flow_encoder_heads
        linear_units: $flow_encoder_ffn
        num_blocks: $flow_encoder_layers
        dropout_rate: $flow_dropout
        positional_dropout_rate: $flow_dropout
        attention_dropout_rate: $flow_dropout
        normalize_before: True
        input_layer: 'linear'
        pos_enc_layer_type: 'rel_pos_espnet'
        selfattention_layer_type: 'block_rel_selfattn'
        block_size: $flow_encoder_block
        input_size: $flow_input_size
        use_cnn_module: False
        macaron_style: False
    length_regulator: !new:cosyvoice.flow.length_regulator.InterpolateRegulator
        channels: $flow_regulator_channels
        sampling_ratios: $ratios
    decoder: !new:cosyvoice.flow.flow_matching.ConditionalCFM
        in_channels: $cfm_channels
        n_spks: 1
        spk_emb_dim: $flow_mel_bins
        cfm_params: !new:omegaconf.DictConfig
            content:
                sigma_min: $flow_sigma_min
                solver: 'euler'
                t_scheduler: 'cosine'
                training_cfg_rate: $flow_guidance_dropout
                inference_cfg_rate: $flow_guidance
                reg_loss_type: 'l1'
        estimator: !new:cosyvoice.flow.decoder.ConditionalDecoder
            in_channels: $flow_estimator_in
            out_channels: $flow_mel_bins
            channels: $flow_estimator_channels
            dropout: 0
            attention_head_dim: $flow_estimator_head_dim
            n_blocks: $flow_estimator_blocks
            num_mid_blocks: $flow_estimator_mid_blocks
            num_heads: $flow_estimator_heads
            act_fn: 'gelu'
hift: !new:cosyvoice.hifigan.generator.HiFTGenerator
    in_channels: $hift_mel_bins
    base_channels: $hift_base_channels
    nb_harmonics: $hift_harmonics
    sampling_rate: !ref <sample_rate>
    nsf_alpha: $hift_source_amplitude
    nsf_sigma: $hift_source_sigma
    nsf_voiced_threshold: $hift_voiced_threshold
    upsample_rates: $hift_upsample_rates
    upsample_kernel_sizes: $hift_upsample_kernels
    istft_params:
        n_fft: $hift_istft_n_fft
        hop_len: $hift_istft_hop
    resblock_kernel_sizes: $hift_resblock_kernels
    resblock_dilation_sizes: $hift_resblock_dilations
    source_resblock_kernel_sizes: $hift_source_kernels
    source_resblock_dilation_sizes: $hift_source_dilations
    lrelu_slope: $hift_leaky_slope
    audio_limit: $hift_audio_limit
    f0_predictor: !new:cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor
        num_class: 1
        in_channels: $hift_mel_bins
        cond_channels: $hift_f0_channels
""")
