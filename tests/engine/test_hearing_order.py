"""Whose audio a loop encodes first, and how much of it in one pass."""

from collections.abc import Sequence

import numpy as np
import pytest
from loops import Bench, Parts, tiny_parts

import antiphon
from antiphon.engine.hear.requests import EncodeRequest, EncodeResult
from antiphon.engine.messages import CallerPaused, Cancel, ClearInput, CloseDialogue, Commit, PushAudio
from antiphon.events import ResponseCompleted

RATE = 16_000
BLOCK = 200  # encoder frames of a block of 4 s


@pytest.fixture(scope="module")
def parts() -> Parts:
    return tiny_parts()


@pytest.fixture
def passes(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The frames of each request, pass by pass."""
    run, made = parts[0].run, list[list[int]]()

    def recorded(requests: Sequence[EncodeRequest]) -> list[EncodeResult]:
        made.append([request.span.frames for request in requests])
        return run(requests)

    monkeypatch.setattr(parts[0], "run", recorded)
    return made


def hum(seconds: float) -> np.ndarray:
    return (0.3 * np.sin(np.arange(int(seconds * RATE)) * 0.11)).astype(np.float32)


def speak(bench: Bench, name: str, seconds: float) -> None:
    """A new caller, of whom so much is heard."""
    bench.open(name, max_new_tokens=4)
    bench.loop.submit(PushAudio(name, hum(seconds), RATE))


def commit(bench: Bench, name: str) -> None:
    bench.loop.submit(Commit(name, f"{name}.0"))


def test_committed_turns_then_closed_blocks_then_guesses_each_in_one_pass(
    parts: Parts, passes: list[list[int]]
) -> None:
    bench = Bench(parts)
    for name, seconds in (("pauses", 1.0), ("talks", 5.0), ("talks too", 9.0), ("asks", 2.0), ("asks too", 3.0)):
        speak(bench, name, seconds)
    bench.loop.submit(CallerPaused("pauses"))
    commit(bench, "asks too")
    bench.loop._take_in()
    bench.clock.advance(0.1)
    commit(bench, "asks")
    bench.run()
    assert passes == [[152, 100], [BLOCK, 2 * BLOCK], [52]]
    for name, seconds in (("asks", 2.0), ("asks too", 3.0)):
        answered = bench.events(name, ResponseCompleted)[0]
        assert list(answered.history[0].speech) == parts[0].encode(hum(seconds), RATE)


def test_a_pass_takes_what_fits_its_time_as_measured(
    parts: Parts, passes: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(parts, antiphon.EngineConfig(encode_seconds=0.5))
    recorded = parts[0].run

    def timed(requests: Sequence[EncodeRequest]) -> list[EncodeResult]:
        bench.clock.advance(1e-3 * sum(request.span.frames for request in requests))
        return recorded(requests)

    monkeypatch.setattr(parts[0], "run", timed)
    for n in range(2):  # so that a frame's price is known
        speak(bench, f"before {n}", 4.5)
        bench.run()
    passes.clear()
    for n in range(5):
        speak(bench, f"talks {n}", 4.5)
    speak(bench, "talks long", 17.0)
    commit(bench, "talks long")
    bench.run()
    assert passes[0] == [852], "however long, whoever is first is heard"
    assert passes[1:4] == [[BLOCK] * 2, [BLOCK] * 2, [BLOCK]]


@pytest.mark.parametrize("end", [ClearInput("goes"), CloseDialogue("goes")])
def test_who_goes_is_not_encoded(parts: Parts, passes: list[list[int]], end: ClearInput | CloseDialogue) -> None:
    bench = Bench(parts)
    speak(bench, "goes", 5.0)
    speak(bench, "asks", 2.0)
    commit(bench, "asks")
    bench.loop.step()
    bench.loop.submit(end)
    bench.run()
    assert passes == [[100]]


def test_a_turn_cancelled_before_it_was_heard_makes_way_for_the_next(parts: Parts, passes: list[list[int]]) -> None:
    bench = Bench(parts)
    speak(bench, "caller", 2.0)
    commit(bench, "caller")
    bench.loop.submit(Cancel("caller", None))
    bench.loop.submit(PushAudio("caller", hum(3.0), RATE))
    bench.loop.submit(Commit("caller", "caller.1"))
    bench.run()
    assert passes == [[152]] and bench.events("caller", ResponseCompleted)[-1].response_id == "caller.1"
