"""Stages kept between machines, a small file each: `python -m demo.recipe.kept STAGE …` writes what they have learnt.

A run with `--kept FOLDER` takes them from there instead of training them, and goes on with one that was not done. The
optimiser's averages are not kept: they are back within some steps.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from demo.recipe.stage import Stage

KEPT: Final = Path("demo/recipe/kept")
_OF_TENSOR: Final = "/"  # between the module's name and the tensor's
_EXACT: Final = ("vocoder",)  # modules whose phases fp16 would move; the others are shipped in it
_FOR_TRAINING: Final = ("heads",)  # modules that nothing reads once the stage is done
_BESIDE: Final = "stage"  # in the header: all of the save that is no module, and the figures of a stage that is done


def keep(stage: Stage, folder: Path) -> int:
    """Write the stage's last save to `folder` and return the bytes. Raises FileNotFoundError where it has none."""
    state = stage.load()
    if state is None:
        raise FileNotFoundError(f"{stage.folder} holds no state.pt; run the stage {stage.name!r} first.")
    tensors: dict[str, torch.Tensor] = {}
    for module in modules_of(state):
        if stage.done and module in _FOR_TRAINING:
            continue
        for name, tensor in state[module].items():
            rounded = tensor.half() if tensor.is_floating_point() and module not in _EXACT else tensor
            tensors[module + _OF_TENSOR + name] = rounded.contiguous()
    beside = {"step": state["step"], "means": state["means"], "figures": stage.figures() if stage.done else None}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, _file(folder, stage), {_BESIDE: json.dumps(beside)})
    return _file(folder, stage).stat().st_size


def take(stage: Stage, folder: Path) -> bool:
    """Put a stage that was kept in `folder` where its training would have left it. Returns whether there was one.

    A stage that has a save already is left as it is.
    """
    path = _file(folder, stage)
    if not path.exists() or stage.done or stage.load() is not None:
        return False
    state: dict[str, Any] = {}
    with safe_open(path, framework="pt") as file:
        beside = json.loads(file.metadata()[_BESIDE])
        for key in file.keys():
            module, _, name = key.partition(_OF_TENSOR)
            tensor = file.get_tensor(key)
            state.setdefault(module, {})[name] = tensor.float() if tensor.is_floating_point() else tensor
    stage.save({**state, "step": beside["step"], "means": beside["means"]})
    if beside["figures"] is not None:
        stage.finish(**beside["figures"])
    return True


def modules_of(state: dict[str, Any]) -> list[str]:
    """The names of the modules in a save."""
    return [name for name, value in state.items() if isinstance(value, dict) and name not in ("optimiser", "means")]


def _file(folder: Path, stage: Stage) -> Path:
    return folder / f"{stage.name}.safetensors"


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep the stages named."""
    parser = argparse.ArgumentParser(prog="python -m demo.recipe.kept", description=main.__doc__)
    parser.add_argument("stages", nargs="+", metavar="STAGE")
    parser.add_argument("--work", type=Path, default=Path("checkpoints/recipe/full"), help="the recipe's work folder")
    parser.add_argument("--into", type=Path, default=KEPT, help=f"default: {KEPT}")
    given = parser.parse_args(arguments)
    for name in given.stages:
        size = keep(Stage(given.work, name), given.into)
        print(f"{name}: {size:,} bytes in {given.into}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
