"""Filling a module: everything is checked before anything is read, and each fault is named with what was expected."""

from pathlib import Path

import pytest
import torch
from compare import assert_close
from goldens import golden
from safetensors.torch import load_file, save_file
from torch import nn

from antiphon.engine.errors import CheckpointError
from antiphon.engine.hear.encoder import SpeechEncoder
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.weights.convert import fold_weight_norm, official_flow_state, official_vocoder_state
from antiphon.engine.weights.fill import fill, unfilled
from antiphon.engine.weights.names import official_flow_name, rename_flow, speech_tokenizer_name
from antiphon.engine.weights.read_configs import read_decoder_config, read_speech_tokenizer_config
from antiphon.engine.weights.reader import open_pickle, open_safetensors


class Small(nn.Module):
    """Two parameters of different shapes, and an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("counts", torch.zeros(4, dtype=torch.int64))


GOOD = {"linear.weight": torch.randn(2, 3), "linear.bias": torch.randn(2), "counts": torch.arange(4)}


def filled(folder: Path, tensors: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32) -> Small:
    save_file(tensors, folder / "model.safetensors")
    with unfilled():
        module = Small()
    fill(module, open_safetensors(folder), device="cpu", dtype=dtype)
    return module


def test_floats_take_the_dtype_and_integers_keep_theirs(tmp_path: Path) -> None:
    module = filled(tmp_path, {**GOOD, "linear.weight": GOOD["linear.weight"].half()}, torch.bfloat16)
    assert torch.equal(module.linear.weight, GOOD["linear.weight"].half().bfloat16())
    assert module.linear.bias.dtype == torch.bfloat16 and isinstance(module.linear.bias, nn.Parameter)
    assert torch.equal(module.get_buffer("counts"), GOOD["counts"])


FAULTS = {
    "missing": ({"linear.bias": None}, r"1 missing \(linear\.bias \[2\]\)"),
    "surplus": ({"more": torch.ones(5)}, r"1 not expected \(more \[5\]\)"),
    "misshapen": (
        {"linear.weight": torch.ones(3, 2)},
        r"1 of another shape \(linear\.weight in model\.safetensors is \[3, 2\], expected \[2, 3\]\)",
    ),
    "integer weights": (
        {"linear.weight": torch.ones(2, 3, dtype=torch.int32)},
        r"of another dtype \(linear\.weight in \S+ is int32, expected float32 or float16 or bfloat16\)",
    ),
    "floating counts": ({"counts": torch.ones(4)}, r"counts in \S+ is float32, expected int64"),
    "all at once": ({"linear.bias": None, "more": torch.ones(5)}, r"1 missing .*; 1 not expected"),
    "many": ({f"more.{i}": torch.ones(1) for i in range(12)}, r"12 not expected \(.* and 2 more\)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_what_was_expected(tmp_path: Path, fault: str) -> None:
    changes, sentence = FAULTS[fault]
    tensors = {name: tensor for name, tensor in {**GOOD, **changes}.items() if tensor is not None}
    with pytest.raises(CheckpointError, match=sentence):
        filled(tmp_path, tensors)


def test_a_module_that_keeps_more_than_its_state_dict_is_told_of(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(1, 1), "bias": torch.ones(1)}, tmp_path / "model.safetensors")
    with unfilled():
        module = nn.Linear(1, 1)
        module.register_buffer("window", torch.ones(3), persistent=False)
    with pytest.raises(TypeError, match=r"Linear\.window is no part of the state dict"):
        fill(module, open_safetensors(tmp_path), device="cpu", dtype=torch.float32)


def test_the_prefixed_tokenizer_file_fills_the_same_encoder(tmp_path: Path) -> None:
    """A file of the whole Whisper-VQ model: later layers, the last norm and the decoder are nobody's."""
    folder = golden("speech_tokenizer/block20")
    config = read_speech_tokenizer_config(folder)
    published = load_file(folder / "model.safetensors")
    whole = {f"model.encoder.{name}": tensor for name, tensor in published.items()}
    whole |= {f"model.encoder.layers.{config.layers}.fc1.bias": torch.ones(3), "proj_out.weight": torch.ones(2)}
    whole |= {"model.encoder.layer_norm.weight": torch.ones(64), "model.decoder.layers.0.fc1.bias": torch.ones(1)}
    save_file(whole, tmp_path / "model.safetensors")
    with unfilled():
        encoder = SpeechEncoder(config)
    fill(
        encoder,
        open_safetensors(tmp_path),
        rename=lambda name: speech_tokenizer_name(name, config.layers),
        device="cpu",
        dtype=torch.float32,
    )
    state = encoder.state_dict()
    assert set(state) == set(published)
    assert all(torch.equal(state[name], tensor) for name, tensor in published.items())


def test_one_parameter_under_two_names_is_refused(tmp_path: Path) -> None:
    save_file({"model.encoder.linear.bias": torch.ones(2), **GOOD}, tmp_path / "model.safetensors")
    with unfilled():
        module = Small()
    with pytest.raises(CheckpointError, match=r"both .* stand for linear\.bias; expected one"):
        fill(
            module,
            open_safetensors(tmp_path),
            rename=lambda name: speech_tokenizer_name(name, 1),
            device="cpu",
            dtype=torch.float32,
        )


def test_folded_weight_norm_is_the_formula() -> None:
    source = fold_weight_norm(open_pickle(golden("decoder/hift.pt")))
    with unfilled():
        vocoder = HiFT(read_decoder_config(golden("decoder")).vocoder)
    fill(vocoder, source, device="cpu", dtype=torch.float32)
    stored = torch.load(golden("decoder/hift.pt"), weights_only=True)
    for name, weight in vocoder.state_dict().items():
        if name in stored:
            assert torch.equal(weight, stored[name]), name
            continue
        length, direction = stored[f"{name}_g"].double(), stored[f"{name}_v"].double()
        norm = direction.flatten(1).norm(dim=1).view(length.shape)  # of a transposed convolution, by input channel
        assert_close(weight, length * direction / norm, 1e-6, name)


def test_what_is_written_folds_back() -> None:
    official = torch.load(golden("decoder/hift.pt"), weights_only=True)
    source = fold_weight_norm(open_pickle(golden("decoder/hift.pt")))
    written = official_vocoder_state({name: source.read(name) for name in source.names()})
    assert set(written) == set(official)
    for stem in (name.removesuffix("_g") for name in written if name.endswith(".weight_g")):
        direction = written[f"{stem}_v"]
        norm = direction.flatten(1).norm(dim=1).view(written[f"{stem}_g"].shape)
        assert_close(written[f"{stem}_g"] * direction / norm, source.read(stem), 1e-6, stem)
    flow = torch.load(golden("decoder/flow.pt"), weights_only=True)
    assert set(official_flow_state({rename_flow(name): tensor for name, tensor in flow.items()})) == set(flow)
    assert official_flow_name(rename_flow("input_embedding.weight")) == "input_embedding.weight"


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"a.weight_v": torch.ones(3, 2)}, r"has a\.weight_v, but no a\.weight_g"),
        ({"a.weight_g": torch.ones(3, 1)}, r"has a\.weight_g, but no a\.weight_v"),
        (
            {"a.weight_v": torch.ones(3, 2), "a.weight_g": torch.ones(1, 2)},
            r"a\.weight_g is \[1, 2\]; expected \[3, 1\] for a\.weight_v \[3, 2\]",
        ),
        (
            {"a.weight_v": torch.ones(3, 2), "a.weight_g": torch.ones(3, 1), "a.weight": torch.ones(3, 2)},
            r"a\.weight besides a\.weight_v",
        ),
    ],
)
def test_half_a_weight_norm_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], sentence: str) -> None:
    torch.save(tensors, tmp_path / "hift.pt")
    with pytest.raises(CheckpointError, match=sentence):
        fold_weight_norm(open_pickle(tmp_path / "hift.pt"))
