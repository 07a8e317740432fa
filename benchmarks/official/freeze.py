"""Write what the official code gives on the demo's checkpoint: the data of tests/parity/test_demo_checkpoint.py.

    python -m benchmarks.official.freeze --checkout CHECKOUT --python PYTHON [--model demo/checkpoint]

CHECKOUT is a clone of the official repository with its submodule, PYTHON the interpreter of an environment that has
what it imports. To be run again whenever the checkpoint is made anew.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.official.beside import official, read_question
from demo.judge import sets

_ROOT: Final = Path(__file__).parents[2]
_QUESTIONS: Final = 3  # those of `make talk`: one is in Mandarin
_LONGEST: Final = 200  # ids of an answer


def main() -> int:
    """The exit status."""
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="antiphon-") as folder,
        official(options.python, options.checkout, options.model, "cpu", 1, _LONGEST) as pipeline,
    ):
        files = [Path(folder) / f"{number}.npy" for number in range(_QUESTIONS)]
        for file, (clip, _) in zip(files, sets.listed(), strict=False):
            np.save(file, read_question(clip))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        pipeline.write_outputs(files, options.out.resolve())
        print(f"{options.out}: by {pipeline.versions}")
    return 0


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the official code gives on the demo's checkpoint.")
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="default: this one")
    parser.add_argument("--model", type=Path, default=_ROOT / "demo" / "checkpoint")
    parser.add_argument("--out", type=Path, default=_ROOT / "tests" / "parity" / "data" / "demo" / "outputs.npz")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
