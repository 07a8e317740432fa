"""Pictures of a load benchmark's rows. matplotlib is optional: without it the CSV alone is written."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving import STAGES

Rows = Sequence[dict[str, Any]]


def drawn(draw: Callable[[Any, Rows], None], rows: Rows, path: Path) -> str:
    """Draw `rows` into a PNG; a sentence about it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return 'no picture: matplotlib is not installed (pip install -e ".[bench]")'
    figure = Figure(figsize=(11, 7), layout="constrained")
    draw(figure, rows)
    figure.savefig(path, dpi=110)
    return f"drew {path}"


def load(figure: Any, rows: Rows) -> None:
    """Against the callers that speak: first audio, underruns, barge-in, CPU, and what the engine's time went to."""
    rows = sorted(rows, key=lambda row: row["speaking_mean"])
    speaking = [row["speaking_mean"] for row in rows]
    panels = figure.subplot_mosaic([["first audio", "underruns", "barge-in"], ["cpu", "stages", "stages"]])
    _lines(
        panels["first audio"], speaking, rows, {f"first_audio_p{p}_s": f"p{p}" for p in (50, 95, 99)}, "first audio, s"
    )
    _lines(panels["underruns"], speaking, rows, {"underruns_per_minute": "all answers"}, "underruns a minute of speech")
    _lines(
        panels["barge-in"], speaking, rows, {"barge_in_p50_s": "p50", "barge_in_p95_s": "p95"}, "barge-in reaction, s"
    )
    _lines(panels["cpu"], speaking, rows, {"cpu_s_per_speech_s": "server"}, "CPU s a second of speech")
    stages = {f"utilisation_{stage}": stage for stage in STAGES}
    _lines(panels["stages"], speaking, rows, stages, "part of the engine's time, by stage")
    for panel in panels.values():
        panel.set_xlabel("speaking callers, on average")
    first = rows[0]
    figure.suptitle(f"{first['model']}, {first['streaming']}, {first['device']}, {_size(first)}")


def official(figure: Any, rows: Rows) -> None:
    """Against the callers that come at once, each system a line: throughput, first audio, CPU."""
    panels = figure.subplots(1, 3)
    columns = {
        "speech_s_per_s_p50": "seconds of speech a second",
        "first_audio_p50_s": "first audio, s (median)",
        "cpu_s_per_speech_s_p50": "CPU s a second of speech",
    }
    for panel, (column, title) in zip(panels, columns.items(), strict=True):
        for system in dict.fromkeys(row["system"] for row in rows):
            own = [row for row in rows if row["system"] == system]
            panel.plot([row["callers"] for row in own], [row[column] for row in own], "o-", label=system)
        panel.set(xscale="log", yscale="log", title=title, xlabel="callers at once")
        panel.set_xticks(counts := sorted({row["callers"] for row in rows}), [str(count) for count in counts])
        panel.grid(alpha=0.3)
        panel.legend()
    figure.suptitle(f"{rows[0]['model']}, {rows[0]['device']}, {_size(rows[0])}")


def _size(row: dict[str, Any]) -> str:
    return f"{row['engines']} engine(s) of {row['threads']} thread(s)"


def _lines(panel: Any, x: Sequence[float], rows: Rows, columns: dict[str, str], title: str) -> None:
    for column, label in columns.items():
        points = [(at, row[column]) for at, row in zip(x, rows, strict=True) if row[column] != ""]
        panel.plot([at for at, _ in points], [value for _, value in points], "o-", label=label)
    panel.set_title(title)
    panel.set_ylim(bottom=0)
    panel.grid(alpha=0.3)
    panel.legend()
