"""`python -m demo.recipe`: make the checkpoint, going on from what has been made already."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from demo.recipe.pipeline import LANES, STAGES, Recipe
from demo.recipe.scales import SCALES

_WORK: Final = Path("checkpoints/recipe")  # git ignores it, and `make clean` leaves it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages asked for, in their order; by default all, the long ones side by side. The exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo.recipe", description=main.__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; default: all")
    parser.add_argument("--scale", choices=tuple(SCALES), default="full", help="smoke: minutes, and nothing to hear")
    parser.add_argument("--work", type=Path, default=None, help=f"default: {_WORK}/SCALE")
    parser.add_argument("--checkpoint", type=Path, default=None, help="where export writes; default: WORK/checkpoint")
    parser.add_argument("--judge", type=Path, default=None, help="where evaluate writes it; default: WORK/judge-files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="of torch, and processes of espeak-ng; default: 2")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu (default) or cuda")
    parser.add_argument("--wait", action="store_true", help="for stages that another process is making")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.stages if name not in STAGES]
    if unknown:
        parser.error(f"there is no stage {unknown[0]!r}; expected some of {', '.join(STAGES)}")
    torch.set_num_threads(given.threads)
    work = given.work or _WORK / given.scale
    checkpoint = given.checkpoint or work / "checkpoint"
    judge = given.judge or work / "judge-files"
    recipe = Recipe(work, checkpoint, judge, SCALES[given.scale], given.seed, given.threads, given.device)
    if given.stages or given.threads < len(LANES):
        for name in given.stages or STAGES:
            recipe.run(name, given.wait)
        return 0
    recipe.run("data")
    if not _side_by_side(sys.argv[1:] if arguments is None else arguments, given.threads // len(LANES)):
        return 1
    recipe.run("export")
    recipe.run("evaluate")
    return 0


def _side_by_side(arguments: Sequence[str], threads: int) -> bool:
    """Each lane in a process of its own; whether all ended well. A lane that fails stops the other, which has saved."""
    command = [sys.executable, "-m", "demo.recipe"]
    options = [*arguments, "--threads", str(threads), "--wait"]
    lanes = [subprocess.Popen([*command, *lane, *options]) for lane in LANES]
    try:
        waiting = list(lanes)
        while waiting:
            for lane in waiting:
                try:
                    status = lane.wait(timeout=1.0)
                except subprocess.TimeoutExpired:
                    continue
                if status != 0:
                    return False
                waiting.remove(lane)
                break
        return True
    finally:
        for lane in lanes:
            if lane.poll() is None:
                lane.terminate()
                lane.wait()


if __name__ == "__main__":
    sys.exit(main())
