"""Speech on a lane of its own: the loop's code for CUDA, on streams and events that stand for a device's."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from loops import Bench, Parts, tiny_parts
from torch import nn

from antiphon.engine.clock import Clock
from antiphon.engine.lanes import Lane, new_lane
from antiphon.engine.messages import Cancel, Commit, PushAudio
from antiphon.events import AudioOutput, FinishReason, ResponseCompleted

ASKED = 3  # times until an event is over
MILLISECONDS = 5.0  # between two events


class Device:
    """One on which everything takes a while. `entered` holds the stream that work goes to now, last."""

    def __init__(self) -> None:
        self.entered: list[Stream] = []
        self.streams: list[Stream] = []
        self.default = Stream()

    def new_stream(self, _: torch.device) -> "Stream":
        self.streams.append(Stream())
        return self.streams[-1]

    def new_event(self, enable_timing: bool) -> "Event":
        assert enable_timing
        return Event(self)

    @contextmanager
    def stream(self, stream: "Stream") -> Iterator[None]:
        self.entered.append(stream)
        yield
        self.entered.pop()


class Stream:
    def __init__(self) -> None:
        self.follows: set[Stream] = set()

    def wait_stream(self, other: "Stream") -> None:
        self.follows.add(other)


class Event:
    def __init__(self, device: Device) -> None:
        self._device = device
        self._asked: int | None = None  # None: not recorded

    def record(self, stream: Stream) -> None:
        assert stream is self._device.entered[-1], "what it times went to another stream"
        self._asked = 0

    def query(self) -> bool:
        assert self._asked is not None
        self._asked += 1
        return self._asked > ASKED

    def synchronize(self) -> None:
        self._asked = ASKED

    def elapsed_time(self, end: "Event") -> float:
        assert self._asked is not None and end._asked is not None and end._asked >= ASKED, "nobody waited for it"
        return MILLISECONDS


@pytest.fixture(scope="module")
def parts() -> Parts:
    return tiny_parts()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(torch.cuda, "Stream", made.new_stream)
    monkeypatch.setattr(torch.cuda, "Event", made.new_event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: made.default)
    monkeypatch.setattr(torch.cuda, "stream", made.stream)

    def on_cuda(_: torch.device, clock: Clock) -> Lane:
        return new_lane(torch.device("cuda"), clock)

    monkeypatch.setattr("antiphon.engine.loop.new_lane", on_cuda)
    return made


def speak(bench: Bench, name: str, turn: int = 0) -> None:
    bench.loop.submit(PushAudio(name, (0.3 * np.sin(np.arange(16_000) * 0.11)).astype(np.float32), 16_000))
    bench.loop.submit(Commit(name, f"{name}.{turn}"))


def answered(parts: Parts) -> Bench:
    """A spoken turn of one caller, and its answer."""
    bench = Bench(parts)
    bench.open("caller", max_new_tokens=60)
    speak(bench, "caller")
    bench.run()
    return bench


def test_an_answer_is_the_same_on_lanes_of_a_device(parts: Parts, request: pytest.FixtureRequest) -> None:
    expected = answered(parts)
    device: Device = request.getfixturevalue("device")
    used: dict[str, set[Stream]] = {"hear": set(), "think": set(), "speak": set()}

    def note(stage: str, module: nn.Module) -> object:
        return module.register_forward_hook(lambda *_: used[stage].add(device.entered[-1]))

    modules = (parts[0].encoder, parts[1].model, parts[2].flow.estimator, parts[2].vocoder.conv_post)
    stages = ("hear", "think", "speak", "speak")
    handles = [note(stage, module) for stage, module in zip(stages, modules, strict=True)]
    try:
        bench = answered(parts)
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]
    thinks, speaks = device.streams
    assert speaks.follows == {device.default, thinks}
    assert thinks.follows == {device.default}, "thinking waits for no speech"
    assert used == {"hear": {thinks}, "think": {thinks}, "speak": {speaks}} and not device.entered
    [completed], [alone] = (one.events("caller", ResponseCompleted) for one in (bench, expected))
    assert completed.history == alone.history and completed.finish_reason is FinishReason.LENGTH
    pieces, whole = (one.events("caller", AudioOutput) for one in (bench, expected))
    assert [piece.samples.tolist() for piece in pieces] == [piece.samples.tolist() for piece in whole]
    stages_seconds = completed.timing.stages
    assert stages_seconds.decode == pytest.approx(59 * MILLISECONDS / 1_000), "as the events say"
    assert stages_seconds.speak >= 10 * MILLISECONDS / 1_000


def test_the_lm_goes_on_while_a_step_of_the_flow_is_under_way(parts: Parts, device: Device) -> None:
    bench = Bench(parts)
    bench.ask("talks", 150)
    bench.until(lambda: bench.loop._speech.is_under_way)
    before = bench.loop.stats
    bench.loop.step()
    after = bench.loop.stats
    assert after.lm_batches == before.lm_batches + 1 and after.speak_batches == before.speak_batches
    bench.run()
    assert bench.events("talks", ResponseCompleted) and not bench.loop._speech.is_under_way


def test_who_is_cut_while_his_speech_is_under_way_gets_none_of_it(parts: Parts, device: Device) -> None:
    bench = Bench(parts)
    bench.ask("goes", 60)
    bench.ask("stays", 60)
    bench.until(lambda: bench.loop._speech.is_under_way)
    bench.loop.submit(Cancel("goes", None))
    bench.write("goes", "and this", turn=1)
    bench.run()
    cut, again = bench.events("goes", ResponseCompleted)
    assert cut.finish_reason is FinishReason.INTERRUPTED and again.finish_reason in (
        FinishReason.LENGTH,
        FinishReason.STOP,
    )
    assert all(event.response_id == "goes.1" for event in bench.events("goes", AudioOutput))
    assert bench.events("stays", ResponseCompleted)[0].finish_reason is FinishReason.LENGTH
    assert not bench.loop._speech.begun and not bench.loop._speech.is_under_way
