"""One unbroken source for a whole turn: the excitation of `source.py`, with randomness that can be taken up anywhere.

The overtones' offsets are drawn once a turn, the noise of a sample by its place in the turn (both from the turn's seed,
Philox counters), and the harmonics' turns are carried on from stretch to stretch, in float64 and wrapped. So a source
made stretch by stretch is the one made at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from antiphon.engine.errors import InputError
from antiphon.engine.speak.packing import Packing
from antiphon.engine.speak.source import HarmonicSource
from antiphon.kernels.counter_normal import counter_normal
from antiphon.kernels.sample.philox import philox_4x32

# What a turn's seed is used for here: the third word of its counters. 0 is the LM's own draws.
_OFFSETS: Final = 1
_NOISE: Final = 2


@dataclass(frozen=True)
class SourceState:
    """Where one turn's source stands."""

    seed: int  # of the turn, 0 to 2⁶³ − 1
    offsets: torch.Tensor  # f64[harmonics + 1] radians, the turn's own; the fundamental's is 0
    turns: torch.Tensor  # f64[harmonics + 1] in [0, 1): of each harmonic, when frame `frames` begins
    frames: int  # mel frames whose source was made for good

    @classmethod
    def begin(cls, seed: int, sines: int, device: torch.device) -> "SourceState":
        """Before a turn's first frame. Raises InputError for a seed outside its range."""
        if not 0 <= seed < 2**63:
            raise InputError(f"the turn's seed is {seed}; expected a whole number of 0 to 2⁶³ − 1.")
        offsets = turn_offsets(seed, sines).to(device)
        return cls(seed, offsets, torch.zeros(sines, dtype=torch.float64, device=device), 0)


def turn_offsets(seed: int, sines: int) -> torch.Tensor:
    """f64[sines] on the CPU: uniform in [−π, π), the fundamental's 0. As the official draws, but once a turn."""
    zero = torch.zeros(sines, dtype=torch.int64)
    words = philox_4x32(
        (torch.arange(sines), zero, zero + _OFFSETS, zero),
        (zero + (seed & 0xFFFF_FFFF), zero + (seed >> 32)),
    )
    offsets = (words[0].double() / 2**32 * 2 - 1) * torch.pi
    offsets[0] = 0
    return offsets


@dataclass(frozen=True)
class SourceStretch:
    """What comes next of one turn's source."""

    state: SourceState
    f0: torch.Tensor  # f32[frames] Hz, from frame `state.frames` on; at least 1
    final: int  # frames of them, from the first, that will not be made again


def make_sources(module: HarmonicSource, stretches: Sequence[SourceStretch]) -> list[tuple[torch.Tensor, SourceState]]:
    """f32[frames · hop] of each stretch, each of another turn, and that turn's state after its final frames."""
    device = stretches[0].f0.device
    packing = Packing.of([len(one.f0) for one in stretches], device)
    states = [one.state for one in stretches]
    source = packed_source(
        module,
        torch.cat([one.f0 for one in stretches]),
        torch.stack([state.turns for state in states]),
        torch.stack([state.offsets for state in states]),
        torch.tensor([state.seed for state in states], device=device),
        torch.tensor([state.frames for state in states], device=device),
        packing.cu_seqlens,
    )
    made = torch.split(source, [n * module.config.hop for n in packing.lengths])
    return [(rows, after_stretch(module, one)) for rows, one in zip(made, stretches, strict=True)]


def packed_source(
    module: HarmonicSource,
    f0: torch.Tensor,  # f32[ΣT] Hz
    turns: torch.Tensor,  # f64[S, harmonics + 1], as in `SourceState`
    offsets: torch.Tensor,  # f64[S, harmonics + 1]
    seeds: torch.Tensor,  # i64[S]
    frames: torch.Tensor,  # i64[S]: where in its turn each sequence begins
    cu_seqlens: torch.Tensor,  # i32[S + 1], in frames
) -> torch.Tensor:
    """f32[ΣT · hop]. Normal number `sample · sines + k` of a turn is the noise of its harmonic k at that sample."""
    config = module.config
    sines = config.harmonics + 1
    values = config.hop * sines  # of a frame's noise
    noise = counter_normal(seeds, frames * values, cu_seqlens * values, stream=_NOISE, rows=len(f0) * values)
    phase = 2 * torch.pi * turns + offsets
    source: torch.Tensor = module(f0, phase.float(), noise.view(len(f0) * config.hop, sines), cu_seqlens)
    return source


def after_stretch(module: HarmonicSource, stretch: SourceStretch) -> SourceState:
    """The turn's state when the stretch's final frames have been made."""
    config, state = module.config, stretch.state
    f0 = stretch.f0[: stretch.final]
    harmonics = torch.arange(1, config.harmonics + 2, dtype=f0.dtype, device=f0.device)
    # Rounded to float32 before it is summed, as `harmonic_source` does: one pass and many add up the same numbers.
    turns = (f0[:, None] * harmonics / config.sample_rate).double().sum(0) * config.hop
    return SourceState(state.seed, state.offsets, (state.turns + turns) % 1, state.frames + stretch.final)
