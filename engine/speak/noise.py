"""Where the flow starts from, and the grid of times it goes along."""

from typing import Final

import torch

from antiphon.engine.units import MEL_BINS

OFFICIAL_SEED: Final = 42
EULER_STEPS: Final = 10


def official_noise(frames: int, mel_bins: int = MEL_BINS) -> torch.Tensor:
    """f32[mel_bins, frames] on the CPU: the noise of an official flow call of `frames` mel frames.

    Every call is seeded anew, so that each sees the same stream from its start. A generator of its own leaves torch's
    global one alone. On CUDA the official code draws other numbers; we hold to the CPU's everywhere. Source: zai-
    org/GLM-4-Voice, cosyvoice/flow/flow_matching.py, `ConditionalCFM.forward`.
    """
    generator = torch.Generator().manual_seed(OFFICIAL_SEED)
    return torch.randn(mel_bins * frames, generator=generator).view(mel_bins, frames)


def euler_grid() -> tuple[list[float], list[float]]:
    """The time before each Euler step and the step's size, EULER_STEPS float32 values each, from 0 to 1.

    The official time is the running sum of the steps in float32, which drifts from the grid by rounding; each step aims
    at the grid again. Source: zai-org/GLM-4-Voice, cosyvoice/flow/flow_matching.py, `solve_euler`.
    """
    grid = cosine_grid()
    times, steps = [grid[0]], [grid[1] - grid[0]]
    for target in grid[2:]:
        times.append(times[-1] + steps[-1])
        steps.append(target - times[-1])
    return [float(time) for time in times], [float(step) for step in steps]


def cosine_grid() -> torch.Tensor:
    """f32[EULER_STEPS + 1]: 1 − cos(π/2 · k / EULER_STEPS)."""
    return 1 - torch.cos(torch.linspace(0, 1, EULER_STEPS + 1, device="cpu") * 0.5 * torch.pi)
