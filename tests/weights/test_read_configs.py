"""The configs: the published layout is read, what is not supported is refused by name, and nothing is ever executed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import golden

from antiphon.engine.errors import CheckpointError
from antiphon.engine.weights.configs import (
    DecoderConfig,
    FlowConfig,
    LanguageModelConfig,
    SpeechTokenizerConfig,
    VocoderConfig,
)
from antiphon.engine.weights.read_configs import (
    read_decoder_config,
    read_language_model_config,
    read_speech_tokenizer_config,
)
from antiphon.engine.weights.write_configs import (
    write_decoder_config,
    write_language_model_config,
    write_speech_tokenizer_configs,
)


def test_the_goldens_configs_are_read() -> None:
    assert read_speech_tokenizer_config(golden("speech_tokenizer/block20")) == SpeechTokenizerConfig(
        d_model=64, heads=4, ffn=256, layers=2, codebook_size=512, block_frames=20
    )
    assert read_speech_tokenizer_config(golden("speech_tokenizer/block200")).block_frames == 200
    assert read_language_model_config(golden("lm")) == LanguageModelConfig(
        layers=4, hidden=128, heads=4, head_dim=32, ffn=352, vocab_size=1024, stop_ids=(368, 375, 377)
    )
    assert read_decoder_config(golden("decoder")) == DecoderConfig(
        FlowConfig(
            vocab_size=512,
            input_size=48,
            encoder_size=64,
            encoder_heads=4,
            encoder_ffn=128,
            encoder_layers=2,
            estimator_channels=(40, 40),
            estimator_head_dim=24,
            estimator_heads=2,
            estimator_blocks=1,
            estimator_mid_blocks=2,
        ),
        VocoderConfig(base_channels=48, f0_channels=40),
    )


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    """The defaults are the published values, so this is the full-size model."""
    write_speech_tokenizer_configs(tmp_path, SpeechTokenizerConfig())
    assert read_speech_tokenizer_config(tmp_path) == SpeechTokenizerConfig()
    write_language_model_config(tmp_path, LanguageModelConfig(), torch.bfloat16)
    assert read_language_model_config(tmp_path) == LanguageModelConfig()
    write_decoder_config(tmp_path, DecoderConfig())
    assert read_decoder_config(tmp_path) == DecoderConfig()


Refusal = tuple[dict[str, Any], str]  # changes to a file (None removes), and what the error says

LM_REFUSALS: dict[str, Refusal] = {
    "another architecture": ({"model_type": "llama"}, "model_type is 'llama'; expected 'chatglm'"),
    "biases": ({"add_bias_linear": True}, "add_bias_linear is true; expected false"),
    "no QKV bias": ({"add_qkv_bias": False}, "add_qkv_bias is false; expected true"),
    "layer norm": ({"rmsnorm": False}, "rmsnorm is false; expected true"),
    "no last norm": ({"post_layer_norm": False}, "post_layer_norm is false"),
    "residual after norm": (
        {"apply_residual_connection_post_layernorm": True},
        "apply_residual_connection_post_layernorm is true",
    ),
    "tied head": ({"tie_word_embeddings": True}, "tie_word_embeddings is true"),
    "no grouped queries": ({"multi_query_attention": False}, "multi_query_attention is false"),
    "prefix tuning": ({"pre_seq_len": 128}, "pre_seq_len is 128; expected null"),
    "quantized": ({"quantization_config": {"bits": 4}}, "quantization_config is .*; expected none"),
    "missing": ({"hidden_size": None}, "has no hidden_size"),
    "a text for a number": ({"num_layers": "40"}, "num_layers is '40'; expected an integer from 1 to 1000"),
    "true for a number": ({"num_layers": True}, "num_layers is true"),
    "negative": ({"ffn_hidden_size": -352}, "ffn_hidden_size is -352"),
    "zero heads": ({"num_attention_heads": 0}, "num_attention_heads is 0"),
    "absurdly many layers": ({"num_layers": 10**9}, "num_layers is 1000000000; expected an integer from 1 to 1000"),
    "groups that do not divide": (
        {"multi_query_group_num": 3},
        "multi_query_group_num is 3; expected a divisor of num_attention_heads = 4",
    ),
    "odd heads": ({"kv_channels": 30}, "kv_channels is 30; expected a multiple of 4"),
    "NaN": ({"layernorm_epsilon": float("nan")}, "layernorm_epsilon is nan"),
    "a stop id out of range": ({"eos_token_id": [368, 2000]}, "expected one or more ids from 0 to 1023"),
    "no stop id": ({"eos_token_id": []}, "eos_token_id is"),
}
TOKENIZER_REFUSALS: dict[str, Refusal] = {
    "another activation": ({"activation_function": "relu"}, "activation_function is 'relu'; expected 'gelu'"),
    "plain convolutions": ({"encoder_causal_convolution": False}, "encoder_causal_convolution is false"),
    "causal attention": ({"encoder_causal_attention": True}, "encoder_causal_attention is true"),
    "maximum pooling": ({"pooling_type": "max"}, "pooling_type is 'max'; expected 'avg'"),
    "pooling elsewhere": ({"pooling_position": 1}, "pooling_position is 1; expected 2"),
    "no blocks": ({"quantize_causal_block_size": None}, "has no quantize_causal_block_size"),
    "heads that do not divide": ({"encoder_attention_heads": 5}, "encoder_attention_heads is 5; expected a divisor"),
    "decay above one": ({"quantize_ema_decay": 1.5}, "quantize_ema_decay is 1.5; expected a number from 0 to 1"),
}
FEATURE_REFUSALS: dict[str, Refusal] = {
    "another rate": ({"sampling_rate": 8000}, "sampling_rate is 8000; expected 16000"),
    "another hop": ({"hop_length": 200}, "hop_length is 200; expected 160"),
    "another window": ({"n_fft": 512}, "n_fft is 512; expected 400"),
    "another segment": ({"chunk_length": 20}, "chunk_length is 20; expected 30"),
    "fewer bins": ({"feature_size": 80}, "feature_size is 80; expected 128"),
}


def changed(folder: Path, name: str, origin: Path, changes: dict[str, Any]) -> None:
    """A copy of the file `name` of `origin` with some keys changed."""
    values = json.loads((origin / name).read_text()) | changes
    (folder / name).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


@pytest.mark.parametrize("case", LM_REFUSALS)
def test_a_language_model_that_is_not_supported_is_refused(tmp_path: Path, case: str) -> None:
    changes, sentence = LM_REFUSALS[case]
    changed(tmp_path, "config.json", golden("lm"), changes)
    with pytest.raises(CheckpointError, match=rf"config\.json.*{sentence}"):
        read_language_model_config(tmp_path)


@pytest.mark.parametrize("case", [*TOKENIZER_REFUSALS, *FEATURE_REFUSALS])
def test_a_speech_tokenizer_that_is_not_supported_is_refused(tmp_path: Path, case: str) -> None:
    origin = golden("speech_tokenizer/block20")
    changed(tmp_path, "config.json", origin, TOKENIZER_REFUSALS.get(case, ({}, ""))[0])
    changed(tmp_path, "preprocessor_config.json", origin, FEATURE_REFUSALS.get(case, ({}, ""))[0])
    with pytest.raises(CheckpointError, match=(TOKENIZER_REFUSALS | FEATURE_REFUSALS)[case][1]):
        read_speech_tokenizer_config(tmp_path)


def test_what_is_missing_or_leaves_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere is not a folder"):
        read_language_model_config(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        read_language_model_config(tmp_path)
    (tmp_path / "config.json").symlink_to(golden("lm/config.json"))
    with pytest.raises(CheckpointError, match=r"config\.json is a link to \S+, outside"):
        read_language_model_config(tmp_path)


def edited(folder: Path, edit: Callable[[str], str]) -> Path:
    """A folder with the goldens' config.yaml, edited."""
    before = golden("decoder/config.yaml").read_text()
    after = edit(before)
    assert after != before
    (folder / "config.yaml").write_text(after)
    return folder


def test_references_are_followed(tmp_path: Path) -> None:
    def edit(text: str) -> str:
        head = "sizes: !new:a.B\n    input: !ref <input>\ninput: 48\nrates: [!ref <eight>, 8]\neight: 8\n"
        return head + text.replace(
            "    input_size: 48\n    output_size", "    input_size: !ref <sizes[input]>\n    output_size"
        ).replace("        input_size: 48", "        input_size: !ref <input>").replace(
            "upsample_rates: [8, 8]", "upsample_rates: !ref <rates>"
        ).replace("1e-06", "1e-6")

    assert read_decoder_config(edited(tmp_path, edit)) == read_decoder_config(golden("decoder"))


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


FLOW = "flow: !new:cosyvoice.flow.flow.MaskedDiffWithXvec"
YAML_REFUSALS: dict[str, tuple[Callable[[str], str], str]] = {
    "code for a value": (
        replaced("vocab_size: 512", "vocab_size: !apply:os.system ['touch {trace}']"),
        r"flow: vocab_size is !apply:os\.system, which would run code; expected a plain value\. It was not run",
    ),
    "code for the flow": (replaced(FLOW, "flow: !apply:os.mkdir ['{trace}']\nother:"), r"flow is !apply:os\.mkdir"),
    "code behind a reference": (
        lambda text: "a: !apply:os.mkdir ['{trace}']\n" + text.replace("vocab_size: 512", "vocab_size: !ref <a>"),
        r"vocab_size is !apply:os\.mkdir",
    ),
    "a Python tag": (
        lambda text: "a: !!python/object/apply:os.mkdir ['{trace}']\n" + text,
        "could not determine a constructor for the tag .*Nothing in it was executed",
    ),
    "an unknown tag": (lambda text: "a: !include:/etc/passwd\n" + text, "could not determine a constructor"),
    "another class": (
        replaced(FLOW, "flow: !new:os.system"),
        r"flow is !new:os\.system; expected !new:cosyvoice\.flow\.flow\.MaskedDiffWithXvec",
    ),
    "another encoder": (
        replaced("encoder.BlockConformerEncoder", "encoder.ConformerEncoder"),
        r"flow: encoder is !new:\S+\.ConformerEncoder; expected !new:\S+\.BlockConformerEncoder",
    ),
    "no class": (replaced(FLOW, "flow:"), "flow is .*; expected !new:"),
    "arguments without names": (
        lambda text: text.partition("ConvRNNF0Predictor")[0] + "ConvRNNF0Predictor [1, 80]\n",
        r"f0_predictor is \[1, 80\]; expected named values",
    ),
    "a reference to nothing": (replaced("<sample_rate>", "<no_such>"), "is !ref <no_such>, but there is no no_such"),
    "a circle of references": (replaced("sample_rate: 22050", "sample_rate: !ref <sample_rate>"), "is it a circle"),
    "arithmetic": (
        replaced("!ref <sample_rate>", "!ref <sample_rate> * 2"),
        r"sampling_rate is !ref '<sample_rate> \*",
    ),
    "a missing field": (replaced("    vocab_size: 512\n", ""), "flow has no vocab_size"),
    "a missing part": (replaced("hift: !new", "hifi: !new"), "has no hift"),
    "a negative size": (replaced("vocab_size: 512", "vocab_size: -512"), "vocab_size is -512; expected an integer"),
    "heads that do not divide": (
        replaced("attention_heads: 4\n        linear_units: 128", "attention_heads: 5\n        linear_units: 128"),
        "encoder: attention_heads is 5; expected a divisor of output_size = 64",
    ),
    "another rate": (replaced("sample_rate: 22050", "sample_rate: 24000"), "sample_rate is 24000; expected 22050"),
    "fewer mel bins": (replaced("output_size: 80", "output_size: 64"), "flow: output_size is 64; expected 80"),
    "another token rate": (replaced("rate: 12.5", "rate: 25"), "input_frame_rate is 25; expected 12.5"),
    "another position": (replaced("'rel_pos_espnet'", "'abs_pos'"), "pos_enc_layer_type is 'abs_pos'"),
    "another hop": (replaced("upsample_rates: [8, 8]", "upsample_rates: [8, 4]"), "make 128 samples .* expected 256"),
    "a list that is too short": (replaced("kernel_sizes: [16, 16]", "kernel_sizes: [16]"), "expected 2 of them"),
    "an alias bomb": (
        lambda text: "a: &a [x, x]\nb: &b [*a, *a]\n" + text,
        "aliases are not supported",
    ),
    "a key given twice": (lambda text: text + "sample_rate: 22050\n", "a key is given twice"),
    "a megabyte": (lambda text: text + "#" * (1 << 20), r"config\.yaml has \d+ bytes; expected at most 1048576"),
    "nesting without end": (lambda text: "a: " + "[" * 50_000 + "\n" + text, r"config\.yaml is not the YAML expected"),
    "no YAML": (lambda text: "{" + text, r"config\.yaml is not the YAML expected"),
    "a list": (lambda text: "- 1", r"config\.yaml holds a list; expected named values"),
}


@pytest.mark.parametrize("case", YAML_REFUSALS)
def test_a_decoder_config_that_cannot_be_used_is_refused_and_not_run(tmp_path: Path, case: str) -> None:
    edit, sentence = YAML_REFUSALS[case]
    trace = tmp_path / "it-ran"
    folder = edited(tmp_path, lambda text: edit(text).replace("{trace}", str(trace)))
    with pytest.raises(CheckpointError, match=sentence):
        read_decoder_config(folder)
    assert not trace.exists()


def test_the_seed_calls_and_the_unused_block_are_left_alone(tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    folder = edited(
        tmp_path,
        lambda text: text.replace("random.seed [1986]", f"os.mkdir ['{trace}']", 1).replace(
            "cosyvoice.llm.llm.TransformerLM", "no.such.Class"
        ),
    )
    assert read_decoder_config(folder) == read_decoder_config(golden("decoder"))
    assert not trace.exists()


def test_a_config_linked_from_elsewhere_is_refused(tmp_path: Path) -> None:
    shutil.copy(golden("decoder/config.yaml"), tmp_path / "elsewhere.yaml")
    (tmp_path / "decoder").mkdir()
    (tmp_path / "decoder" / "config.yaml").symlink_to("../elsewhere.yaml")
    with pytest.raises(CheckpointError, match="outside"):
        read_decoder_config(tmp_path / "decoder")
