"""One rate of a load benchmark: calls that arrive at random, and what became of them."""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

import antiphon
from benchmarks.load_caller import CallRecord, Habits, HeardAnswer, LoadCaller
from benchmarks.serving import TOLD_EVERY, Served

_STREAMS: Final = 50  # calls on one connection
_WARM_UP: Final = 0.25  # of the arrivals' time, before which speaking callers are not counted: the first have just come
_TOLD_EVERY: Final = 0.5  # seconds


@dataclass(frozen=True)
class Outcome:
    """What became of all calls at one rate."""

    rate: float  # calls a minute
    calls: tuple[CallRecord, ...]
    wall: float  # s from the first arrival until the last call was over
    cpu: float  # s of the server
    arrivals: tuple[float, float]  # by the loop's clock: between them the rate is steady
    utilisation: Mapping[str, float]  # by stage, of the engine's time between them

    @property
    def answers(self) -> list[HeardAnswer]:
        """That were heard, or cut while they were."""
        return [answer for call in self.calls for answer in call.answers]

    @property
    def heard(self) -> float:
        """Seconds of all answers that were played."""
        return sum(answer.heard for answer in self.answers)

    @property
    def underruns(self) -> int:
        """Of all answers."""
        return sum(answer.underruns for answer in self.answers)

    @property
    def is_carried(self) -> bool:
        """No underrun at the 99th percentile of the answers, and no call that failed but by a refusal."""
        dry = [answer.underruns for answer in self.answers]
        failed = [call for call in self.calls if call.failure and call.refused is None]
        return bool(dry) and not failed and float(np.percentile(dry, 99)) == 0.0

    @property
    def speaking_mean(self) -> float:
        """Callers whose answer was being played, on average over the steady time."""
        begun, ended = self.arrivals
        shares = [
            max(0.0, min(ended, one.began + one.late + one.heard) - max(begun, one.began)) for one in self.answers
        ]
        return sum(shares) / (ended - begun)

    @property
    def speaking_most(self) -> int:
        """The most of them at once."""
        begins = [(one.began, 1) for one in self.answers if one.heard]
        ends = [(one.began + one.late + one.heard, -1) for one in self.answers if one.heard]
        return int(max(np.cumsum([step for _, step in sorted(begins + ends)]), default=0))

    def row(self) -> dict[str, object]:
        """Figures for the CSV, in its order."""
        answers = self.answers
        reactions = [one.reaction for one in answers if one.reaction is not None]
        without = [call for call in self.calls if call.answers and not any(one.underruns for one in call.answers)]
        answered = [call for call in self.calls if call.answers]
        refusals = [call.refused for call in self.calls if call.refused is not None]
        return {
            "calls_per_minute": self.rate,
            "calls": len(self.calls),
            "refused": len(refusals),
            "refused_after_p99_s": _percentile(refusals, 99),
            "failed": sum(bool(call.failure) for call in self.calls) - len(refusals),
            "answers": len(answers),
            "answer_p50_s": _percentile([one.heard for one in answers], 50),
            **_percentiles("first_audio", [one.first_audio for one in answers if one.first_audio is not None]),
            **_percentiles("turn_detection", [one.detection for one in answers if one.detection is not None]),
            **_percentiles("barge_in", reactions),
            "barge_ins": len(reactions),
            "underruns": self.underruns,
            "underruns_per_minute": round(self.underruns / (self.heard / 60), 3) if self.heard else "",
            "calls_without_share": round(len(without) / len(answered), 4) if answered else "",
            "late_p99_s": _percentile([one.late for one in answers], 99),
            "speaking_mean": round(self.speaking_mean, 2),
            "speaking_most": self.speaking_most,
            "tokens_per_s": round(sum(one.tokens for one in answers) / self.wall, 2),
            "cpu_s_per_speech_s": round(self.cpu / self.heard, 4) if self.heard else "",
            "cpus_used": round(self.cpu / self.wall, 3),
            **{f"utilisation_{stage}": round(share, 4) for stage, share in self.utilisation.items()},
            "carried": self.is_carried,
        }

    def __str__(self) -> str:
        row = self.row()
        return (
            f"{self.rate:6g} calls a minute: {row['calls']} calls, {row['refused']} refused, {row['failed']} failed; "
            f"{row['answers']} answers; {row['speaking_mean']} speaking ({row['speaking_most']} at most); first audio "
            f"{row['first_audio_p50_s']} / {row['first_audio_p95_s']} / {row['first_audio_p99_s']} s; "
            f"{row['underruns']} underruns ({row['underruns_per_minute']} a minute); "
            f"barge-in {row['barge_in_p50_s']} s; {row['cpu_s_per_speech_s']} CPU s a second of speech; of the time "
            + ", ".join(f"{stage} {share:.0%}" for stage, share in self.utilisation.items())
        )


async def run(
    server: Served, questions: Sequence[bytes], habits: Habits, rate: float, seconds: float, seed: int
) -> Outcome:
    """Callers arrive for `seconds` at `rate` a minute; then the last ones finish. `questions` in 8 kHz µ-law.

    `server` was started with TELL_UTILISATION.
    """
    random = np.random.default_rng((seed, round(rate * 1000)))
    clock = asyncio.get_running_loop().time
    gaps = random.exponential(60.0 / rate, size=max(8, 4 * int(rate * seconds / 60)))
    arrivals = [at for at in np.cumsum(gaps).tolist() if at < seconds] or [0.0]
    callers: list[LoadCaller] = []
    clients: list[antiphon.Client] = []
    tasks: list[asyncio.Task[CallRecord]] = []
    begun, cpu = clock(), server.cpu_seconds()
    telling = asyncio.create_task(_tell(callers, tasks, rate, begun, seconds))
    try:
        for number, at in enumerate(arrivals):
            if number % _STREAMS == 0:
                clients.append(await antiphon.Client(server.target).__aenter__())
            await asyncio.sleep(begun + at - clock())
            callers.append(LoadCaller(questions, habits, np.random.default_rng((seed, number))))
            tasks.append(asyncio.create_task(callers[-1].call(clients[-1])))
        await asyncio.wait(tasks)
        wall, cpu = clock() - begun, server.cpu_seconds() - cpu
        await asyncio.sleep(2 * TOLD_EVERY)  # the last of it is told
    finally:
        telling.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, telling, return_exceptions=True)
        for client in clients:
            await client.__aexit__(None, None, None)
    steady = (begun + _WARM_UP * seconds, begun + seconds)
    epoch = time.time() - clock()  # the log's lines carry the time of day
    utilisation = server.utilisation(steady[0] + epoch, steady[1] + epoch)
    return Outcome(rate, tuple(task.result() for task in tasks), wall, cpu, steady, utilisation)


async def _tell(
    callers: Sequence[LoadCaller],
    tasks: Sequence["asyncio.Task[CallRecord]"],
    rate: float,
    begun: float,
    seconds: float,
) -> None:
    """A line that is written over as the run goes on, where somebody looks."""
    clock = asyncio.get_running_loop().time
    while sys.stderr.isatty():
        past = clock() - begun
        done = min(20, int(20 * past / seconds))
        open_calls = sum(not task.done() for task in tasks)
        listening = sum(caller.is_listening for caller in callers)
        underruns = sum(answer.underruns for caller in callers for answer in caller.record.answers)
        sys.stderr.write(
            f"\r[{'#' * done}{'.' * (20 - done)}] {rate:g} a minute, {past:4.0f} of {seconds:.0f} s: "
            f"{len(tasks)} came, {open_calls} are here, {listening} listen, {underruns} underruns \x1b[K"
        )
        sys.stderr.flush()
        await asyncio.sleep(_TOLD_EVERY)


def _percentiles(name: str, values: Sequence[float]) -> dict[str, object]:
    return {f"{name}_p{share}_s": _percentile(values, share) for share in (50, 95, 99)}


def _percentile(values: Sequence[float], share: int) -> object:
    """Rounded for a row; empty where there is none."""
    return round(float(np.percentile(values, share)), 4) if values else ""
