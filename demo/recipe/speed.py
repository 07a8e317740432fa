"""What a single caller waits, in a process of its own: one that has computed before is a slower one (engine/device.py).

    python -m demo.recipe.speed FOLDER QUESTIONS.npz [--threads 2]

QUESTIONS.npz holds f32[n] at 16 kHz. Prints the figures as JSON.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import antiphon
from antiphon.engine.units import MODEL_INPUT_RATE
from demo.turn import one_turn


def speed_alone(folder: Path, sounds: Sequence[np.ndarray], threads: int) -> dict[str, Any]:
    """Medians of single turns, f32[n] at 16 kHz, the first one apart, measured in a new process.

    Raises subprocess.CalledProcessError where that fails.
    """
    with tempfile.TemporaryDirectory(prefix="antiphon-") as work:
        questions = Path(work) / "questions.npz"
        np.savez(questions, *sounds)
        command = [sys.executable, "-m", "demo.recipe.speed", str(folder), str(questions), "--threads", str(threads)]
        told: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
        return told


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m demo.recipe.speed", description="What a single caller waits.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with np.load(options.questions) as file, antiphon.Engine.load(options.folder, "cpu") as engine:
        turns = [asyncio.run(one_turn(engine, sound, MODEL_INPUT_RATE)) for sound in file.values()][1:]
    first = [turn.timing.first_audio for turn in turns if turn.timing.first_audio]
    whole = [turn.timing.total / turn.seconds for turn in turns if turn.seconds]
    figures = {"first audio, s": first, "real-time factor": whole}
    print(json.dumps({name: round(float(np.median(times)), 3) for name, times in figures.items()}))


if __name__ == "__main__":
    main()
