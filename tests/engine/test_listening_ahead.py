"""While the caller speaks: what is heard is encoded and prefilled, and nobody can tell by the answer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from loops import Bench, Parts, tiny_parts

import antiphon
from antiphon.engine.messages import CallerPaused, Cancel, ClearInput, CloseDialogue, Commit, PushAudio
from antiphon.engine.turn import PAUSE_SECONDS, Phase
from antiphon.events import AudioOutput, ResponseCompleted, ResponseStarted
from antiphon.scheduler.settings import pages_for

RATE = 16_000
FRAMING = 12  # ids at most between the last speech token and the answer, and the one that is always left
OPEN_BLOCK = 50  # speech tokens in 4 s


@pytest.fixture(scope="module")
def parts() -> Parts:
    return tiny_parts()


def voice(seconds: float, loudness: Sequence[float] = (0.3,), seed: int = 0) -> np.ndarray:
    """A noisy hum, louder and quieter in turn."""
    n = int(seconds * RATE)
    noise = np.random.default_rng(seed).standard_normal(n)
    envelope = np.repeat(loudness, -(-n // len(loudness)))[:n]
    return (envelope * (0.8 * np.sin(np.arange(n) * 0.11) + 0.05 * noise)).astype(np.float32)


def seconds_of(pcm: np.ndarray) -> list[np.ndarray]:
    return np.split(pcm, range(RATE, pcm.size, RATE))


def answered(bench: Bench, name: str = "caller") -> ResponseCompleted:
    completed: ResponseCompleted = bench.events(name, ResponseCompleted)[-1]
    return completed


def at_once(parts: Parts, turns: Sequence[np.ndarray]) -> list[ResponseCompleted]:
    """The answers of a dialogue that hears each turn whole, together with its commit."""
    bench = Bench(parts)
    bench.open("caller", temperature=0.0)
    for n, pcm in enumerate(turns):
        bench.loop.submit(PushAudio("caller", pcm, RATE))
        bench.loop.submit(Commit("caller", f"caller.{n}"))
        bench.run()
    return bench.events("caller", ResponseCompleted)


class Work:
    """What the models computed."""

    def __init__(self) -> None:
        self.frames = 0  # of the speech encoder
        self.forwards: list[int] = []  # positions of each LM forward


@contextmanager
def counted(parts: Parts) -> Iterator[Work]:
    work = Work()

    def encoded(_module: object, inputs: tuple, _output: object) -> None:  # type: ignore[type-arg]
        work.frames += sum(span.frames for span in inputs[1])

    handles = [
        parts[0].encoder.register_forward_hook(encoded),
        parts[1].model.register_forward_hook(lambda module, inputs, output: work.forwards.append(len(inputs[0]))),
    ]
    try:
        yield work
    finally:
        for handle in handles:
            handle.remove()


def ahead(bench: Bench) -> tuple[int, int]:
    """Of the turn that the caller speaks: (ids computed, ids that could be before its commit)."""
    dialogue = bench.dialogue("caller")
    return dialogue.sequence.computed - dialogue._past, dialogue.sequence.uncomputed - 1


def assert_accounted(bench: Bench) -> None:
    """Every page that is taken holds a computed position of an open dialogue."""
    stats, page_size = bench.loop.stats, bench.loop._config.page_size
    held = sum(pages_for(dialogue.sequence.computed, page_size) for dialogue in bench.loop._dialogues.values())
    assert stats.total_pages - stats.free_pages == held


@pytest.mark.parametrize("seed", range(6))
def test_any_pieces_pauses_and_clicks_give_the_turn_that_was_heard_at_once(parts: Parts, seed: int) -> None:
    rng = np.random.default_rng(seed)
    turns = [voice(seconds, rng.choice([0.0, 1e-4, 1e-2, 0.5], 5), seed) for seconds in (rng.uniform(3, 11), 2.3)]
    turns[0][int(rng.integers(turns[0].size // 2, turns[0].size))] = 1.0
    bench = Bench(parts)
    bench.open("caller", temperature=0.0)
    for n, pcm in enumerate(turns):
        for piece in np.split(pcm, np.sort(rng.integers(1, pcm.size, 7))):
            bench.loop.submit(PushAudio("caller", piece, RATE))
            for _ in range(rng.integers(0, 4)):
                bench.loop.step()
            if rng.random() < 0.5:
                bench.loop.submit(CallerPaused("caller"))
        bench.loop.submit(Commit("caller", f"caller.{n}"))
        bench.run()
    for completed, whole, pcm in zip(
        bench.events("caller", ResponseCompleted), at_once(parts, turns), turns, strict=True
    ):
        assert list(completed.history[0].speech) == parts[0].encode(pcm, RATE)
        assert completed.history == whole.history
        usage = replace(completed.usage, input_audio_seconds=whole.usage.input_audio_seconds)  # a sum of pieces
        assert usage == whole.usage, "what was computed ahead is counted as if it had not been"
    assert_accounted(bench)


def test_the_work_after_the_commit_is_the_open_block_whatever_the_length(parts: Parts) -> None:
    after: list[tuple[int, int]] = []
    for seconds in (5, 29, 69):  # each one second into a block
        bench = Bench(parts)
        bench.open("caller", max_new_tokens=1)
        with counted(parts) as before:
            bench.say("caller", seconds_of(voice(seconds)))
        assert sum(before.forwards) > 12 * seconds, "prefilled before the commit"
        with counted(parts) as rest:
            bench.loop.submit(Commit("caller", "caller.0"))
            bench.run()
        after.append((rest.frames, sum(rest.forwards)))
    assert after == [after[0]] * 3, "flat"
    frames, tokens = after[0]
    assert frames == 52 and tokens <= 13 + FRAMING


def test_a_commit_where_the_caller_paused_has_nothing_left_to_encode(parts: Parts) -> None:
    bench = Bench(parts)
    bench.open("caller", max_new_tokens=1)
    pcm = voice(7.1)
    bench.say("caller", seconds_of(pcm))
    assert bench.loop.next_pause == PAUSE_SECONDS
    with counted(parts) as guess:
        bench.clock.advance(PAUSE_SECONDS)
        bench.run()
        bench.clock.advance(60)
        bench.run()
    assert guess.frames == 156 and bench.loop.next_pause is None, "the open block, once"
    with counted(parts) as rest:
        bench.loop.submit(Commit("caller", "caller.0"))
        bench.run()
    assert rest.frames == 0 and sum(rest.forwards) <= FRAMING
    assert list(answered(bench).history[0].speech) == parts[0].encode(pcm, RATE)


def test_who_goes_on_after_a_pause_rolls_the_guess_back(parts: Parts) -> None:
    bench = Bench(parts, antiphon.EngineConfig(page_size=4))
    bench.open("caller", temperature=0.0)
    speech = voice(4.5)
    bench.say("caller", [speech])
    bench.loop.submit(CallerPaused("caller"))
    bench.run()
    guessed = list(bench.dialogue("caller").sequence.ids)
    assert bench.dialogue("caller").sequence.uncomputed == 1
    more = np.concatenate([voice(1.0, [0.001], 1), voice(2.6, [0.9], 2)])
    bench.say("caller", [more])
    kept = bench.dialogue("caller").sequence.ids
    assert len(kept) > len(guessed) and kept[: len(guessed)] != guessed, "the block came out otherwise"
    assert_accounted(bench)
    bench.loop.submit(Commit("caller", "caller.0"))
    bench.run()
    assert answered(bench).history == at_once(parts, [np.concatenate([speech, more])])[0].history
    assert_accounted(bench)


@pytest.mark.parametrize("end", [ClearInput("caller"), CloseDialogue("caller")])
@pytest.mark.parametrize("past", [False, True])
def test_input_dropped_in_mid_prefill_leaves_nothing(parts: Parts, end: ClearInput | CloseDialogue, past: bool) -> None:
    bench = Bench(parts, antiphon.EngineConfig(page_size=4, batch_tokens=16))
    if past:
        bench.ask("caller")
    else:
        bench.open("caller")
    bench.run()
    free, ids = bench.loop.stats.free_pages, list(bench.dialogue("caller").sequence.ids)
    bench.loop.submit(PushAudio("caller", voice(9.0), RATE))
    bench.loop.submit(CallerPaused("caller"))
    for _ in range(4):
        bench.loop.step()
    computed, due = ahead(bench)
    assert computed > 0 and due > 0, "in the middle"
    bench.loop.submit(Cancel("caller", None))  # there is no answer to stop
    bench.loop.step()
    bench.loop.submit(end)
    bench.run()
    stats = bench.loop.stats
    if isinstance(end, CloseDialogue):
        assert (stats.dialogues, stats.free_pages) == (0, stats.total_pages)
    else:
        assert bench.dialogue("caller").sequence.ids == ids and stats.free_pages == free
        bench.loop.submit(PushAudio("caller", voice(5.0, seed=3), RATE))
        bench.loop.submit(Commit("caller", "caller.9"))
        bench.run()
        assert list(answered(bench).history[0].speech) == parts[0].encode(voice(5.0, seed=3), RATE)


def test_a_turn_cancelled_after_its_commit_leaves_nothing_ahead(parts: Parts) -> None:
    bench = Bench(parts)
    bench.open("caller")
    bench.say("caller", [voice(9.0)])
    bench.loop.submit(Commit("caller", "caller.0"))
    bench.loop.submit(Cancel("caller", None))
    bench.run()
    assert answered(bench).history == () and not bench.dialogue("caller").sequence.ids
    assert bench.loop.stats.free_pages == bench.loop.stats.total_pages


def test_while_an_answer_is_under_way_the_next_turn_is_only_encoded(parts: Parts) -> None:
    first, second = voice(2.0), voice(9.0, seed=1)
    bench = Bench(parts)
    bench.open("caller", max_new_tokens=150, temperature=0.0)
    bench.say("caller", [first])
    bench.loop.submit(Commit("caller", "caller.0"))
    while not bench.events("caller", AudioOutput):
        bench.loop.step()
    with counted(parts) as work:
        bench.loop.submit(PushAudio("caller", second, RATE))
        bench.loop.step()
    assert work.frames == 400 and max(work.forwards, default=0) <= 1
    bench.clock.advance(0.5)
    bench.loop.submit(Cancel("caller", None))
    bench.run()
    cut = answered(bench)
    assert ahead(bench)[0] >= 100, "upon the history that was cut"
    bench.loop.submit(Commit("caller", "caller.1"))
    bench.run()
    prompt = parts[1].chat_prompt([*cut.history, parts[0].encode(second, RATE)])
    expected = parts[1].generate(prompt, max_new_tokens=150)
    assert list(answered(bench).history[1].ids) == [one for one in expected if one not in parts[1].config.stop_ids]


def test_listening_ahead_takes_no_page_from_others_and_gives_its_own_first(parts: Parts) -> None:
    config = antiphon.EngineConfig(page_size=16, kv_tokens=16 * 20, batch_tokens=64)
    bench = Bench(parts, config)
    bench.ask("idle", 20)
    bench.run()
    idle = bench.dialogue("idle").sequence.computed
    bench.open("caller")
    bench.say("caller", seconds_of(voice(25)))
    assert bench.loop.stats.free_pages == 0 and ahead(bench)[1] > 0
    assert bench.dialogue("idle").sequence.computed == idle, "only free pages"
    bench.ask("other", 60)
    bench.run()
    assert len(answered(bench, "other").history[1].ids) > 0
    assert bench.dialogue("idle").sequence.computed == idle, "the speculation went first"
    assert_accounted(bench)


def test_decodes_and_committed_prefills_go_before_listening_ahead(parts: Parts) -> None:
    bench = Bench(parts, antiphon.EngineConfig(batch_tokens=32))
    bench.open("listening")
    bench.loop.submit(PushAudio("listening", voice(9), RATE))
    bench.ask("asking", 10)
    while not bench.events("asking", ResponseStarted):
        bench.loop.step()
    while bench.dialogue("asking").running[0].phase is Phase.PREFILL:
        before = bench.dialogue("listening").sequence.computed
        waiting = bench.dialogue("asking").sequence.uncomputed
        bench.loop.step()
        assert bench.dialogue("listening").sequence.computed - before <= max(0, 32 - waiting)
    with counted(parts) as work:
        bench.loop.step()
    assert work.forwards == [32], "one decode, and 31 ids of the turn that is still spoken"
