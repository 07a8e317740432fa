"""The loop by itself, stepped by hand on a virtual clock."""

from typing import Any

import numpy as np
import pytest
from loops import Bench, Parts, tiny_parts

import antiphon
from antiphon.engine.dialogue import Dialogue
from antiphon.engine.messages import (
    AudioRead,
    Cancel,
    CloseDialogue,
    Commit,
    DialogueEnded,
    EncodeClip,
    OpenDialogue,
    PushAudio,
)
from antiphon.engine.turn import Phase, Turn
from antiphon.events import AudioOutput, FinishReason, Interrupted, ResponseCompleted


@pytest.fixture(scope="module")
def parts() -> Parts:
    return tiny_parts()


def test_eight_decoding_dialogues_are_one_lm_forward_a_step(parts: Parts) -> None:
    bench = Bench(parts)
    rows: list[int] = []
    handle = parts[1].model.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    try:
        for n in range(8):
            bench.ask(f"caller {n}")
        bench.run()
    finally:
        handle.remove()
    assert rows[1:] == [8] * 59, "one prefill of all eight, then one forward for the next id of all eight"
    completed = [bench.events(f"caller {n}", ResponseCompleted) for n in range(8)]
    assert all(one.finish_reason is FinishReason.LENGTH for (one,) in completed)
    assert bench.loop.stats.lm_batches == 60


def test_the_loop_adds_up_what_its_time_goes_to(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, lm, decoder = parts
    bench = Bench(parts)
    ran = {"hear": 0, "think": 0, "solve": 0, "vocode": 0, "other": 0}
    took = {"hear": 2.0, "think": 1.0, "solve": 0.25, "vocode": 0.5, "other": 0.125}

    def timed(stage: str, owner: object, name: str) -> None:
        forward = getattr(owner, name)

        def slow(*arguments: Any) -> Any:
            ran[stage] += 1
            bench.clock.advance(took[stage])
            return forward(*arguments)

        monkeypatch.setattr(owner, name, slow)

    timed("hear", tokenizer, "run")
    timed("think", bench.loop._runner, "step")
    timed("solve", decoder, "advance")
    timed("vocode", decoder, "finish")
    timed("other", bench.loop, "_take")
    for name in ("one", "other"):
        bench.open(name)
        bench.loop.submit(PushAudio(name, np.full(16_000, 0.1, np.float32), 16_000))
        bench.loop.submit(Commit(name, f"{name}.0"))
    bench.run()
    spent = bench.loop.stats.seconds
    assert all(ran.values())
    assert {stage: getattr(spent, stage) for stage in took} == {stage: ran[stage] * took[stage] for stage in took}
    assert spent.steps == bench.clock.now() and spent.clips == 0

    bench.loop.submit(EncodeClip("clip", np.full(16_000, 0.1, np.float32), 16_000))
    bench.run()
    clip = bench.loop.seconds.since(spent)
    assert (clip.clips, clip.steps, clip.hear, clip.other) == (took["hear"], took["hear"], 0, 0)


def test_a_caller_who_does_not_read_pauses_alone_and_goes_on_when_he_does(parts: Parts) -> None:
    bench = Bench(parts, antiphon.EngineConfig(max_unread_seconds=0.5))
    bench.readers = {"quick"}
    bench.ask("slow", 150)
    bench.ask("quick", 150)
    bench.run()
    assert bench.events("quick", ResponseCompleted) and not bench.events("slow", ResponseCompleted)
    (waiting,) = bench.events("slow", AudioOutput)
    bench.readers.add("slow")
    bench.loop.submit(AudioRead("slow", waiting.samples.size))
    bench.run()
    assert bench.events("slow", ResponseCompleted)


def test_an_estimated_cut_follows_the_clock(parts: Parts) -> None:
    bench = Bench(parts)
    bench.ask("caller", 150)
    while not bench.events("caller", AudioOutput):
        bench.loop.step()
    bench.clock.advance(0.5)
    bench.loop.submit(Cancel("caller", None))
    bench.run()
    (interrupted,) = bench.events("caller", Interrupted)
    assert interrupted.estimated and interrupted.heard_samples == 11_025
    (completed,) = bench.events("caller", ResponseCompleted)
    assert len(completed.history[1].ids) == interrupted.kept_tokens == 13 + 6
    assert bench.events("caller", object)[-1] is completed, "nothing follows"


def test_a_message_that_cannot_be_used_ends_its_dialogue_alone(parts: Parts) -> None:
    bench = Bench(parts)
    bench.ask("healthy", 20)
    bench.loop.submit(OpenDialogue("broken", antiphon.SessionConfig()))
    bench.loop.submit(Commit("broken", "broken.0"))
    bench.run()
    (ended,) = [report for report in bench.reports if isinstance(report, DialogueEnded)]
    assert ended.dialogue == "broken" and "Commit" in (ended.fault or "")
    assert bench.events("healthy", ResponseCompleted)
    bench.loop.submit(CloseDialogue("healthy"))
    bench.run()
    assert (bench.loop.stats.dialogues, bench.loop.stats.free_pages) == (0, bench.loop.stats.total_pages)


@pytest.mark.parametrize("stage", ["hear", "begin", "sampled", "spoken"])
def test_a_turn_that_raises_wherever_it_stands_ends_alone(
    parts: Parts, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(parts)
    method, owner = {
        "hear": ("heard", Turn),
        "begin": ("begin_next", Dialogue),
        "sampled": ("sampled", Turn),
        "spoken": ("spoken", Turn),
    }[stage]
    original = getattr(owner, method)

    def poisoned(self: Turn | Dialogue, *arguments: object) -> object:
        turn = self if isinstance(self, Turn) else self.turns[0]
        if (turn.response_id or "").startswith("poisoned") and turn.phase is not Phase.DONE:
            raise RuntimeError("poisoned")
        return original(self, *arguments)

    monkeypatch.setattr(owner, method, poisoned)
    bench.ask("healthy", 60)
    bench.loop.submit(OpenDialogue("poisoned", antiphon.SessionConfig()))
    bench.loop.submit(PushAudio("poisoned", np.zeros(800, np.float32), 8_000))
    bench.loop.submit(Commit("poisoned", "poisoned.0"))
    bench.run()
    (failed,) = bench.events("poisoned", ResponseCompleted)
    assert failed.finish_reason is FinishReason.ERROR and failed.failure.message == "poisoned"
    (healthy,) = bench.events("healthy", ResponseCompleted)
    assert healthy.finish_reason is FinishReason.LENGTH
    for name in ("healthy", "poisoned"):
        bench.loop.submit(CloseDialogue(name))
    bench.run()
    assert bench.loop.stats.free_pages == bench.loop.stats.total_pages
