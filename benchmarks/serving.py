"""`antiphon serve` in processes of its own, to be measured from outside: its address, its CPU time, what it logs."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

CARRY_ALL: Final = ("--max-utilisation", "0")  # no call is refused: how many are carried is to be seen
TOLD_EVERY: Final = 1.0  # seconds, by TELL_UTILISATION
TELL_UTILISATION: Final = ("--utilisation-interval", str(TOLD_EVERY))  # for `Served.utilisation`
STAGES: Final = ("hear", "think", "solve", "vocode", "other")  # of the engine; other: what its loop does beside them
_TICKS: Final = os.sysconf("SC_CLK_TCK")  # of CPU time, a second


@dataclass
class Served:
    """A server that is warm."""

    process: subprocess.Popen[str]
    engines: int = 1
    port: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)  # of its log

    @property
    def target(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """CPU time of all its processes since their starts."""
        return sum(_cpu_seconds(pid) for pid in _family(self.process.pid))

    def utilisation(self, begun: float, ended: float) -> dict[str, float]:
        """By stage, the part of the time between two moments, in seconds since the epoch, that an engine was at it.

        From the log of a server that has TELL_UTILISATION, which is complete once `TOLD_EVERY` has passed since.
        """
        parts = dict.fromkeys(STAGES, 0.0)
        for line in list(self.lines):
            if line.get("event") == "engine_utilisation":
                until = datetime.fromisoformat(line["time"]).timestamp()
                within = max(0.0, min(ended, until) - max(begun, until - line["seconds"]))
                for stage in STAGES:
                    parts[stage] += line[f"{stage}_share"] * within / (ended - begun) / self.engines
        return parts

    def await_serving(self) -> None:
        """Read its log until it serves with all its engines. Raises RuntimeError when it ends before."""
        assert self.process.stderr is not None
        other: list[str] = []
        warm: set[str] = set()
        for line in self.process.stderr:
            told = _told(line)
            self.lines += [told] if told else []
            other += [] if told else [line]
            match told.get("event"):
                case "frontend_joined":
                    warm.add(told["process"])
                case "serving":
                    self.port = int(told["port"])
            if self.port and len(warm) == self.engines:
                threading.Thread(target=self._read_on, daemon=True).start()
                return
        raise RuntimeError(f"the server did not come up: {''.join(other[-5:])}")

    def _read_on(self) -> None:
        """Else the pipe fills, and the server waits."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(_told(line))


@contextmanager
def serving(
    model: Path,
    device: str,
    streaming: str,
    options: Sequence[str] = (),
    threads: int | None = None,
    engines: int = 1,
) -> Iterator[Served]:
    """A server with `model` in `engines` processes on `device`; `threads` of each process for one operation, None: what
    torch takes."""
    command = ["serve", "--model", str(model), "--device", ",".join([device] * engines), "--streaming", streaming]
    command += ["--port", "0", "--max-audio-per-minute", "0", "--max-dialogues-per-key", "0", *options]
    environment = os.environ if threads is None else {**os.environ, "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        [sys.executable, "-m", "antiphon", *command], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        server = Served(process, engines)
        server.await_serving()
        yield server
    finally:
        process.terminate()
        process.wait()


def _told(line: str) -> dict[str, Any]:
    """A line of the log; empty for what is none."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _family(pid: int) -> list[int]:
    """A process and its descendants. Linux alone."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if (fields := _stat(int(entry.name))) is not None:
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    family = [pid]
    for member in family:
        family += parents.get(member, [])
    return family


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return 0.0 if fields is None else (int(fields[11]) + int(fields[12])) / _TICKS


def _stat(pid: int) -> list[str] | None:
    """man 5 proc: the fields of stat from the state on; None: it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
