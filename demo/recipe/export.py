"""The trained models as the three official folders, by the writers that the engine itself uses."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from antiphon.engine.hear.encoder import SpeechEncoder
from antiphon.engine.speak.flow import Flow
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.think.model import GLM
from antiphon.engine.weights.convert import official_flow_state, official_vocoder_state
from antiphon.engine.weights.folders import DECODER_FOLDER, LANGUAGE_MODEL_FOLDER, TOKENIZER_FOLDER
from antiphon.engine.weights.manifest import write_manifest
from antiphon.engine.weights.reader import SINGLE_FILE
from antiphon.engine.weights.write_configs import (
    write_decoder_config,
    write_language_model_config,
    write_speech_tokenizer_configs,
)
from antiphon.engine.weights.writer import PlannedTensor, write_file
from demo.recipe.scales import Scale

LARGEST: Final = 30 << 20  # bytes of the whole checkpoint
_HALF: Final = torch.float16


@dataclass(frozen=True)
class Trained:
    """What is written."""

    encoder: SpeechEncoder
    language_model: GLM
    flow: Flow
    vocoder: HiFT
    text: Path  # the folder with the text tokenizer's two files


def export(folder: Path, trained: Trained, scale: Scale) -> int:
    """Write `folder` anew and return its bytes. All but the vocoder is in fp16: its F0 and phases are not rounded.

    The speech tokenizer was rounded before anything was trained on its codes (`halved`), so it loses nothing.
    Raises ValueError when it came out larger than a checkpoint in a repository may be.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in (TOKENIZER_FOLDER, LANGUAGE_MODEL_FOLDER, DECODER_FOLDER):
        (folder / name).mkdir(parents=True)
    write_speech_tokenizer_configs(folder / TOKENIZER_FOLDER, scale.tokenizer_config)
    write_file(folder / TOKENIZER_FOLDER / SINGLE_FILE, _planned(trained.encoder.state_dict()))

    write_language_model_config(folder / LANGUAGE_MODEL_FOLDER, trained.language_model.config, _HALF)
    write_file(folder / LANGUAGE_MODEL_FOLDER / SINGLE_FILE, _planned(trained.language_model.state_dict()))
    for path in trained.text.iterdir():
        shutil.copyfile(path, folder / LANGUAGE_MODEL_FOLDER / path.name)

    write_decoder_config(folder / DECODER_FOLDER, scale.decoder_config)
    flow = official_flow_state(halved(trained.flow.state_dict()))
    torch.save(flow, folder / DECODER_FOLDER / "flow.pt")
    torch.save(official_vocoder_state(_own(trained.vocoder.state_dict())), folder / DECODER_FOLDER / "hift.pt")

    write_manifest(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > LARGEST:
        raise ValueError(f"{folder} has {size:,} bytes; expected at most {LARGEST:,}. Make a model smaller.")
    return size


def halved(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict in fp16, on the CPU."""
    return {name: tensor.detach().cpu().to(_HALF) for name, tensor in state.items()}


def _own(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def _planned(state: Mapping[str, torch.Tensor]) -> list[PlannedTensor]:
    return [PlannedTensor.of(name, tensor) for name, tensor in halved(state).items()]
