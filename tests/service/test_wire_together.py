"""Eight calls at once, at their own pace: each hears its own answer, whole and in order. Whether they stay in time is a
matter of the machine, and measured by benchmarks/bench_calls.py.

And the command line's side of a call, against the same server.
"""

import asyncio
import json
import subprocess
import sys
import wave
from pathlib import Path

from callers import Received, receive
from tolerances import TOLERANCE
from wire import (
    GREEDY,
    HANGS,
    MANUAL,
    PACED,
    UNPACED,
    answer_in,
    check_answer,
    check_order,
    serving,
    spoken,
    target,
    tiny_engine,
)

import antiphon
from antiphon.client import AudioOutput, Event, ResponseCompleted
from antiphon.engine.config import SessionConfig
from antiphon.engine.service.server import Server
from antiphon.engine.think.sampling import SamplingParams

CALLS = 8


async def alone(text: str) -> Received:
    sampling = SamplingParams(temperature=0.0, max_new_tokens=GREEDY.max_output_tokens or 0)
    async with tiny_engine().session(SessionConfig(sampling=sampling)) as session:
        await session.push_text(text)
        await session.commit()
        return await receive(session)


async def one_call(server: Server, text: str) -> list[Event]:
    async with antiphon.Client(target(server)) as client:
        async with client.call(spoken(MANUAL, output_chunk=0.2)) as call:
            await call.push_text(text)
            seen: list[Event] = []
            async for event in call.events():
                seen.append(event)
                if isinstance(event, ResponseCompleted):
                    await call.finish()
            return seen


def test_eight_calls_at_once_hear_each_their_own_answer() -> None:
    texts = [f"question number {number}" for number in range(CALLS)]

    async def run() -> None:
        expected = [await alone(text) for text in texts]
        async with serving(tiny_engine(), PACED) as server:
            calls = await asyncio.gather(*(one_call(server, text) for text in texts))
        for events, one in zip(calls, expected, strict=True):
            check_order(events)
            check_answer(await answer_in(events), one, "a wave among eight", TOLERANCE["wave-in-company"])
            assert sum(isinstance(event, AudioOutput) for event in events) >= 7

    asyncio.run(asyncio.wait_for(run(), HANGS))


async def run_command(*arguments: str) -> tuple[int, str, str]:
    """The exit code, standard output and standard error of `antiphon …`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "antiphon", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def test_the_command_line_calls_a_server(tmp_path: Path) -> None:
    out = tmp_path / "answer.wav"
    clip = Path(__file__).parents[2] / "demo" / "clips" / "tt-weasels.wav"

    async def run() -> None:
        async with serving(tiny_engine(), UNPACED) as server:
            options = ["--server", target(server), "--out", str(out), "--temperature", "0", "--max-new-tokens", "40"]
            (code, told, _), (wrong, _, why) = await asyncio.gather(
                run_command("talk", str(clip), "--json", *options),
                run_command("say", "hello", *options, "--top-p", "7", "--out", str(tmp_path / "none.wav")),
            )
        assert code == 0 and json.loads(told)["answers"][0]["usage"]["output_audio_tokens"] == 26
        with wave.open(str(out)) as file:
            assert file.getframerate() == 22_050 and file.getnframes() > 22_050
        assert wrong == 1 and "FIELD_INVALID" in why

    asyncio.run(asyncio.wait_for(run(), HANGS))
