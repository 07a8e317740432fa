"""What befalls a busy loop: thousands of cancels, a jump of the clock, a slow reader, a page pool that holds one.

Elsewhere: two hundred callers who hang up at once (../service/test_wire_weather.py), stages that raise
(test_bad_input.py, test_loop.py), callers who never read (test_loop.py, ../service/test_wire_bad_input.py), the
smallest pool (test_session.py), a step of three seconds, names that are taken and frontends that die (../process/),
SIGTERM while answers are spoken (../service/test_drain.py). Ten thousand cancels, and memory after as many turns:
benchmarks/bench_soak.py.
"""

import pytest
from loops import Bench, Parts, tiny_parts

import antiphon
from antiphon.engine.messages import AudioRead, Cancel, CloseDialogue, Commit, PushText
from antiphon.events import AudioOutput, FinishReason, Interrupted, ResponseCompleted
from benchmarks.soak import walk


@pytest.fixture(scope="module")
def parts() -> Parts:
    return tiny_parts()


@pytest.mark.parametrize("kv_tokens", [65_536, 768], ids=["plenty", "pages for one"])
def test_cancels_at_random_moments_leak_nothing(parts: Parts, kv_tokens: int) -> None:
    stroll = walk(*parts, seed=11, config=antiphon.EngineConfig(kv_tokens=kv_tokens))
    while stroll.answers[FinishReason.INTERRUPTED] < 25:
        stroll.round(dialogues=6)
    stroll.finish()
    loop, stats = stroll.loop, stroll.loop.stats
    assert not stroll.faults and not stroll.answers[FinishReason.ERROR]
    assert stroll.answers[FinishReason.STOP] + stroll.answers[FinishReason.LENGTH] > 0, "others were answered"
    assert (stats.dialogues, stats.turns, stats.free_pages) == (0, 0, stats.total_pages)
    assert not loop._speech.begun and not loop._numbers, "no solve and no number is left behind"


def test_a_clock_that_jumps_changes_no_answer(parts: Parts) -> None:
    def answered(jump: float) -> list[ResponseCompleted]:
        bench = Bench(parts)
        for n in range(2):
            bench.open(f"caller {n}", 150, temperature=0.0)
            bench.loop.submit(PushText(f"caller {n}", "what time is it"))
            bench.loop.submit(Commit(f"caller {n}", f"{n}"))
        while not bench.events("caller 1", AudioOutput):
            bench.loop.step()
        bench.clock.advance(jump)
        bench.loop.submit(Cancel("caller 1", None))
        bench.run()
        (cut,) = bench.events("caller 1", Interrupted)
        sent = sum(event.samples.size for event in bench.events("caller 1", AudioOutput))
        assert cut.heard_samples == min(sent, round(22_050 * jump)), "nobody has heard what was not sent"
        return [bench.events(f"caller {n}", ResponseCompleted)[0] for n in range(2)]

    steady, jumped = answered(0.1), answered(86_400.0)
    assert jumped[0].history == steady[0].history
    assert jumped[0].usage == steady[0].usage
    assert [one.finish_reason for one in jumped] == [one.finish_reason for one in steady]


def test_who_reads_at_half_speed_holds_up_nobody_and_loses_nothing(parts: Parts) -> None:
    bench = Bench(parts, antiphon.EngineConfig(max_unread_seconds=1.0))
    bench.readers = {"healthy"}
    bench.ask("slow", 150)
    bench.ask("healthy", 150)
    unread = most_unread = read = 0
    while not bench.events("slow", ResponseCompleted):
        bench.run()
        assert bench.events("healthy", ResponseCompleted), "it never waits for the slow one"
        unread = sum(event.samples.size for event in bench.events("slow", AudioOutput)) - read
        most_unread = max(most_unread, unread)
        bench.clock.advance(0.1)
        half = min(unread, 1_102)  # 0.05 s of audio in 0.1 s
        bench.loop.submit(AudioRead("slow", half))
        read += half
    (slow,) = bench.events("slow", ResponseCompleted)
    spoken = sum(event.samples.size for event in bench.events("slow", AudioOutput))
    assert slow.finish_reason is not FinishReason.ERROR and slow.usage.output_audio_seconds == spoken / 22_050
    longest = max(event.samples.size for event in bench.events("slow", AudioOutput))
    assert most_unread <= 22_050 + longest, "what lies unread is bounded, whatever is left to say"


def test_who_hang_up_together_are_gone_in_one_step(parts: Parts) -> None:
    bench = Bench(parts)
    bench.ask("healthy", 60)
    names = [f"caller {n}" for n in range(50)]
    for name in names:
        bench.ask(name, 60)
    while not any(bench.events(name, AudioOutput) for name in names):
        bench.loop.step()
    for name in names:
        bench.loop.submit(CloseDialogue(name))
    bench.loop.step()
    stats = bench.loop.stats
    assert (stats.dialogues, stats.turns) == (1, 1)
    held = len(bench.dialogue("healthy").sequence.pages)
    assert stats.total_pages - stats.free_pages == held, "their pages are free at once"
    bench.run()
    assert bench.events("healthy", ResponseCompleted)[0].finish_reason is FinishReason.LENGTH
