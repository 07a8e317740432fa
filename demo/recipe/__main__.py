"""`python -m demo.recipe`: make the checkpoint, from what has been made already."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from demo.recipe.pipeline import STAGES, Recipe
from demo.recipe.scales import SCALES

_WORK: Final = Path("out/recipe")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stages asked for, in their order; by default all."""
    parser = argparse.ArgumentParser(prog="python -m demo.recipe", description=main.__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; default: all")
    parser.add_argument("--scale", choices=tuple(SCALES), default="full", help="smoke: minutes, and nothing to hear")
    parser.add_argument("--work", type=Path, default=None, help=f"default: {_WORK}/SCALE")
    parser.add_argument("--checkpoint", type=Path, default=None, help="where export writes; default: WORK/checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="of torch, and processes of espeak-ng; default: 2")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu (default) or cuda")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.stages if name not in STAGES]
    if unknown:
        parser.error(f"there is no stage {unknown[0]!r}; expected some of {', '.join(STAGES)}")
    torch.set_num_threads(given.threads)
    work = given.work or _WORK / given.scale
    checkpoint = given.checkpoint or work / "checkpoint"
    recipe = Recipe(work, checkpoint, SCALES[given.scale], given.seed, given.threads, given.device)
    for name in STAGES:
        if not given.stages or name in given.stages:
            recipe.run(name)


if __name__ == "__main__":
    main()
