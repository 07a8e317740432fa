"""Euler steps of the flow from CUDA graphs: numbers of solves, of their rows and of the longest one's in buckets.

What is over in a bucket belongs to solves of nobody. Of these there is at least one; they share the surplus rows, so
that none is longer than the bucket's longest. At the lower rates the pack's rows depend on how many lengths are odd:
there a bucket has room for all of them, and what is left belongs to the last solve of nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import torch

from antiphon.engine.graphs import BucketedForward, bucket_of
from antiphon.engine.speak.flow import Flow, FlowSolve, StepInputs, check_under_way, stepped
from antiphon.engine.speak.packing import Rate

_LEAST_ROWS: Final = 64  # a tile's, so that short solves share their buckets


@dataclass(frozen=True)
class Bucket:
    """How much one step takes, of a flow that looks at its rows at `n_rates` rates."""

    solves: int  # an even number, those of nobody included
    rows: int  # of all solves
    longest: int  # rows of a solve, at most
    n_rates: int

    @classmethod
    def of(cls, lengths: Sequence[int], n_rates: int) -> "Bucket":
        """The least that holds solves of these lengths, at least one, and the surplus."""
        total, pairs = sum(lengths), bucket_of(len(lengths) // 2 + 1)
        while True:
            bucket = cls(2 * pairs, 0, 0, n_rates)
            longest = bucket_of(max(*lengths, 2 * bucket.kept_free, _LEAST_ROWS))
            spare = bucket.solves - len(lengths)
            rows = bucket_of(max(total + spare, _LEAST_ROWS))
            if rows - total <= spare * (longest - bucket.kept_free):
                return cls(bucket.solves, rows, longest, n_rates)
            pairs = bucket_of(pairs + 1)

    @property
    def kept_free(self) -> int:
        """Rows by which a solve of nobody is shorter than the longest: room for what is left at the lower rates."""
        return ((1 << self.n_rates) - 2) * (self.solves + 2)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(rows of the guidance pairs, rows of a sequence at most), at each rate."""
        sizes = [(2 * self.rows, self.longest)]
        while len(sizes) < self.n_rates:
            rows, longest = sizes[-1]
            sizes.append(((rows + 2 * self.solves) // 2, longest // 2))
        return sizes

    def filled(self, lengths: Sequence[int]) -> list[int]:
        """`lengths` and those of the solves of nobody: as many as the bucket's solves, as long as its rows."""
        spare = self.solves - len(lengths)
        each, over = divmod(self.rows - sum(lengths), spare)
        return [*lengths, *(each + (place < over) for place in range(spare))]

    def offsets(self, lengths: Sequence[int]) -> tuple[list[int], list[list[int]]]:
        """Where each solve begins, and each sequence of the guidance pairs at each rate; then the row counts."""
        filled = self.filled(lengths)
        of_rate = [length for length in filled for _ in range(2)]
        rates = []
        for rows, _ in self.sizes:
            starts = [0, *accumulate(of_rate)]
            of_rate[-1] += rows - starts[-1]
            rates.append([*starts[:-1], rows])
            of_rate = [(length + 1) // 2 for length in of_rate]
        return [0, *accumulate(filled)], rates


class BucketedFlow:
    """Runs a flow's Euler steps in buckets. Owns their buffers, and on CUDA their graphs; the weights must stay."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._run = BucketedForward(self.allocate, flow.euler_step, flow.device)

    def step(self, solves: Sequence[FlowSolve]) -> list[FlowSolve]:
        """As `Flow.step`."""
        if not solves:
            return []
        check_under_way(solves)
        lengths = [len(solve.x) for solve in solves]
        bucket = Bucket.of(lengths, self._flow.estimator.n_rates)
        x = self._run(bucket, lambda inputs: self._fill(inputs, bucket, solves, lengths))
        return stepped(solves, x[: sum(lengths)].clone())

    def allocate(self, bucket: Bucket) -> StepInputs:
        """Buffers of solves of nobody."""
        flow, device = self._flow, self._flow.device
        added, shifts = flow.estimator.added_width, flow.estimator.shift_width
        dtype = flow.encoder_proj.weight.dtype
        starts, of_rates = bucket.offsets([])
        return StepInputs(
            x=torch.zeros(bucket.rows, flow.config.mel_bins, device=device),
            pairs=torch.zeros(2 * bucket.rows, flow.config.mel_bins, dtype=dtype, device=device),
            added=torch.zeros(2 * bucket.rows, added, dtype=dtype, device=device),
            shifts=torch.zeros(2 * bucket.solves, shifts, dtype=dtype, device=device),
            dt=torch.zeros(bucket.solves, device=device),
            cu_seqlens=torch.tensor(starts, dtype=torch.int32, device=device),
            rates=tuple(
                Rate(torch.tensor(offsets, dtype=torch.int32, device=device), rows, longest)
                for offsets, (rows, longest) in zip(of_rates, bucket.sizes, strict=True)
            ),
        )

    def _fill(self, inputs: StepInputs, bucket: Bucket, solves: Sequence[FlowSolve], lengths: Sequence[int]) -> None:
        """Write the solves into the first rows. In the others stays what stood there, for nobody."""
        rows = sum(lengths)
        torch.cat([solve.x for solve in solves], out=inputs.x[:rows])
        torch.cat([x for solve in solves for x in (solve.x, solve.x)], out=inputs.pairs[: 2 * rows])
        torch.cat([solve.added for solve in solves], out=inputs.added[: 2 * rows])
        shifts = [solve.shifts[solve.step] for solve in solves for _ in range(2)]
        torch.stack(shifts, out=inputs.shifts[: len(shifts)])
        inputs.dt[: len(solves)].copy_(torch.tensor([self._flow.step_sizes[solve.step] for solve in solves]))
        starts, of_rates = bucket.offsets(lengths)
        inputs.cu_seqlens.copy_(torch.tensor(starts))
        for rate, offsets in zip(inputs.rates, of_rates, strict=True):
            rate.cu_seqlens.copy_(torch.tensor(offsets))
