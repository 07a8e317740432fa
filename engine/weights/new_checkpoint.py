"""`antiphon new-checkpoint`: a model folder with random weights in the official formats.

Its language model is wired by its weights to answer in the official rhythm (`generate/clock.py`), its speech tokenizer
gives varied ids and its decoder a voice that is neither silent nor clipped, so that the whole way of the sound can be
run before anything is trained.
"""

import os
import secrets
import shutil
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Final

import torch
from torch import nn

from antiphon.engine.errors import CheckpointError, InputError
from antiphon.engine.hear.encoder import SpeechEncoder
from antiphon.engine.speak.flow import Flow
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.think.model import GLM
from antiphon.engine.weights.fill import unfilled
from antiphon.engine.weights.folders import DECODER_FOLDER, LANGUAGE_MODEL_FOLDER, TOKENIZER_FOLDER
from antiphon.engine.weights.generate.decoder import random_decoder
from antiphon.engine.weights.generate.language_model import planned_language_model
from antiphon.engine.weights.generate.sizes import SIZES, CheckpointSize
from antiphon.engine.weights.generate.speech_tokenizer import planned_speech_tokenizer
from antiphon.engine.weights.generate.text_files import STOP_TOKENS, TextTokenizer
from antiphon.engine.weights.provenance import mark_random
from antiphon.engine.weights.reader import SINGLE_FILE
from antiphon.engine.weights.write_configs import (
    write_decoder_config,
    write_language_model_config,
    write_speech_tokenizer_configs,
)
from antiphon.engine.weights.writer import Progress, write_file, write_shards

_OTHER_FILES: Final = 32 << 20  # bytes: configs, the text tokenizer's files, headers
_MAX_SEED: Final = 2**63 - 1


def new_checkpoint(
    folder: Path | str, size: str = "tiny", seed: int = 0, progress: Progress = lambda line: None
) -> None:
    """Write a model folder: the three official folders, random, of the sizes in `generate/sizes.py`.

    The folder appears when it is complete. The same size and seed give the same tensors on the same machine. The
    largest size needs 21 GB on disk and 4 GB of memory. `progress` is given a line now and then.
    Raises InputError for an unknown size, a bad seed, a folder that holds something already, or too little room on the
    disk; CheckpointError when writing fails.
    """
    folder = Path(folder)
    dimensions = _checked_size(size, seed)
    _check_folder(folder)
    _check_room(folder, size, bytes_on_disk(dimensions))
    # Beside the folder, so that the last step is a rename on one disk.
    partial = folder.absolute().parent / f".{folder.name}.{secrets.token_hex(4)}.partial"
    try:
        partial.mkdir(parents=True)
        _write(partial, dimensions, seed, progress)
        mark_random(partial, size, seed)
        os.replace(partial, folder)  # which may be an empty folder
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error.strerror} ({error.filename or partial}).") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def bytes_on_disk(size: CheckpointSize) -> int:
    """About what a checkpoint of this size takes on disk."""
    with unfilled():
        encoder, lm = SpeechEncoder(size.speech_tokenizer), GLM(size.language_model)
        flow, vocoder = Flow(size.decoder.flow), HiFT(size.decoder.vocoder)
    float32 = sum(_elements(module) for module in (encoder, flow, vocoder)) * torch.float32.itemsize
    return float32 + _elements(lm) * size.language_model_dtype.itemsize + _OTHER_FILES


def _write(folder: Path, size: CheckpointSize, seed: int, progress: Progress) -> None:
    """The three official folders."""
    tokenizer_folder, lm_folder, decoder_folder = (
        folder / name for name in (TOKENIZER_FOLDER, LANGUAGE_MODEL_FOLDER, DECODER_FOLDER)
    )
    for inner in (tokenizer_folder, lm_folder, decoder_folder):
        inner.mkdir()

    progress(f"{TOKENIZER_FOLDER}: {size.speech_tokenizer.layers} layers of {size.speech_tokenizer.d_model}")
    write_speech_tokenizer_configs(tokenizer_folder, size.speech_tokenizer)
    write_file(tokenizer_folder / SINGLE_FILE, planned_speech_tokenizer(size.speech_tokenizer, seed))

    progress(f"{DECODER_FOLDER}: flow and vocoder")
    write_decoder_config(decoder_folder, size.decoder)
    flow, vocoder = random_decoder(size.decoder, seed)
    torch.save(flow, decoder_folder / "flow.pt")
    torch.save(vocoder, decoder_folder / "hift.pt")

    progress(f"{LANGUAGE_MODEL_FOLDER}: {size.language_model.layers} layers of {size.language_model.hidden}")
    text = TextTokenizer.make(size.text_ranks, size.first_speech_id, size.speech_tokenizer.codebook_size)
    text.write(lm_folder)
    config = replace(size.language_model, stop_ids=tuple(text.control_id(name) for name in STOP_TOKENS))
    write_language_model_config(lm_folder, config, size.language_model_dtype)
    tensors = planned_language_model(config, text, size.language_model_dtype, seed)
    write_shards(lm_folder, tensors, size.shard_bytes, progress)


def _checked_size(size: str, seed: int) -> CheckpointSize:
    if size not in SIZES:
        raise InputError(f"size {size!r} is unknown; expected one of {', '.join(SIZES)}.")
    if not 0 <= seed <= _MAX_SEED:
        raise InputError(f"seed {seed} is out of range; expected an integer from 0 to {_MAX_SEED}.")
    return SIZES[size]


def _check_folder(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; expected a folder that is, or that does not exist yet.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder} is not a folder; expected one that is empty, or that does not exist yet.")


def _check_room(folder: Path, size: str, needed: int) -> None:
    existing = next(parent for parent in folder.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(
            f"the disk of {folder} has {free / 1e9:.2f} GB free; a checkpoint of size {size} needs {needed / 1e9:.2f} "
            "GB. Make room, or choose a smaller size."
        )


def _elements(module: nn.Module) -> int:
    return sum(prod(tensor.shape) for tensor in module.state_dict().values())
