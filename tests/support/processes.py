"""`antiphon serve` as a process with its children, and callers of it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from checkpoints import tiny_checkpoint
from served import until

from antiphon.v1 import dialogue_pb2, dialogue_pb2_grpc, events_pb2, session_pb2
from antiphon.v1.dialogue_pb2 import ConverseRequest

PATIENT = ("--engine-patience", "20", "--max-engine-step", "600", "--max-utilisation", "0")


@dataclass
class Process:
    """`antiphon serve`, and what it has logged."""

    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)
    other_lines: list[str] = field(default_factory=list)  # that are no JSON

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]

    def logged(self, event: str) -> dict[str, Any] | None:
        return next((line for line in self.lines if line["event"] == event), None)

    async def serving_port(self) -> int:
        assert await until(lambda: self.logged("serving") is not None or self.process.poll() is not None, 120.0)
        serving = self.logged("serving")
        assert serving is not None, (self.lines, self.other_lines)
        return int(serving["port"])

    def pids(self, name: str) -> list[int]:
        """The children of this name so far, in order, each from its first line on."""
        return list(dict.fromkeys(line["pid"] for line in self.lines if line.get("process") == name))

    async def pid_after(self, name: str, pid: int) -> int:
        """The child that took the place of `pid`, once it has written a line."""
        assert await until(lambda: self.pids(name)[-1] != pid, 120.0), self.lines
        return self.pids(name)[-1]

    async def exit_code(self, seconds: float = 20.0) -> int | None:
        """None: it still runs."""
        await until(lambda: self.process.poll() is not None, seconds)
        return self.process.poll()

    def signal(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.other_lines.append(line)


@contextmanager
def antiphon_serve(*options: str) -> Iterator[Process]:
    """A server of its own, with `options`; on leaving, nothing of it may be left.

    Its machine is shared with other tests: where silence or haste is not what a test is about, it means nothing.
    """
    command = [sys.executable, "-m", "antiphon", "serve", "--model", str(tiny_checkpoint()), "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--port", "0", *PATIENT, *options],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, to see what is left of it
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield Process(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
    assert not running_in_group(process.pid), "orphans"


def running_in_group(group: int) -> list[int]:
    """The processes of a group, but for those that are dead and only not yet collected."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            # man 5 proc: pid (name) state parent group …; a name may hold anything, parentheses too
            state, _, its_group, *_ = entry.read_text().rpartition(")")[2].split()
            if int(its_group) == group and state not in "ZX":
                found.append(int(entry.parent.name))
    return found


@dataclass
class Caller:
    """A dialogue with an answer under way, or none."""

    call: grpc.aio.StreamStreamCall
    events: list[str] = field(default_factory=list)
    audio_bytes: int = 0
    go_away: events_pb2.GoAway | None = None

    async def take(self) -> str | None:
        event = await self.call.read()
        if event is grpc.aio.EOF:
            return None
        kind = str(event.WhichOneof("response"))
        self.events.append(kind)
        self.audio_bytes += len(event.audio.data)
        if kind == "go_away":
            self.go_away = event.go_away
        return kind

    async def take_until(self, kind: str) -> None:
        while (taken := await self.take()) != kind:
            assert taken is not None, (kind, self.events)

    async def take_all(self) -> None:
        while await self.take() is not None:
            pass


async def dial(channel: grpc.aio.Channel, text: str | None = None, tokens: int = 400) -> Caller:
    """Open a dialogue, and ask for an answer."""
    caller = Caller(dialogue_pb2_grpc.DialogueServiceStub(channel).Converse())
    config = session_pb2.SessionConfig(sampling=session_pb2.Sampling(temperature=0.0, max_output_tokens=tokens))
    await caller.call.write(ConverseRequest(config=config))
    await caller.take_until("session_started")
    if text is not None:
        await caller.call.write(ConverseRequest(text=dialogue_pb2.TextInput(text=text)))
        await caller.take_until("audio")
    return caller


@asynccontextmanager
async def connected(server: Process) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.serving_port()}") as channel:
        yield channel
