"""The smallest models that can take a turn together: what Triton's interpreter goes through in seconds."""

import torch
from checkpoints import tiny_checkpoint

import antiphon
from antiphon.engine.hear.encoder import SpeechEncoder
from antiphon.engine.speak.flow import Flow
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.think.model import GLM
from antiphon.engine.think.vocab import Vocabulary
from antiphon.engine.weights.configs import FlowConfig, LanguageModelConfig, SpeechTokenizerConfig, VocoderConfig
from antiphon.engine.weights.folders import LANGUAGE_MODEL_FOLDER

CODES = 512  # of the tiny checkpoint, whose vocabulary is taken
# One layer of each kind, all rows wider than the numbers of sequences: rows and offsets are told apart by size.
_TOKENIZER = SpeechTokenizerConfig(d_model=32, heads=2, ffn=32, layers=1, codebook_size=CODES)
_LM = LanguageModelConfig(layers=1, hidden=32, heads=2, kv_heads=1, head_dim=16, ffn=32, vocab_size=2_304)
_FLOW = FlowConfig(
    vocab_size=CODES,
    input_size=32,
    mel_bins=24,
    speaker_dim=24,
    encoder_size=32,
    encoder_heads=2,
    encoder_ffn=32,
    encoder_layers=1,
    regulator_channels=24,
    regulator_layers=1,
    estimator_in=96,
    estimator_channels=(24, 24),
    estimator_head_dim=16,
    estimator_heads=1,
    estimator_blocks=1,
    estimator_mid_blocks=1,
)
_VOCODER = VocoderConfig(
    mel_bins=24,
    base_channels=64,
    harmonics=1,
    upsample_rates=(2,),
    upsample_kernels=(4,),
    istft_n_fft=4,
    istft_hop=2,
    resblock_kernels=(3,),
    resblock_dilations=((1,),),
    source_kernels=(3,),
    source_dilations=((1,),),
    f0_channels=24,
)


def smallest_parts() -> tuple[antiphon.SpeechTokenizer, antiphon.LanguageModel, antiphon.SpeechDecoder]:
    """Random but for the language model, which says one speech token for ever."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder, model, flow, vocoder = SpeechEncoder(_TOKENIZER), GLM(_LM), Flow(_FLOW), HiFT(_VOCODER)
    for part in (encoder, model, flow, vocoder):
        part.eval().requires_grad_(False)
    vocabulary = Vocabulary.read(tiny_checkpoint() / LANGUAGE_MODEL_FOLDER)
    layers = model.transformer
    layers.embedding.word_embeddings.weight.fill_(1.0)  # every id's row, and with nothing added to it, every last one
    for block in layers.encoder.layers:
        block.self_attention.dense.weight.zero_()
        block.mlp.dense_4h_to_h.weight.zero_()
    layers.output_layer.weight.zero_()
    layers.output_layer.weight[vocabulary.speech_id(7)] = 1.0
    return (
        antiphon.SpeechTokenizer(encoder),
        antiphon.LanguageModel(model, vocabulary),
        antiphon.SpeechDecoder(flow, vocoder),
    )
