"""`describe`: what a folder holds, without reading its weights."""

import shutil
import struct
from pathlib import Path

import pytest
from checkpoints import tiny_checkpoint
from goldens import golden

from antiphon.engine.errors import CheckpointError
from antiphon.engine.weights.info import LanguageModelInfo, SpeechTokenizerInfo, WeightsInfo, describe


def test_the_goldens_are_described_as_their_readme_says() -> None:
    lm = describe(golden("lm")).language_model
    shards = sum(path.stat().st_size for path in golden("lm").glob("*.safetensors"))
    assert lm == LanguageModelInfo(
        WeightsInfo(parameters=1_001_600, bytes=shards, dtypes=("float32",)),
        layers=4,
        width=128,
        vocabulary=1_024,
        context=8_192,
        kv_bytes_per_token=2 * 4 * 2 * 32 * 4,  # keys and values, layers, groups, dimensions, float32
        text_files=True,
    )
    decoder = describe(golden("decoder")).decoder
    assert decoder is not None and (decoder.codebook, decoder.sample_rate) == (512, 22_050)
    assert decoder.flow.parameters + decoder.vocoder.parameters == 604_920 + 215_095
    folder = golden("speech_tokenizer/block20")
    size = (folder / "model.safetensors").stat().st_size
    assert describe(folder).speech_tokenizer == SpeechTokenizerInfo(
        WeightsInfo(parameters=322_880, bytes=size, dtypes=("float32",)),
        layers=2,
        width=64,
        codebook=512,
        tokens_per_second=12.5,
        sample_rate=16_000,
    )


def test_weights_are_not_read(tmp_path: Path) -> None:
    """A file of 256 GB, all hole: reading it would take minutes and more memory than there is."""
    shutil.copy(golden("lm/config.json"), tmp_path)
    elements = 1 << 36
    header = f'{{"a": {{"dtype": "F32", "shape": [{elements}], "data_offsets": [0, {4 * elements}]}}}}'.encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 4 * elements)
    assert describe(tmp_path).parameters == elements


def test_a_model_folder_is_described_whole() -> None:
    info = describe(tiny_checkpoint())
    assert info.random_weights
    told = info.to_json()
    assert told["parameters"] == info.parameters and told["language_model"]["kv_bytes_per_token"] == 2_048
    assert "random weights" in info.to_text() and "KV cache 2,048 bytes a token" in info.to_text()


def test_a_folder_with_some_parts_is_described(tmp_path: Path) -> None:
    shutil.copytree(golden("decoder"), tmp_path / "glm-4-voice-decoder")
    info = describe(tmp_path)
    assert info.decoder is not None and info.language_model is None and not info.random_weights


def test_what_is_no_model_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no model folder; expected glm-4-voice-tokenizer, glm-4-voice-9b"):
        describe(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match="is no model folder"):
        describe(tmp_path)
