"""Forwards in buckets, and the order of a capture on a device that is not there."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from antiphon.engine import graphs
from antiphon.engine.errors import InputError
from antiphon.engine.graphs import BucketedForward, runs_in_buckets

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class _Twice:
    """Doubles what stands in its buffers."""

    def __init__(self, device: torch.device, most: int = 64) -> None:
        self.allocated: list[int] = []
        self.forwards = 0
        self.run = BucketedForward(self._allocate, self._forward, device, most)

    def __call__(self, values: list[float]) -> list[float]:
        size = graphs.bucket_of(len(values))
        doubled = self.run(size, lambda buffer: buffer[: len(values)].copy_(torch.tensor(values)))
        return doubled[: len(values)].tolist()

    def _allocate(self, size: int) -> torch.Tensor:
        self.allocated.append(size)
        return torch.zeros(size)

    def _forward(self, buffer: torch.Tensor) -> torch.Tensor:
        self.forwards += 1
        return 2 * buffer


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A CUDA of which nothing is there but the order of calls: a capture fails while `fails` is set."""
    card = SimpleNamespace(fails=False, replays=0)

    class _Graph:
        def replay(self) -> None:
            card.replays += 1

    @contextmanager
    def captured(graph: _Graph, pool: object, capture_error_mode: str) -> Iterator[None]:
        yield
        if card.fails:
            raise RuntimeError("operation not permitted when stream is capturing")

    stream = SimpleNamespace(wait_stream=lambda other: None)
    replacements: dict[str, Any] = {
        "Stream": lambda device: stream,
        "current_stream": lambda device: stream,
        "stream": lambda given: nullcontext(),
        "CUDAGraph": _Graph,
        "graph": captured,
        "graph_pool_handle": lambda: (0, 1),
        "set_stream": lambda given: None,
        "synchronize": lambda device: None,
    }
    for name, replacement in replacements.items():
        monkeypatch.setattr(torch.cuda, name, replacement)
    return card


def test_rows_of_one_bucket_share_its_buffers_and_the_longest_unused_go() -> None:
    twice = _Twice(CPU, most=2)
    assert twice([1.0, 2.0, 3.0, 4.0, 5.0]) == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert twice([7.0] * 6) == [14.0] * 6
    assert twice([1.0]) == [2.0] and twice.allocated == [6, 1]
    assert twice([1.0, 1.0]) == [2.0, 2.0]  # the bucket of six is the one used longest ago
    assert twice([1.0]) == [2.0] and twice([3.0] * 5) == [6.0] * 5
    assert twice.allocated == [6, 1, 2, 6]


def test_a_graph_is_captured_once_a_bucket_and_replayed(card: SimpleNamespace) -> None:
    twice = _Twice(CUDA)
    twice([1.0])
    run = twice.forwards
    assert run > 1 and card.replays == 1  # warmed up before it was captured
    twice([2.0])
    assert twice.forwards == run and card.replays == 2


def test_what_cannot_be_captured_runs_without(card: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    card.fails = True
    twice = _Twice(CUDA)
    assert twice([1.0, 2.0]) == [2.0, 4.0] and twice([3.0, 4.0]) == [6.0, 8.0]
    assert card.replays == 0 and len(caplog.records) == 1 and "could not be captured" in caplog.text


def test_the_environment_may_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(graphs.VARIABLE, raising=False)
    assert not runs_in_buckets()
    monkeypatch.setenv(graphs.VARIABLE, "off")
    assert not runs_in_buckets()
    monkeypatch.setenv(graphs.VARIABLE, "on")
    assert runs_in_buckets()
    monkeypatch.setenv(graphs.VARIABLE, "1")
    with pytest.raises(InputError, match="ANTIPHON_GRAPHS is '1'; expected 'on' or 'off'"):
        runs_in_buckets()
