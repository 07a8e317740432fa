"""What a process takes of its machine."""

from collections.abc import Iterator, Sequence

import pytest
import torch

from antiphon.engine.device import share_cores


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("device", "devices", "threads"),
    [
        ("cpu", ["cpu"], 4),
        ("cpu", ["cpu", "cpu"], 2),
        ("cpu", ["cpu", "cuda:7", "cpu"], 2),
        ("cuda:7", ["cpu", "cuda:7", "cpu"], 4),
        ("cpu", 5 * ["cpu"], 1),
    ],
)
def test_engines_on_the_cpu_share_its_threads(device: str, devices: Sequence[str], threads: int) -> None:
    share_cores(device, devices)
    assert torch.get_num_threads() == threads


def test_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    share_cores("cpu", ["cpu", "cpu"])
    assert torch.get_num_threads() == 4
