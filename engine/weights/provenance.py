"""Whether a model folder was trained, or made of random numbers."""

import json
from pathlib import Path
from typing import Final

_FILE: Final = "random-weights.json"  # beside the three official folders; no official folder has it


def is_random(folder: Path | str) -> bool:
    """Whether `antiphon new-checkpoint` wrote this model folder, so that its answers mean nothing."""
    return (Path(folder) / _FILE).is_file()


def mark_random(folder: Path, size: str, seed: int) -> None:
    """Leave the mark that `is_random` finds, with what is needed to make the folder again."""
    note = "Random weights in the official formats: what this model says means nothing."
    (folder / _FILE).write_text(json.dumps({"note": note, "size": size, "seed": seed}, indent=2) + "\n")
