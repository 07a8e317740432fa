"""What every stage shares: its folder, its log, its saves, and the training loop."""

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from demo.recipe.scales import Steps

_FINAL_SHARE: Final = 0.01  # of the learning rate, at the end of the cosine
_KEPT: Final = 50  # steps that the reported means are over


class Stage:
    """One stage's folder under the work folder. `state.pt` is its last save, `done.json` says that it is finished."""

    def __init__(self, work: Path, name: str, save_seconds: float = 120.0, report_steps: int = 50) -> None:
        self.name = name
        self.save_seconds = save_seconds
        self.report_steps = report_steps
        self.folder = work / name
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def done(self) -> bool:
        return (self.folder / "done.json").exists()

    def finish(self, **figures: Any) -> None:
        """Mark the stage as finished, with what was measured."""
        _write_json(self.folder / "done.json", figures)
        self.say(f"{self.name}: done", **figures)

    def figures(self) -> dict[str, Any]:
        """What `finish` was given; empty before."""
        path = self.folder / "done.json"
        figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return figures

    def say(self, message: str, **figures: Any) -> None:
        """A line for whoever watches, and for the log."""
        shown = "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in figures.items()
        )
        print(f"[{time.strftime('%H:%M:%S')}] {message}  {shown}".rstrip(), flush=True)
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps({"time": round(time.time(), 1), "message": message, **figures}) + "\n")

    def save(self, state: dict[str, Any], name: str = "state.pt") -> None:
        """Write a file whole or not at all."""
        partial = self.folder / f"{name}.part"
        torch.save(state, partial)
        partial.replace(self.folder / name)

    def load(self, name: str = "state.pt") -> dict[str, Any] | None:
        """The last save; None where there is none."""
        path = self.folder / name
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state


Loss = Callable[[int], dict[str, torch.Tensor]]  # step → its losses; "loss" is the one that is minimised


def train(
    stage: Stage, modules: dict[str, nn.Module], steps: Steps, loss: Loss, seed: int, name: str = "state.pt"
) -> dict[str, float]:
    """Take the steps that are not taken yet, and return the means of the losses over the last of them.

    AdamW, a linear warm-up, a cosine to 1 %. Every step's randomness comes from (seed, step), so that a run that was
    interrupted goes on as it would have; `loss` must draw its batch from the step alone.
    """
    parameters = [p for module in modules.values() for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, steps.learning_rate, steps.betas, weight_decay=steps.weight_decay)
    start, means = _resume(stage, modules, optimiser, name)
    recent: list[dict[str, float]] = []
    saved = began = time.monotonic()
    for module in modules.values():
        module.train()
    for step in range(start, steps.steps):
        torch.manual_seed(seed * 1_000_003 + step)
        for group in optimiser.param_groups:
            group["lr"] = steps.learning_rate * schedule(step, steps)
        losses = loss(step)
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, steps.clip)
        optimiser.step()
        recent.append({key: float(value.detach()) for key, value in losses.items()})
        recent = recent[-_KEPT:]
        means = _means(recent)
        if (step + 1) % stage.report_steps == 0 or step + 1 == steps.steps:
            pace = (time.monotonic() - began) / (step + 1 - start)
            stage.say(f"{stage.name}: step {step + 1} of {steps.steps}", **means, seconds_a_step=round(pace, 3))
        if time.monotonic() - saved >= stage.save_seconds or step + 1 == steps.steps:
            _save(stage, modules, optimiser, step + 1, means, name)
            saved = time.monotonic()
    for module in modules.values():
        module.eval()
    return means


def schedule(step: int, steps: Steps) -> float:
    """The share of the learning rate at `step`."""
    if step < steps.warm_up:
        return (step + 1) / steps.warm_up
    progress = (step - steps.warm_up) / max(1, steps.steps - steps.warm_up)
    return _FINAL_SHARE + (1 - _FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))


def freeze(module: nn.Module) -> nn.Module:
    """In eval mode, without gradients."""
    return module.eval().requires_grad_(False)


def _resume(
    stage: Stage, modules: dict[str, nn.Module], optimiser: torch.optim.Optimizer, name: str
) -> tuple[int, dict[str, float]]:
    """The steps that were taken, and the losses' means after them."""
    state = stage.load(name)
    if state is None:
        return 0, {}
    for key, module in modules.items():
        module.load_state_dict(state[key])
    optimiser.load_state_dict(state["optimiser"])
    stage.say(f"{stage.name}: goes on at step {state['step']}")
    return state["step"], state["means"]


def _save(
    stage: Stage,
    modules: dict[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    step: int,
    means: dict[str, float],
    name: str,
) -> None:
    state: dict[str, Any] = {key: module.state_dict() for key, module in modules.items()}
    stage.save({**state, "optimiser": optimiser.state_dict(), "step": step, "means": means}, name)


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
