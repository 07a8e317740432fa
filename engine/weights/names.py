"""From the tensor names of the official files to our modules' parameter names, and back."""

import re
from typing import Final

# The flow, `glm-4-voice-decoder/flow.pt`. `*` stands for a number; every pair holds wherever it matches whole segments
# of a name, in this order, and backwards in the reverse order. What no pair matches keeps its official name.
_FLOW_NAMES: Final = (
    ("input_embedding", "token_embedding"),
    ("spk_embed_affine_layer", "speaker_proj"),
    ("length_regulator", "regulator"),
    ("encoder.embed.out.0", "encoder.input_proj"),
    ("encoder.embed.out.1", "encoder.input_norm"),
    ("encoder.encoders.*", "encoder.layers.*"),
    ("decoder.estimator", "estimator"),
    ("down_blocks.*.2.conv", "down_blocks.*.downsample"),
    ("down_blocks.*.2", "down_blocks.*.conv"),
    ("up_blocks.*.2.conv", "up_blocks.*.upsample"),
    ("up_blocks.*.2", "up_blocks.*.conv"),
    ("down_blocks.*.0", "down_blocks.*.resnet"),
    ("mid_blocks.*.0", "mid_blocks.*.resnet"),
    ("up_blocks.*.0", "up_blocks.*.resnet"),
    ("down_blocks.*.1.*", "down_blocks.*.transformers.*"),
    ("mid_blocks.*.1.*", "mid_blocks.*.transformers.*"),
    ("up_blocks.*.1.*", "up_blocks.*.transformers.*"),
    ("resnet.mlp.1", "resnet.time_proj"),
    ("block1.block.0", "block1.conv"),
    ("block1.block.1", "block1.norm"),
    ("block2.block.0", "block2.conv"),
    ("block2.block.1", "block2.norm"),
    ("final_block.block.0", "final_block.conv"),
    ("final_block.block.1", "final_block.norm"),
    ("attn1", "attention"),
    ("attention.to_out.0", "attention.to_out"),
    ("norm3", "norm2"),
    ("transformers.*.ff.net.0.proj", "transformers.*.feed_forward.w_1"),
    ("transformers.*.ff.net.2", "transformers.*.feed_forward.w_2"),
)


def rename_flow(official: str) -> str:
    """Our `Flow`'s name of a tensor in `flow.pt`."""
    name = official
    for theirs, ours in _FLOW_NAMES:
        name = _replace_segments(name, theirs, ours)
    return name


def official_flow_name(ours: str) -> str:
    """The name in `flow.pt` of one of our `Flow`'s tensors."""
    name = ours
    for theirs, our in reversed(_FLOW_NAMES):
        name = _replace_segments(name, our, theirs)
    return name


def _replace_segments(name: str, old: str, new: str) -> str:
    """`name` with the dotted segments `old` replaced by `new`; the numbers that `*` matched go over in order."""
    pattern = re.escape(old).replace(r"\*", r"(\d+)")
    parts = iter(range(1, new.count("*") + 1))
    replacement = re.sub(r"\*", lambda _: rf"\g<{next(parts)}>", new)
    return re.sub(rf"(?<![^.]){pattern}(?![^.])", replacement, name)


# The language model, `glm-4-voice-9b/model*.safetensors`: our names are the official ones.


def rename_language_model(official: str) -> str | None:
    """Our `GLM`'s name of a tensor; None for the rotary frequencies, which are computed."""
    return None if official == "transformer.rotary_pos_emb.inv_freq" else official


# The speech tokenizer, `glm-4-voice-tokenizer/model*.safetensors`.

_WHISPER_ENCODER: Final = "model.encoder."


def speech_tokenizer_name(official: str, layers: int) -> str | None:
    """Our `SpeechEncoder`'s name of a tensor; `layers` are those before the quantiser.

    The published file has plain names. One of the whole Whisper-VQ model has `model.encoder.` before them, and besides
    them the encoder's later layers, its last norm and the decoder, which nobody needs: None.
    """
    if official.startswith("model.decoder.") or official == "proj_out.weight":
        return None
    name = official.removeprefix(_WHISPER_ENCODER)
    if name == official:
        return official
    layer = re.match(r"layers\.(\d+)\.", name)
    unused = name.startswith("layer_norm.") or (layer is not None and int(layer[1]) >= layers)
    return None if unused else name
