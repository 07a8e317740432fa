"""F0 and source from CUDA graphs: numbers of stretches and of their frames in buckets.

F0 is computed in float64, by the library, which takes sequences one by one: so stretches lie in one sequence, and
between them a row that is zero before each convolution, as a turn's end is.

What a turn's harmonics have turned by, after a stretch, stays outside: its sum is over as many frames as are final.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from antiphon.engine.graphs import BucketedForward
from antiphon.engine.speak.continuous_source import SourceState, after_stretch, packed_source
from antiphon.engine.speak.frame_bucket import FrameBucket
from antiphon.engine.speak.source import HarmonicSource
from antiphon.engine.speak.vocoder_blocks import F0Predictor
from antiphon.engine.speak.vocoder_passes import SourceWindow


@dataclass(frozen=True)
class SourceInputs:
    """One bucket's inputs, on the device: S stretches of F frames, and the R rows that their F0 is made of."""

    mel: torch.Tensor  # f32[R, mel_bins]
    whole: torch.Tensor  # i32[2]: 0 and R, one sequence
    gaps: torch.Tensor  # bool[R, 1]: rows of nobody
    made: torch.Tensor  # i64[F]: where among the rows each frame's F0 is
    cu_seqlens: torch.Tensor  # i32[S + 1], in frames
    turns: torch.Tensor  # f64[S, harmonics + 1]
    offsets: torch.Tensor  # f64[S, harmonics + 1]
    seeds: torch.Tensor  # i64[S]
    frames: torch.Tensor  # i64[S]: where in its turn each stretch begins


class BucketedSource:
    """Runs F0 and source in buckets. Owns their buffers, and on CUDA their graphs; the weights must stay."""

    def __init__(self, f0_predictor: F0Predictor, module: HarmonicSource, reach: int) -> None:
        """`f0_predictor`: in float64. `reach`: frames that it looks at on each side."""
        self._f0_predictor = f0_predictor
        self._module = module
        self._reach = reach
        self._run = BucketedForward(self.allocate, self.forward, f0_predictor.classifier.weight.device)

    def sources(self, windows: Sequence[SourceWindow]) -> list[tuple[torch.Tensor, SourceState]]:
        """As `VocoderPasses.sources`."""
        lengths = [len(window.made) for window in windows]
        bucket = FrameBucket.of(lengths)
        f0, source = self._run(bucket, lambda inputs: self._fill(inputs, bucket, windows))
        f0s = torch.split(f0[: sum(lengths)].clone(), lengths)
        hop = self._module.config.hop
        made = torch.split(source[: sum(lengths) * hop].clone(), [length * hop for length in lengths])
        return [
            (rows, after_stretch(self._module, window.stretch(own)))
            for rows, own, window in zip(made, f0s, windows, strict=True)
        ]

    def allocate(self, bucket: FrameBucket) -> SourceInputs:
        """Buffers of stretches of nobody."""
        config, device = self._module.config, self._f0_predictor.classifier.weight.device
        rows = bucket.frames + (2 * self._reach + 1) * bucket.stretches
        shape = bucket.stretches, config.harmonics + 1
        return SourceInputs(
            mel=torch.zeros(rows, config.mel_bins, device=device),
            whole=torch.tensor([0, rows], dtype=torch.int32, device=device),
            gaps=torch.ones(rows, 1, dtype=torch.bool, device=device),
            made=torch.zeros(bucket.frames, dtype=torch.int64, device=device),
            cu_seqlens=_starts(bucket, []).to(device),
            turns=torch.zeros(shape, dtype=torch.float64, device=device),
            offsets=torch.zeros(shape, dtype=torch.float64, device=device),
            seeds=torch.zeros(bucket.stretches, dtype=torch.int64, device=device),
            frames=torch.zeros(bucket.stretches, dtype=torch.int64, device=device),
        )

    def forward(self, inputs: SourceInputs) -> tuple[torch.Tensor, torch.Tensor]:
        """(f32[F] Hz, f32[F · hop]): F0 and source of all stretches. Reads nothing from the device."""
        f0 = self._f0_predictor(inputs.mel.double(), inputs.whole, inputs.gaps).float().index_select(0, inputs.made)
        source = packed_source(
            self._module, f0, inputs.turns, inputs.offsets, inputs.seeds, inputs.frames, inputs.cu_seqlens
        )
        return f0, source

    def _fill(self, inputs: SourceInputs, bucket: FrameBucket, windows: Sequence[SourceWindow]) -> None:
        """Write the windows into the first rows, a gap behind each. In the others stays what stood there."""
        gaps = np.ones((len(inputs.mel), 1), bool)
        made = np.zeros(bucket.frames, np.int64)
        mel, row, frame = [], 0, 0
        for window in windows:
            mel += [window.mel, window.mel[:1]]
            gaps[row : row + len(window.mel)] = False
            made[frame : frame + len(window.made)] = np.arange(row + window.made.first, row + window.made.end)
            row, frame = row + len(window.mel) + 1, frame + len(window.made)
        torch.cat(mel, out=inputs.mel[:row])
        inputs.gaps.copy_(torch.from_numpy(gaps))
        inputs.made.copy_(torch.from_numpy(made))
        inputs.cu_seqlens.copy_(_starts(bucket, [len(window.made) for window in windows]))
        states = [window.state for window in windows]
        torch.stack([state.turns for state in states], out=inputs.turns[: len(states)])
        torch.stack([state.offsets for state in states], out=inputs.offsets[: len(states)])
        inputs.seeds[: len(states)].copy_(torch.tensor([state.seed for state in states]))
        inputs.frames[: len(states)].copy_(torch.tensor([state.frames for state in states]))


def _starts(bucket: FrameBucket, lengths: Sequence[int]) -> torch.Tensor:
    """i32[S + 1] in the host's memory: where each stretch begins, then the bucket's frames."""
    starts = np.zeros(bucket.stretches + 1, np.int32)
    starts[1:] = np.cumsum(bucket.filled(lengths))
    return torch.from_numpy(starts)
