"""The tokenizer's face beyond parity: company, dtypes, layouts, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from compare import assert_close
from goldens import golden
from safetensors.torch import load_file, save_file
from speech_tokenizers import clip, expected, tokenizer
from tolerances import TOLERANCE

from antiphon import SpeechTokenizer
from antiphon.engine.errors import AudioError, CheckpointError
from antiphon.engine.types import ArrayLike


def test_company_in_a_pack_changes_nothing() -> None:
    names = ["noise", "one_sample", "rate_8000", "zh_speech", "short_0p3s"]
    alone = {name: tokenizer(20).encode(*clip(name)) for name in names}
    for order in (names, names[::-1], names[2:] + names[:2]):
        assert tokenizer(20).encode_batch([clip(name) for name in order]) == [alone[name] for name in order]
    assert tokenizer(20).encode_batch([]) == []


def test_takes_arrays_tensors_and_lists() -> None:
    pcm, rate = clip("short_0p3s")
    ids = tokenizer(20).encode(pcm, rate)
    assert tokenizer(20).encode(torch.from_numpy(pcm[0]), rate) == ids
    assert tokenizer(20).encode(pcm[0].tolist(), rate) == ids
    assert tokenizer(20).encode(pcm[0].astype(np.float64), rate) == ids


@pytest.mark.parametrize(
    ("pcm", "rate", "message"),
    [
        ([], 16_000, "pcm is empty; expected at least one sample"),
        (np.zeros((2, 0)), 16_000, "pcm is empty"),
        (np.zeros((0, 5)), 16_000, r"pcm has no channels: its shape is \[0, 5\]"),
        (np.zeros((1, 2, 3)), 16_000, r"pcm has shape \[1, 2, 3\]; expected \[samples\] or \[channels, samples\]"),
        ([0.0, float("inf")], 16_000, "1 samples that are NaN or infinite, the first at index 1"),
        (np.zeros(5, np.int16), 16_000, r"pcm holds integers; expected floating point in \[-1, 1\]"),
        ([0.0], 0, "sample rate is 0; expected a whole number of Hz from 1 to 384000"),
        ([0.0], 11_025.5, "sample rate is 11025.5"),
    ],
)
def test_refuses_bad_audio(pcm: ArrayLike, rate: int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        tokenizer(20).encode(pcm, rate)


def test_bfloat16_hears_nearly_the_same() -> None:
    rounded = SpeechTokenizer.load(golden("speech_tokenizer/block200"), dtype="bfloat16")
    with np.load(golden("speech_tokenizer/block200/expected_hidden.npz")) as official:
        hidden, margin = official["en_speech/hidden"], official["en_speech/margin"]
    pcm, rate = clip("en_speech")
    assert_close(rounded.hidden(pcm, rate), hidden, TOLERANCE["tokenizer-hidden-bfloat16"])
    ids = np.array(expected(200)["clips"]["en_speech"]["ids"])
    # A vector off by e changes a squared distance to a code c by at most 2·e·|c − c'|: small margins may tip.
    assert (np.array(rounded.encode(pcm, rate)) == ids)[margin > 20].all()


def test_loads_the_layout_of_the_whole_whisper_model(tmp_path: Path) -> None:
    published = golden("speech_tokenizer/block20")
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((published / name).read_bytes())
    tensors = {f"model.encoder.{name}": tensor for name, tensor in load_file(published / "model.safetensors").items()}
    unused = ("model.encoder.layer_norm.weight", "model.encoder.layers.2.fc1.weight", "model.decoder.layer_norm.bias")
    save_file(tensors | {name: torch.zeros(3) for name in unused}, tmp_path / "model.safetensors")
    ids = SpeechTokenizer.load(tmp_path).encode(*clip("short_0p3s"))
    assert ids == expected(20)["clips"]["short_0p3s"]["ids"]


def test_refuses_a_pooling_that_is_not_12_5_tokens_a_second(tmp_path: Path) -> None:
    published = golden("speech_tokenizer/block20")
    for file in published.glob("*.safetensors"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "preprocessor_config.json").write_bytes((published / "preprocessor_config.json").read_bytes())
    config = json.loads((published / "config.json").read_text()) | {"pooling_kernel_size": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError):
        SpeechTokenizer.load(tmp_path)
