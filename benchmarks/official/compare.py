"""The table of both engines: callers that come at once, throughput, first audio and CPU cost."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from benchmarks.harness import Spread
from benchmarks.official.beside import AS_MADE, OURS, Batch, System, commit_of, official, ours, read_question
from benchmarks.serving import CARRY_ALL, serving


def measure(options: argparse.Namespace, paths: Sequence[Path], where: dict[str, object]) -> list[dict[str, object]]:
    """Rows for each count of callers: the official pipeline's and ours beside it, `options.runs` of each in turn."""
    tokens: int = options.max_output_tokens
    questions = [read_question(path) for path in paths]
    rows: list[dict[str, object]] = []
    with ExitStack() as stack, asyncio.Runner() as runner:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="antiphon-")))
        files = [folder / f"{number}.npy" for number in range(len(questions))]
        for file, question in zip(files, questions, strict=True):
            np.save(file, question)
        servers = {
            system: stack.enter_context(
                serving(
                    options.model,
                    options.device,
                    streaming,
                    [*AS_MADE, *CARRY_ALL, *options.serve],
                    options.threads,
                    options.engines,
                )
            )
            for system, streaming in OURS.items()
        }
        threads = options.official_threads or options.threads * options.engines
        pipeline = stack.enter_context(
            official(options.python, options.against_official, options.model, options.device, threads, tokens)
        )

        def answered(system: System, callers: int) -> Batch:
            if system == "official":
                return pipeline.answer(list(islice(cycle(files), callers)))
            asked = list(islice(cycle(questions), callers))
            return runner.run(ours(servers[system], asked, tokens))

        versions = _named(pipeline.versions)
        about = {"official_commit": commit_of(options.against_official), "official_threads": threads, **versions}
        systems: list[System] = ["official", *OURS]
        for system in systems:
            answered(system, options.engines)  # not counted
        for callers in options.callers:
            batches: dict[System, list[Batch]] = {system: [] for system in systems}
            for run in range(options.runs):
                for system in systems:
                    _tell(f"{callers} callers, run {run + 1} of {options.runs}: {system}")
                    batches[system].append(answered(system, callers))
            _tell("")
            for system in systems:
                rows.append({**where, **about, **_row(callers, system, batches)})
                print(_sentence(rows[-1]), flush=True)
    return rows


def _row(callers: int, system: System, batches: dict[System, list[Batch]]) -> dict[str, object]:
    mine, theirs = batches[system], batches["official"]
    throughput = Spread.of([batch.throughput for batch in mine])
    first, last = _first_audio(mine)
    cost = Spread.of([batch.cost for batch in mine])
    their_first, their_last = _first_audio(theirs)
    pairs = [
        pair for one, other in zip(mine, theirs, strict=True) for pair in zip(one.answers, other.answers, strict=True)
    ]
    return {
        "callers": callers,
        "system": system,
        "runs": len(mine),
        "answers_s": round(mine[0].audio_seconds, 2),
        "same_codes": round(sum(one.codes == other.codes for one, other in pairs) / len(pairs), 4),
        "same_ids": round(sum(one.ids == other.ids for one, other in pairs) / len(pairs), 4),
        **{f"speech_s_per_s_{name}": round(getattr(throughput, name), 4) for name in ("p20", "p50", "p80")},
        "first_audio_p50_s": round(first, 4),
        "first_audio_p95_s": round(last, 4),
        **{f"cpu_s_per_speech_s_{name}": round(getattr(cost, name), 4) for name in ("p20", "p50", "p80")},
        "throughput_over_official": round(throughput.p50 / Spread.of([b.throughput for b in theirs]).p50, 2),
        "first_audio_p50_over_official": round(first / their_first, 4),
        "first_audio_p95_over_official": round(last / their_last, 4),
        "cost_over_official": round(cost.p50 / Spread.of([b.cost for b in theirs]).p50, 4),
    }


def _first_audio(batches: Sequence[Batch]) -> tuple[float, float]:
    """Median and 95th percentile over all callers of all runs, s."""
    firsts = [one.first_audio for batch in batches for one in batch.answers if one.first_audio is not None]
    return float(np.percentile(firsts, 50)), float(np.percentile(firsts, 95))


def _sentence(row: dict[str, object]) -> str:
    return (
        f"{row['callers']:>3} callers, {row['system']:>9}: {row['speech_s_per_s_p50']:>8} s of speech a second "
        f"({row['throughput_over_official']}x), first audio {row['first_audio_p50_s']} / {row['first_audio_p95_s']} s "
        f"({row['first_audio_p50_over_official']}x), {row['cpu_s_per_speech_s_p50']} CPU s a second of speech "
        f"({row['cost_over_official']}x); the same ids {row['same_ids']}"
    )


def _named(versions: dict[str, str]) -> dict[str, object]:
    return {f"official_{name}": version for name, version in versions.items()}


def _tell(line: str) -> None:
    """Written over, where somebody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()
