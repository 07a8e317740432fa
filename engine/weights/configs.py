"""What the three official folders say of their models, as frozen dataclasses.

Field names are the field's own, not the file's; `engine/weights/read_configs.py` reads the files and names what
disagrees.
Defaults are the published values, so that the full-size model is `LanguageModelConfig()`.
"""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SpeechTokenizerConfig:
    """`glm-4-voice-tokenizer/config.json` and `preprocessor_config.json`."""

    d_model: int = 1280
    heads: int = 20
    ffn: int = 5120
    layers: int = 16  # those in use: quantize_position
    mel_bins: int = 128
    max_positions: int = 1500  # conv frames (50/s) of one 30 s segment
    pooling: int = 4  # conv frames averaged into one token
    codebook_size: int = 16_384
    block_frames: int = 200  # block-causal attention: frames of one block (4 s)
    ema_decay: float | None = 0.99  # of the codebook's moving averages, for training; None: the file holds none


@dataclass(frozen=True)
class LanguageModelConfig:
    """`glm-4-voice-9b/config.json`."""

    layers: int = 40
    hidden: int = 4096
    heads: int = 32
    kv_heads: int = 2
    head_dim: int = 128
    ffn: int = 13_696
    vocab_size: int = 168_960  # padded
    norm_eps: float = 3.90625e-08
    rope_theta: float = 10_000.0  # 10,000 · rope_ratio
    context: int = 8_192  # seq_length
    stop_ids: tuple[int, ...] = (151_329, 151_336, 151_338)


@dataclass(frozen=True)
class FlowConfig:
    """The `flow:` block of `glm-4-voice-decoder/config.yaml`."""

    vocab_size: int = 16_384
    input_size: int = 512
    mel_bins: int = 80
    speaker_dim: int = 192
    token_rate: float = 12.5  # speech tokens per second
    encoder_size: int = 512
    encoder_heads: int = 8
    encoder_ffn: int = 2048
    encoder_layers: int = 6
    encoder_block: int = 10  # tokens of one block-causal block
    regulator_channels: int = 80
    regulator_layers: int = 4  # len(sampling_ratios)
    estimator_in: int = 320
    estimator_channels: tuple[int, ...] = (256, 256)
    estimator_head_dim: int = 64
    estimator_heads: int = 8
    estimator_blocks: int = 4  # transformer blocks a stage
    estimator_mid_blocks: int = 12
    guidance: float = 0.7  # inference_cfg_rate
    sigma_min: float = 1e-6  # for training
    guidance_dropout: float = 0.2  # training_cfg_rate, for training
    dropout: float = 0.1  # the encoder's, for training


@dataclass(frozen=True)
class VocoderConfig:
    """The `hift:` block of `glm-4-voice-decoder/config.yaml`."""

    mel_bins: int = 80
    base_channels: int = 512
    harmonics: int = 8  # overtones besides the fundamental
    sample_rate: int = 22_050
    source_amplitude: float = 0.1  # nsf_alpha
    source_sigma: float = 0.003  # nsf_sigma
    voiced_threshold: float = 10.0  # Hz
    upsample_rates: tuple[int, ...] = (8, 8)
    upsample_kernels: tuple[int, ...] = (16, 16)
    istft_n_fft: int = 16
    istft_hop: int = 4
    resblock_kernels: tuple[int, ...] = (3, 7, 11)
    resblock_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    source_kernels: tuple[int, ...] = (7, 11)
    source_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5))
    leaky_slope: float = 0.1
    audio_limit: float = 0.99
    f0_channels: int = 512

    @property
    def hop(self) -> int:
        """Wave samples of one mel frame."""
        return math.prod(self.upsample_rates) * self.istft_hop


@dataclass(frozen=True)
class DecoderConfig:
    """`glm-4-voice-decoder/config.yaml`."""

    flow: FlowConfig = field(default_factory=FlowConfig)
    vocoder: VocoderConfig = field(default_factory=VocoderConfig)
