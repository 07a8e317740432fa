"""`config.yaml` of a glm-4-voice-decoder folder.

Its `llm:` block has no weights and is left alone, and so are the `__set_seed*` calls. What the published constructors
take and this engine computes in one way only is compared with that. Source: zai-org/GLM-4-Voice, cosyvoice/ (flow,
transformer, hifigan), the constructors named below.
"""

from pathlib import Path
from typing import Final

from antiphon.engine.errors import CheckpointError
from antiphon.engine.units import MEL_BINS, OUTPUT_HOP, OUTPUT_RATE, SPEECH_TOKEN_RATE
from antiphon.engine.weights.configs import DecoderConfig, FlowConfig, VocoderConfig
from antiphon.engine.weights.fields import MAX_LAYERS, Fields, divides
from antiphon.engine.weights.folders import file_in
from antiphon.engine.weights.hyper_yaml import HyperYaml

_CONDITIONS: Final = 4  # noise, mu, speaker and prompt stand side by side before the estimator
_NORM_GROUPS: Final = 8  # of the estimator's GroupNorms


def read_decoder_config(folder: Path | str) -> DecoderConfig:
    """The flow's and the vocoder's config. Raises CheckpointError, naming the field, for what cannot be used."""
    yaml = HyperYaml(file_in(folder, "config.yaml"))
    top = yaml.fields()
    top.expect("sample_rate", OUTPUT_RATE, default=OUTPUT_RATE)
    return DecoderConfig(_flow(yaml, top), _vocoder(yaml, top))


def _flow(yaml: HyperYaml, top: Fields) -> FlowConfig:
    flow = yaml.instance(top, "flow", "cosyvoice.flow.flow.MaskedDiffWithXvec")
    flow.expect("output_size", MEL_BINS)
    flow.expect("output_type", "mel", default="mel")
    flow.expect("input_frame_rate", float(SPEECH_TOKEN_RATE))
    encoder = _encoder(yaml, flow)
    regulator = yaml.instance(flow, "length_regulator", "cosyvoice.flow.length_regulator.InterpolateRegulator")
    regulator.expect("channels", MEL_BINS)
    regulator.expect("out_channels", MEL_BINS, default=MEL_BINS)
    regulator.expect("groups", 1, default=1)
    cfm = yaml.instance(flow, "decoder", "cosyvoice.flow.flow_matching.ConditionalCFM")
    cfm.expect("spk_emb_dim", MEL_BINS)
    params = _cfm_params(yaml, cfm)
    estimator = _estimator(yaml, cfm)
    return FlowConfig(
        vocab_size=flow.size("vocab_size"),
        input_size=flow.size("input_size"),
        mel_bins=MEL_BINS,
        speaker_dim=flow.size("spk_embed_dim"),
        token_rate=flow.number("input_frame_rate"),
        encoder_size=encoder.size("output_size"),
        encoder_heads=encoder.size("attention_heads"),
        encoder_ffn=encoder.size("linear_units"),
        encoder_layers=encoder.size("num_blocks", at_most=MAX_LAYERS),
        encoder_block=encoder.size("block_size"),
        regulator_channels=MEL_BINS,
        regulator_layers=len(regulator.sizes("sampling_ratios")),
        estimator_in=estimator.size("in_channels"),
        estimator_channels=estimator.sizes("channels"),
        estimator_head_dim=estimator.size("attention_head_dim"),
        estimator_heads=estimator.size("num_heads"),
        estimator_blocks=estimator.size("n_blocks", at_most=MAX_LAYERS),
        estimator_mid_blocks=estimator.size("num_mid_blocks", at_most=MAX_LAYERS),
        guidance=params.number("inference_cfg_rate", most=100.0),
        sigma_min=params.number("sigma_min", default=1e-4, most=1.0),
        guidance_dropout=params.number("training_cfg_rate", most=1.0),
        dropout=encoder.number("dropout_rate", most=1.0),
    )


def _encoder(yaml: HyperYaml, flow: Fields) -> Fields:
    encoder = yaml.instance(flow, "encoder", "cosyvoice.transformer.encoder.BlockConformerEncoder")
    encoder.expect("input_size", flow.size("input_size"))
    encoder.expect("input_layer", "linear")
    encoder.expect("pos_enc_layer_type", "rel_pos_espnet")
    encoder.expect("selfattention_layer_type", "block_rel_selfattn")
    encoder.expect("normalize_before", True, default=True)
    encoder.expect("activation_type", "swish", default="swish")
    encoder.expect("key_bias", True, default=True)
    encoder.expect("use_cnn_module", False)
    encoder.expect("macaron_style", False)
    heads, size = encoder.size("attention_heads"), encoder.size("output_size")
    divides(encoder, "attention_heads", "output_size", given=(heads, size))
    if size % 2:
        encoder.refuse("output_size", "an even number: positions are pairs of sine and cosine")
    return encoder


def _cfm_params(yaml: HyperYaml, cfm: Fields) -> Fields:
    container = yaml.instance(cfm, "cfm_params", "omegaconf.DictConfig")
    params = yaml.mapping(f"{container.where}: content", container.value("content"))
    params.expect("solver", "euler", default="euler")
    params.expect("t_scheduler", "cosine")
    return params


def _estimator(yaml: HyperYaml, cfm: Fields) -> Fields:
    estimator = yaml.instance(cfm, "estimator", "cosyvoice.flow.decoder.ConditionalDecoder")
    estimator.expect("in_channels", _CONDITIONS * MEL_BINS)
    estimator.expect("out_channels", MEL_BINS)
    estimator.expect("act_fn", "gelu")
    if any(channels % _NORM_GROUPS for channels in estimator.sizes("channels")):
        estimator.refuse("channels", f"multiples of {_NORM_GROUPS}, the groups of its norms")
    return estimator


def _vocoder(yaml: HyperYaml, top: Fields) -> VocoderConfig:
    hift = yaml.instance(top, "hift", "cosyvoice.hifigan.generator.HiFTGenerator")
    hift.expect("in_channels", MEL_BINS)
    hift.expect("sampling_rate", OUTPUT_RATE)
    predictor = yaml.instance(hift, "f0_predictor", "cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor")
    predictor.expect("num_class", 1, default=1)
    predictor.expect("in_channels", MEL_BINS)
    istft = yaml.mapping(f"{hift.where}: istft_params", hift.value("istft_params"))
    config = VocoderConfig(
        mel_bins=MEL_BINS,
        base_channels=hift.size("base_channels"),
        harmonics=hift.size("nb_harmonics"),
        sample_rate=OUTPUT_RATE,
        source_amplitude=hift.number("nsf_alpha"),
        source_sigma=hift.number("nsf_sigma"),
        voiced_threshold=hift.number("nsf_voiced_threshold"),
        upsample_rates=hift.sizes("upsample_rates"),
        upsample_kernels=hift.sizes("upsample_kernel_sizes"),
        istft_n_fft=istft.size("n_fft"),
        istft_hop=istft.size("hop_len"),
        resblock_kernels=hift.sizes("resblock_kernel_sizes"),
        resblock_dilations=hift.size_lists("resblock_dilation_sizes"),
        source_kernels=hift.sizes("source_resblock_kernel_sizes"),
        source_dilations=hift.size_lists("source_resblock_dilation_sizes"),
        leaky_slope=hift.number("lrelu_slope", most=1.0),
        audio_limit=hift.number("audio_limit", most=1.0),
        f0_channels=predictor.size("cond_channels"),
    )
    _check_vocoder(hift, config)
    return config


def _check_vocoder(hift: Fields, config: VocoderConfig) -> None:
    """The parts of the vocoder must fit each other."""
    stages = len(config.upsample_rates)
    for key, found, expected in (
        ("upsample_kernel_sizes", len(config.upsample_kernels), stages),
        ("source_resblock_kernel_sizes", len(config.source_kernels), stages),
        ("source_resblock_dilation_sizes", len(config.source_dilations), stages),
        ("resblock_dilation_sizes", len(config.resblock_dilations), len(config.resblock_kernels)),
    ):
        if found != expected:
            hift.refuse(key, f"{expected} of them, as there are of upsample_rates or resblock_kernel_sizes")
    for rate, kernel in zip(config.upsample_rates, config.upsample_kernels, strict=True):
        if kernel < rate or (kernel - rate) % 2:
            hift.refuse("upsample_kernel_sizes", "each as large as its rate or larger by an even number")
    for key, kernels in (
        ("resblock_kernel_sizes", config.resblock_kernels),
        ("source_resblock_kernel_sizes", config.source_kernels),
    ):
        if any(kernel % 2 == 0 for kernel in kernels):
            hift.refuse(key, "odd kernels")
    if config.base_channels % 2**stages:
        hift.refuse("base_channels", f"a multiple of {2**stages}: each of the {stages} stages halves it")
    if config.hop != OUTPUT_HOP:
        raise CheckpointError(
            f"{hift.where}: upsample_rates {list(config.upsample_rates)} and hop_len {config.istft_hop} make "
            f"{config.hop} samples of a mel frame; expected {OUTPUT_HOP}."
        )
