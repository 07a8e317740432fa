"""The official pipeline and ours, in turn, on the same weights and the same questions.

Two rows stand beside each of the official pipeline's: *same work*, our engine on the official schedule (`--streaming
reference`), and *seamless*. N callers come at once, each with a whole recorded question; the official pipeline answers
one after the other, as its demo does. Both choose the most probable ids, so they say the same. Ours is reached over
loopback gRPC and its CPU time is that of all processes of the server; the official one is a function call away.
"""

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

import antiphon
from antiphon.client import AudioOutput, CallConfig, ResponseCompleted, Sampling, linear16
from antiphon.engine.hear.codec import float_to_pcm16, pcm16_to_float, read_audio
from antiphon.engine.hear.resample import resample
from antiphon.engine.think.prompt import SPEECH_SYSTEM_PROMPT, prompt_prefix, speech_turn
from antiphon.engine.think.vocab import Vocabulary
from antiphon.engine.units import MODEL_INPUT_RATE, OUTPUT_RATE
from antiphon.engine.weights.folders import LANGUAGE_MODEL_FOLDER
from antiphon.engine.weights.read_configs import read_language_model_config
from benchmarks.serving import Served

_DRIVER: Final = Path(__file__).parent / "driver.py"
AS_MADE: Final = ("--max-output-lead", "600")  # audio is sent as it is made, not as it is played
System = Literal["official", "same work", "seamless"]
OURS: Final[Mapping[System, str]] = {"same work": "reference", "seamless": "seamless"}


@dataclass(frozen=True)
class Answered:
    """One caller's answer. Times are from the moment at which all callers came."""

    first_audio: float | None  # s; None: nothing was spoken
    audio_seconds: float
    codes: tuple[int, ...]  # heard in the question
    ids: tuple[int, ...]  # of the answer, stop ids apart


@dataclass(frozen=True)
class Batch:
    """What N callers got, and what it took."""

    answers: tuple[Answered, ...]
    wall: float  # s until the last audio
    cpu: float  # s

    @property
    def audio_seconds(self) -> float:
        """Of all answers."""
        return sum(answer.audio_seconds for answer in self.answers)

    @property
    def throughput(self) -> float:
        """Seconds of answer audio a second of wall."""
        return self.audio_seconds / self.wall

    @property
    def cost(self) -> float:
        """CPU seconds a second of answer audio."""
        return self.cpu / self.audio_seconds


class Official:
    """The official pipeline in a process of its own, loaded once it is made. Raises RuntimeError where it does not."""

    def __init__(self, process: "subprocess.Popen[str]", model: Path, max_new_tokens: int) -> None:
        self._process = process
        self._stops = read_language_model_config(model / LANGUAGE_MODEL_FOLDER).stop_ids
        self._about = {**_prompt(model), "stops": self._stops, "max_new_tokens": max_new_tokens}
        self.versions: dict[str, str] = self._told()

    def answer(self, questions: Sequence[Path]) -> Batch:
        """One question for each caller, as files of f32[n] at 16 kHz."""
        told = self._asked(questions)
        answers = tuple(
            Answered(
                one["first_audio"],
                one["audio_seconds"],
                tuple(one["codes"]),
                tuple(token for token in one["ids"] if token not in self._stops),
            )
            for one in told["callers"]
        )
        return Batch(answers, told["wall"], told["cpu"])

    def write_outputs(self, questions: Sequence[Path], path: Path) -> None:
        """What each stage gives for each question, into an .npz file (outputs.py)."""
        self._asked(questions, outputs=str(path))

    def _asked(self, questions: Sequence[Path], **more: str) -> dict[str, Any]:
        callers = [{"samples": str(path), "rate": MODEL_INPUT_RATE} for path in questions]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({**self._about, "callers": callers, **more}) + "\n")
        self._process.stdin.flush()
        return self._told()

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the official pipeline has ended; what it said stands above")
        told: dict[str, Any] = json.loads(line)
        return told


@contextmanager
def official(
    python: Path, checkout: Path, model: Path, device: str, threads: int, max_new_tokens: int
) -> Iterator[Official]:
    """`python` is the interpreter of an environment that has what the checkout imports."""
    process = subprocess.Popen(
        [str(python), str(_DRIVER), str(checkout), str(model.resolve()), "--device", device],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    try:
        yield Official(process, model, max_new_tokens)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def commit_of(checkout: Path) -> str:
    """The commit that a checkout stands at, for the row; empty where git does not say."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


async def ours(server: Served, questions: Sequence[np.ndarray], max_new_tokens: int) -> Batch:
    """One question for each caller, f32[n] at 16 kHz: all calls are open before any of them speaks."""
    config = CallConfig(
        input_audio=linear16(MODEL_INPUT_RATE),
        output_audio=linear16(OUTPUT_RATE),
        sampling=Sampling(temperature=0.0, max_output_tokens=max_new_tokens),
    )
    clock = asyncio.get_running_loop().time
    async with antiphon.Client(server.target) as client, contextlib.AsyncExitStack() as stack:
        calls = [await stack.enter_async_context(client.call(config)) for _ in questions]
        cpu, began = server.cpu_seconds(), clock()
        heard = await asyncio.gather(
            *(_heard(call, question, began) for call, question in zip(calls, questions, strict=True))
        )
        cpu = server.cpu_seconds() - cpu
    return Batch(tuple(answer for answer, _ in heard), max(done for _, done in heard), cpu)


async def _heard(call: antiphon.client.Call, question: np.ndarray, began: float) -> tuple[Answered, float]:
    """The answer, and when its last audio came."""
    clock = asyncio.get_running_loop().time
    await call.push_audio(question)
    await call.commit()
    await call.finish()
    first: float | None = None
    last = seconds = 0.0
    async for event in call.events():
        match event:
            case AudioOutput():
                last = clock() - began
                first = last if first is None else first
                seconds += event.seconds
            case ResponseCompleted():
                asked, said = event.history
                return Answered(first, seconds, tuple(asked.speech or ()), tuple(said.ids or ())), last
    raise RuntimeError("the call ended before its answer did")


def read_question(path: Path) -> np.ndarray:
    """f32[n] at 16 kHz, of 16-bit values: what both engines are given is the same to the bit."""
    pcm, rate = read_audio(path)
    return pcm16_to_float(float_to_pcm16(resample(pcm[0], rate, MODEL_INPUT_RATE)))


def _prompt(model: Path) -> dict[str, Any]:
    """The ids around the speech codes of a first turn, and where the codes' ids begin."""
    vocabulary = Vocabulary.read(model / LANGUAGE_MODEL_FOLDER)
    ids = [*prompt_prefix(vocabulary, SPEECH_SYSTEM_PROMPT), *speech_turn(vocabulary, [0])]
    at = ids.index(vocabulary.speech_id(0))
    return {
        "before": ids[:at],
        "after": ids[at + 1 :],
        "audio_base": vocabulary.speech_id(0),
        "user": vocabulary.control_id("<|user|>"),
    }
