"""Every figure of a checkpoint's model card, measured anew: its answers, heard by the judge.

    python -m demo.evaluate [--checkpoint demo/checkpoint] [--judge demo/judge/weights] [--work checkpoints/recipe/full]

Needs espeak-ng, which speaks the test sets as the recipe has them (the same seed, the same recordings) into --work,
unless they lie there; then about forty minutes on two cores. Prints each figure beside the card's, and the bars. With
`--write` the card and figures.json say what was measured here, and the manifest is written anew.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from antiphon.engine.errors import AntiphonError
from demo.judge import files
from demo.recipe.bars import THREADS, bars
from demo.recipe.card import read_figures, write_card
from demo.recipe.data import make_recordings
from demo.recipe.espeak import EspeakError
from demo.recipe.evaluate import Checkpoint, evaluate
from demo.recipe.scales import SCALES
from demo.talk import CHECKPOINT

_WORK: Final = Path("checkpoints/recipe")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write where that is asked for. The exit status."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    scale = SCALES[options.scale]
    try:
        before, training = read_figures(options.checkpoint)
        seed = training["seed"]
        checkpoint, judge = Checkpoint.load(options.checkpoint), files.load(options.judge)
        work = (options.work or _WORK / options.scale) / "data"
        recordings = make_recordings(work, scale, seed, options.threads, _say)
        measured = evaluate(checkpoint, judge, recordings, seed, _say)
    except (AntiphonError, EspeakError, ValueError) as error:  # ValueError: other recordings lie in --work
        print(f"demo.evaluate: {error}", file=sys.stderr)
        return 1
    told = dict(_leaves(before))
    for name, value in _leaves(measured):
        print(f"{name}: {value:g} (the card: {told.get(name, 'nothing')})")
    for bar in bars(measured):
        print(bar)
    if options.write:
        write_card(options.checkpoint, measured, training, scale)
    return 0


def _leaves(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Each number with the names that lead to it; of a share with its interval, the share."""
    for name, value in figures.items():
        if not isinstance(value, Mapping):
            yield f"{before}{name}", value
        elif "share" in value:
            yield f"{before}{name}", value["share"]
        else:
            yield from _leaves(value, f"{before}{name}: ")


def _say(line: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {line}", file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.evaluate", description="The model card's figures, anew.")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="default: demo/checkpoint")
    parser.add_argument("--judge", type=Path, default=files.WEIGHTS, help="default: demo/judge/weights")
    parser.add_argument("--scale", choices=tuple(SCALES), default="full", help="that the checkpoint was made at")
    parser.add_argument("--work", type=Path, help=f"where the recordings lie; default: {_WORK}/SCALE")
    parser.add_argument("--threads", type=int, default=THREADS, help="of torch, and processes of espeak-ng")
    parser.add_argument("--write", action="store_true", help="the card, figures.json and the manifest")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
