"""Forwards of few shapes, on memory that stays where it is: what a CUDA graph can be captured from and replayed on.

    rows of any number ─fill─▶ a bucket's buffers ─forward─▶ its output ─▶ those rows of it

Where kernels are short a forward takes as long as launching them one by one. A graph launches all of them at once, but
always the same ones on the same memory: so numbers of rows are rounded up to a bucket's, what is over belongs to
nobody, and the forward reads nothing back. On the CPU the same forward runs in the same buffers, without a graph.

The tests prove the buckets, and that the forwards read nothing back. Capture and replay themselves have not run on a
card yet.
"""

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar

import torch

from antiphon.engine.errors import InputError

Key = TypeVar("Key", bound=Hashable)
Buffers = TypeVar("Buffers")
Output = TypeVar("Output")  # tensors

VARIABLE: Final = "ANTIPHON_GRAPHS"  # "on": buckets, and on CUDA graphs of them
_WARM_UPS: Final = 2  # before a capture: kernels are compiled, and libraries take their workspaces
_log = logging.getLogger(__name__)


def runs_in_buckets() -> bool:
    """Whether forwards are to run in buckets, and on CUDA from graphs: where the environment asks for it.

    Off by default until a card has shown that replaying gives what the eager forward gives. Raises InputError where the
    environment says neither "on" nor "off".
    """
    value = os.environ.get(VARIABLE) or None
    if value not in (None, "on", "off"):
        raise InputError(f"{VARIABLE} is {value!r}; expected 'on' or 'off', or leave it out.")
    return value == "on"


def bucket_of(count: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, 24, … that holds `count`, at least 1: at most a third of it is surplus."""
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


class BucketedForward(Generic[Key, Buffers, Output]):
    """One forward in the buffers of its buckets; on CUDA from a graph of each. Not for several threads at once.

    Buckets share their graphs' memory: an output stands until the next call, of any bucket.
    """

    def __init__(
        self,
        allocate: Callable[[Key], Buffers],  # a bucket's buffers, of surplus alone: the forward must run on them
        forward: Callable[[Buffers], Output],  # reads nothing from the device
        device: torch.device,
        most: int = 64,  # buckets kept: those used last
    ) -> None:
        self._allocate = allocate
        self._forward = forward
        self._device = device
        self._most = most
        self._buckets: OrderedDict[Key, _Bucket[Buffers, Output]] = OrderedDict()
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def __call__(self, key: Key, fill: Callable[[Buffers], None]) -> Output:
        """The forward's output once `fill` has written the inputs. What `fill` leaves out stays as it was."""
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = _Bucket(self._allocate(key), self._forward)
            if self._device.type == "cuda":
                bucket.capture(self._device, self._pool)
        self._buckets[key] = bucket
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        fill(bucket.buffers)
        return bucket.run()


class _Bucket(Generic[Buffers, Output]):
    """Buffers, and the graph that was captured on them, if one was."""

    def __init__(self, buffers: Buffers, forward: Callable[[Buffers], Output]) -> None:
        self.buffers = buffers
        self._forward = forward
        self._captured: tuple[torch.cuda.CUDAGraph, Output] | None = None

    def run(self) -> Output:
        if self._captured is None:
            return self._forward(self.buffers)
        graph, output = self._captured
        graph.replay()
        return output

    def capture(self, device: torch.device, pool: Any) -> None:
        """Capture the forward; where that fails it stays as it is, launched kernel by kernel, and the log says why."""
        current = torch.cuda.current_stream(device)
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._forward(self.buffers)
        current.wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                output = self._forward(self.buffers)
        except RuntimeError:
            torch.cuda.set_stream(current)  # a capture that fails as it ends leaves its own behind
            torch.cuda.synchronize(device)
            _log.warning("a forward could not be captured as a CUDA graph; it goes on without", exc_info=True)
        else:
            self._captured = graph, output
