"""Weights that disagree with their config, met where a user meets them: loading an official folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from goldens import golden
from safetensors.torch import load_file, save_file

from antiphon.engine.errors import CheckpointError
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.think.language_model import LanguageModel

Tensors = dict[str, torch.Tensor]


def copied(name: str, to: Path) -> Path:
    shutil.copytree(golden(name), to, ignore=shutil.ignore_patterns("*.npz", "*.npy", "expected*"))
    for path in to.iterdir():
        path.chmod(0o644)
    return to


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(path: Path, edit: Callable[[Tensors], object]) -> None:
    tensors = torch.load(path, weights_only=True) if path.suffix == ".pt" else load_file(path)
    edit(tensors)
    torch.save(tensors, path) if path.suffix == ".pt" else save_file(tensors, path)


def test_of_a_language_model(tmp_path: Path) -> None:
    folder = copied("lm", tmp_path / "lm")
    edit_json(folder / "config.json", num_layers=5)
    with pytest.raises(CheckpointError, match=r"7 missing \(transformer\.encoder\.layers\.4\."):
        LanguageModel.load(folder)
    edit_json(folder / "config.json", num_layers=3)
    with pytest.raises(CheckpointError, match=r"7 not expected \(transformer\.encoder\.layers\.3\."):
        LanguageModel.load(folder)
    edit_json(folder / "config.json", num_layers=4, ffn_hidden_size=350)
    sentence = r"dense_h_to_4h\.weight in model-00001-of-00003\.safetensors is \[704, 128\], expected \[700, 128\]"
    with pytest.raises(CheckpointError, match=sentence):
        LanguageModel.load(folder)


def test_of_a_speech_tokenizer(tmp_path: Path) -> None:
    folder = copied("speech_tokenizer/block20", tmp_path / "tokenizer")
    edit_json(folder / "config.json", quantize_vocab_size=500)
    with pytest.raises(CheckpointError, match=r"codebook\.weight in \S+ is \[512, 64\], expected \[500, 64\]"):
        SpeechTokenizer.load(folder)
    edit_json(folder / "config.json", quantize_vocab_size=512)
    edit_tensors(folder / "model.safetensors", lambda tensors: tensors.update({"conv1.bias": torch.arange(64)}))
    with pytest.raises(CheckpointError, match=r"conv1\.bias in model\.safetensors is int64, expected float32"):
        SpeechTokenizer.load(folder)


def test_of_a_decoder(tmp_path: Path) -> None:
    """Names are those of the file, whatever ours are."""
    folder = copied("decoder", tmp_path / "decoder")
    edit_tensors(folder / "flow.pt", lambda tensors: tensors.pop("decoder.estimator.final_block.block.0.bias"))
    with pytest.raises(CheckpointError, match=r"1 missing \(decoder\.estimator\.final_block\.block\.0\.bias \[40\]\)"):
        SpeechDecoder.load(folder)
    shutil.copy(golden("decoder/flow.pt"), folder / "flow.pt")
    edit_tensors(folder / "hift.pt", lambda tensors: tensors.update({"conv_pre.weight_v": torch.ones(48, 80, 5)}))
    sentence = r"hift\.pt .*conv_pre\.weight in hift\.pt is \[48, 80, 5\], expected \[48, 80, 7\]"
    with pytest.raises(CheckpointError, match=sentence):
        SpeechDecoder.load(folder)
