"""The judge's files: `judge.safetensors` in fp16 with its alphabet, `errors.json`, and a manifest.

The alphabet lies beside the weights, so that words added to the demo later do not change what a shipped judge spells.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from antiphon.engine.errors import CheckpointError
from antiphon.engine.weights.manifest import MANIFEST_FILE, check_manifest, write_manifest
from demo.judge.recogniser import Judge

WEIGHTS: Final = Path(__file__).parent / "weights"  # where the shipped one lies
LARGEST: Final = 2_000_000  # bytes of the weights
_WEIGHTS_FILE: Final = "judge.safetensors"
_ERRORS_FILE: Final = "errors.json"
_ALPHABET: Final = "alphabet"  # in the header; a JSON list


def save(judge: Judge, errors: Mapping[str, float], folder: Path) -> int:
    """Write `folder` and return the weights' bytes. `errors` are its word error rates on originals, by test set.

    Raises ValueError when the weights came out larger than a file beside the recipe may be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: tensor.detach().cpu().to(torch.float16) for name, tensor in judge.state_dict().items()}
    metadata = {_ALPHABET: json.dumps(judge.symbols, ensure_ascii=False)}
    save_file(halves, folder / _WEIGHTS_FILE, metadata)
    (folder / _ERRORS_FILE).write_text(json.dumps(errors, indent=2) + "\n")
    write_manifest(folder)
    size = (folder / _WEIGHTS_FILE).stat().st_size
    if size > LARGEST:
        raise ValueError(f"{folder / _WEIGHTS_FILE} has {size:,} bytes; expected at most {LARGEST:,}.")
    return size


def load(folder: Path = WEIGHTS) -> Judge:
    """The judge of `folder`, on the CPU in float32. Raises CheckpointError where its files are missing or damaged."""
    if not (folder / MANIFEST_FILE).is_file():
        raise CheckpointError(f"{folder} holds no judge; the recipe's stage 'evaluate' writes one.")
    check_manifest(folder)
    try:
        with safe_open(folder / _WEIGHTS_FILE, framework="pt") as file:
            symbols = json.loads((file.metadata() or {}).get(_ALPHABET, "[]"))
            judge = Judge(symbols)
            judge.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})
    except (SafetensorError, RuntimeError, OSError) as error:  # RuntimeError: tensors of another network
        raise CheckpointError(f"{folder / _WEIGHTS_FILE} is no judge of this version: {error}") from error
    return judge.eval().requires_grad_(False)


def errors(folder: Path = WEIGHTS) -> dict[str, float]:
    """Its own word error rate on originals, by test set: what stands beside every figure."""
    rates: dict[str, float] = json.loads((folder / _ERRORS_FILE).read_text())
    return rates
