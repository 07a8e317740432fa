"""What the loop's forwards take, measured one by one: the planner's costs, and what a dialogue takes of the machine.

Times are the injected clock's. On one that stands still all work takes 0 seconds, which limits nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from antiphon.engine.speak.estimator import DownStage, Estimator
from antiphon.engine.speak.flow_blocks import TransformerBlock
from antiphon.engine.speak.noise import EULER_STEPS
from antiphon.engine.units import MEL_FRAME_RATE
from antiphon.scheduler.admission import SPEAKING_SHARE, Demand
from antiphon.scheduler.settings import Costs
from antiphon.scheduler.stage_times import BatchTime, Stage, StageTimes

_KEPT: Final = 0.95  # of what chunks before the newest count for


class Meter:
    """Told of every forward by the loop's thread; `load` may be asked from any."""

    def __init__(self, squared_share: float) -> None:
        """`squared_share`: an Euler step of T frames costs as T + squared_share · T²."""
        self._times = StageTimes(squared_share=squared_share)
        self._decode = BatchTime()
        self._warm: set[Stage] = set()  # a stage's first forward compiles kernels and takes memory: it tells nothing
        self._solved = self._spoken = 0.0  # units of flow, and frames of audio they became: the latest count most

    def lm(self, decodes: int, prefill_tokens: int, seconds: float) -> None:
        """An LM forward of so many rows with one id each, and so many positions of prompts."""
        if prefill_tokens:
            self._observe("prefill_token", prefill_tokens, max(0.0, seconds - self._decode.of(decodes)))
        elif self._observe("lm_row", decodes, seconds):
            self._decode.observe(decodes, seconds)

    def solve(self, frames: Sequence[int], seconds: float) -> None:
        """Euler steps of rows of so many mel frames, a row as often as it did one, with what comes before the first."""
        self._observe("solve_frame", sum(map(self._times.solve_units, frames)), seconds)

    def vocode(self, chunks: Sequence[tuple[int, int]], seconds: float) -> None:
        """The last of some chunks' work: each chunk's (mel frames of its solve, mel frames that became audio)."""
        self._observe("vocode_frame", sum(wave for _, wave in chunks), seconds)
        for solved, wave in chunks:
            self._solved = _KEPT * self._solved + EULER_STEPS * self._times.solve_units(solved)
            self._spoken = _KEPT * self._spoken + wave

    def encode(self, frames: int, seconds: float) -> None:
        """A pack of so many encoder frames."""
        self._observe("encode_frame", frames, seconds)

    @property
    def costs(self) -> Costs:
        """What the planner counts with. Of an LM row only what it adds to a forward: all rows share the weights."""
        return replace(self._times.costs(), lm_row=self._decode.each)

    @property
    def load(self) -> float:
        """Seconds of the machine that a second of one dialogue takes; 0 where nothing was measured."""
        solve_units = self._solved / self._spoken * float(MEL_FRAME_RATE) if self._spoken else 0.0
        return Demand.of_speech(speaking_share=SPEAKING_SHARE, solve_units=solve_units).load(self._times)

    def _observe(self, stage: Stage, units: float, seconds: float) -> bool:
        """Whether it counted."""
        if units == 0 or stage not in self._warm:
            self._warm |= {stage} if units else set()
            return False
        self._times.observe(stage, units, seconds)
        return True


def squared_share(estimator: Estimator) -> float:
    """What attention adds to an Euler step of T frames: the step's FLOPs are as T + squared_share · T².

    Counted from the layers: a weight of a layer that runs at 1/2ᵏ of the rate is used for every 2ᵏ-th frame, and
    attention, which multiplies every frame with every other twice, shrinks with the square of the rate.
    """
    rates = [2.0**-level for level in range(len(estimator.down_blocks))]
    stages = [
        *zip(estimator.down_blocks, rates, strict=True),
        *((stage, rates[-1]) for stage in estimator.mid_blocks),
        *zip(estimator.up_blocks, reversed(rates), strict=True),
    ]
    down = estimator.down_blocks[0]
    assert isinstance(down, DownStage)
    first = down.resnet
    # What the conditions come to in the first layer is computed once a solve.
    conditions = 1 - estimator.final_proj.out_channels / first.res_conv.in_channels
    linear = -2 * conditions * (first.block1.conv.weight.numel() + first.res_conv.weight.numel())
    squared = 0.0
    for stage, rate in stages:
        linear += 2 * rate * sum(weight.numel() for weight in stage.parameters() if weight.dim() > 1)
        for module in stage.modules():
            if isinstance(module, TransformerBlock):
                squared += 4 * rate**2 * module.attention.heads * module.attention.head_dim
    return squared / linear
