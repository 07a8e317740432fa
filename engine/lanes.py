"""Lanes of work: what one lane is given runs in order, beside what another is given.

On CUDA a lane is a stream, so that kernels of two may overlap, and work is timed by events. On the CPU work is over
when its call returns: a lane is nothing there, and work is timed by the injected clock.

Torch gives a tensor's memory to its own lane's next one as soon as it is let go. One that was made on another lane is
therefore kept until the work that reads it is over; and it is read behind a `follow`, or a wait of the host.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

import torch

from antiphon.engine.clock import Clock

_MILLISECOND: Final = 1e-3  # seconds


class Span(Protocol):
    """A piece of a lane's work, from `Lane.begin` until `end`."""

    def end(self) -> None:
        """All of it was given to the lane."""

    @property
    def is_over(self) -> bool:
        """Whether the lane has done all of it."""

    def wait(self) -> float:
        """Return once it is over: the seconds that it took."""


class Lane(Protocol):
    """Where forwards run."""

    def entered(self) -> AbstractContextManager[object]:
        """While entered, the thread's work goes to this lane."""

    def follow(self, other: "Lane") -> None:
        """What this lane is given from now on goes behind all that `other`, of the same device, was given so far."""

    def begin(self) -> Span:
        """A piece of work begins behind all that the lane was given."""


def new_lane(device: torch.device, clock: Clock) -> Lane:
    """A lane of a device. What the device was given before goes first."""
    return _CudaLane(device) if device.type == "cuda" else _HostLane(clock)


class _HostSpan:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun = clock.now()
        self._seconds = 0.0

    def end(self) -> None:
        self._seconds = self._clock.now() - self._begun

    @property
    def is_over(self) -> bool:
        return True

    def wait(self) -> float:
        return self._seconds


class _HostLane:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def entered(self) -> AbstractContextManager[object]:
        return nullcontext()

    def follow(self, other: Lane) -> None:
        pass

    def begin(self) -> Span:
        return _HostSpan(self._clock)


class _CudaSpan:
    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream = stream
        self._begun = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self._ended = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self._begun.record(stream)

    def end(self) -> None:
        self._ended.record(self._stream)

    @property
    def is_over(self) -> bool:
        is_over: bool = self._ended.query()  # type: ignore[no-untyped-call]
        return is_over

    def wait(self) -> float:
        self._ended.synchronize()
        milliseconds: float = self._begun.elapsed_time(self._ended)
        return _MILLISECOND * milliseconds


class _CudaLane:
    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream(device))  # weights may still be on their way

    def entered(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._stream)

    def follow(self, other: Lane) -> None:
        assert isinstance(other, _CudaLane), "lanes of one device are of one kind"
        self._stream.wait_stream(other._stream)

    def begin(self) -> Span:
        return _CudaSpan(self._stream)
