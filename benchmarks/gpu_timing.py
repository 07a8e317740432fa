"""Timing on a GPU: one call at a time, replayed from a CUDA graph, with nothing of it left in the L2 cache."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from benchmarks.harness import Spread

_COPY_BYTES: Final = 1 << 30
_MATRIX: Final = 8_192  # rows and columns: 1.1 TFLOP a product
_WARM_UPS: Final = 3


@dataclass(frozen=True)
class Card:
    """What a GPU does at its best, measured: the ground that rooflines stand on."""

    bytes_per_second: float  # read and written by a copy
    bf16_flops: float  # per second

    def floor(self, bytes_moved: int, flops: int) -> float:
        """Seconds that no call of this cost can undercut on tensor cores."""
        return max(bytes_moved / self.bytes_per_second, flops / self.bf16_flops)


@dataclass(frozen=True)
class Timing:
    """Seconds of one call."""

    seconds: Spread
    replayed: bool  # from a CUDA graph; otherwise launched from Python, its overhead included


class Stopwatch:
    """Times calls on one device."""

    def __init__(self, device: torch.device, runs: int = 50) -> None:
        self._device = device
        self._runs = runs
        cache = torch.cuda.get_device_properties(device).L2_cache_size
        self._flush = torch.empty(2 * cache, dtype=torch.uint8, device=device)

    def time(self, run: Callable[[], object]) -> Timing:
        """Replayed where the call can be captured. Errors of `run` are the caller's."""
        for _ in range(_WARM_UPS):
            run()
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                run()
        except RuntimeError:  # it reads something back, which cannot be captured
            torch.cuda.synchronize(self._device)
            return Timing(self._spread(run), replayed=False)
        return Timing(self._spread(graph.replay), replayed=True)

    def measure_card(self) -> Card:
        """Copy bandwidth and the speed of a large bf16 product."""
        source = torch.empty(_COPY_BYTES, dtype=torch.uint8, device=self._device)
        target = torch.empty_like(source)
        copied = self._spread(lambda: target.copy_(source))
        a = torch.randn(_MATRIX, _MATRIX, dtype=torch.bfloat16, device=self._device)
        b = torch.randn_like(a)
        multiplied = self._spread(lambda: a @ b)
        return Card(2 * _COPY_BYTES / copied.p50, 2 * _MATRIX**3 / multiplied.p50)

    def _spread(self, run: Callable[[], object]) -> Spread:
        begun = [torch.cuda.Event(enable_timing=True) for _ in range(self._runs)]
        ended = [torch.cuda.Event(enable_timing=True) for _ in range(self._runs)]
        for begin, end in zip(begun, ended, strict=True):
            self._flush.zero_()  # takes longer than the launch below: the GPU never waits for Python
            begin.record()
            run()
            end.record()
        torch.cuda.synchronize(self._device)
        return Spread.of([begin.elapsed_time(end) / 1e3 for begin, end in zip(begun, ended, strict=True)])
