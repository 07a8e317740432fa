"""What every benchmark shares: repeated timings, and CSV rows that carry the device and the versions."""

import csv
import importlib.metadata
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import torch

RESULTS: Final = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Spread:
    """The 20th, 50th and 80th percentile of repeated timings, in seconds."""

    p20: float
    p50: float
    p80: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Spread":
        """Of at least one timing."""
        if len(seconds) == 1:
            return cls(seconds[0], seconds[0], seconds[0])
        fifths = statistics.quantiles(seconds, n=5, method="inclusive")
        return cls(fifths[0], statistics.median(seconds), fifths[3])

    def __str__(self) -> str:
        return f"{self.p50:.3f} ({self.p20:.3f} to {self.p80:.3f})"


def environment(device: torch.device) -> dict[str, str]:
    """Where and with what a row was measured."""
    versions = {name: importlib.metadata.version(name) for name in ("antiphon", "torch", "triton", "numpy")}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **versions,
    }


def append_rows(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Append rows of one shape to a CSV file, writing its header when it is new.

    Raises ValueError when the file has other columns: a result is never written under a wrong heading.
    """
    columns = list(rows[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    if not new:
        with path.open(newline="") as file:
            held = next(csv.reader(file))
        if held != columns:
            raise ValueError(f"{path} has the columns {held}; these rows have {columns}. Move the old file away.")
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def _processor() -> str:
    """The CPU's name."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
