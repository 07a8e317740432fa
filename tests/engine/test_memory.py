"""Who holds which KV: past turns stay, idle ones give way, what was given up is rebuilt, and ids once said stand."""

import pytest
from loops import Bench, Parts, tiny_parts

import antiphon
from antiphon.engine.dialogue import Dialogue
from antiphon.engine.messages import CloseDialogue, OpenDialogue
from antiphon.events import ResponseCompleted
from antiphon.scheduler.settings import pages_for

PAGE = 16
IDS = 60  # of an answer
TEXT = "this is caller {}"


@pytest.fixture(scope="module")
def parts() -> Parts:
    return tiny_parts()


@pytest.fixture(scope="module")
def pages_of_one(parts: Parts) -> int:
    """Pages of a dialogue after its first turn."""
    return pages_for(len(parts[1].chat_prompt([TEXT.format("a")])) + IDS, PAGE)


def bench_of(parts: Parts, pages: int) -> Bench:
    return Bench(parts, antiphon.EngineConfig(kv_tokens=pages * PAGE, page_size=PAGE))


def ask(bench: Bench, name: str) -> ResponseCompleted:
    bench.clock.advance(1.0)
    bench.open(name, IDS, temperature=0.0)
    return bench.answer(name, TEXT.format(name))


def test_the_kv_of_past_turns_stays_with_its_dialogue(parts: Parts, pages_of_one: int) -> None:
    bench = bench_of(parts, 10 * pages_of_one)
    ask(bench, "a")
    past = len(bench.dialogue("a").sequence.ids)
    ask(bench, "b")
    usage = bench.answer("a", "and then?", turn=1).usage
    assert usage.cached_input_tokens >= past - 1, "all but the last id, which was never computed"
    assert usage.cached_input_tokens + usage.input_tokens == past + len(parts[1].chat_prompt(["and then?"])) - system(
        parts
    )


def system(parts: Parts) -> int:
    """Ids of the system prompt."""
    texts = [len(parts[1].chat_prompt(turns)) for turns in (["a"], ["a", [], "a"])]
    return 2 * texts[0] - texts[1]


def test_instructions_are_computed_once_for_a_tenant_and_stay_under_pressure(parts: Parts) -> None:
    instructions = "You are the voice of a railway. " * 8
    bench = bench_of(parts, pages_for(parts[1].config.context, PAGE) + 100)

    def asked(name: str, tenant: str) -> ResponseCompleted:
        sampling = antiphon.SamplingParams(temperature=0.0, max_new_tokens=8)
        bench.loop.submit(
            OpenDialogue(name, antiphon.SessionConfig(sampling=sampling, instructions=instructions, tenant=tenant))
        )
        return bench.answer(name, "when does it leave?")

    first, second, other = asked("a", "one"), asked("b", "one"), asked("c", "two")
    shared = second.usage.cached_input_tokens
    assert shared > 0 == shared % PAGE and first.usage.cached_input_tokens == 0
    assert other.usage.cached_input_tokens == 0, "of another tenant's it learns nothing"
    assert first.history == second.history == other.history
    a, b, c = (bench.dialogue(name).sequence for name in "abc")
    pages = shared // PAGE
    assert list(a.pages[:pages]) == list(b.pages[:pages]) and not set(c.pages) & set(a.pages)
    bench.loop._scheduler.drop(a.number)
    assert a.computed == shared, "pinned pages are not given up"
    bench.loop.submit(CloseDialogue("a"))
    bench.run()
    assert asked("d", "one").usage.cached_input_tokens == shared, "whoever computed them may go"
    for name in "bcd":
        bench.loop.submit(CloseDialogue(name))
    bench.run()
    assert bench.loop.stats.free_pages == bench.loop.stats.total_pages


def test_the_longest_idle_gives_way_and_is_rebuilt_from_its_ids(parts: Parts, pages_of_one: int) -> None:
    small, large = bench_of(parts, 2 * pages_of_one + 1), bench_of(parts, 10 * pages_of_one)
    for bench in (small, large):
        for name in ("a", "b", "c"):
            ask(bench, name)
    assert small.dialogue("a").sequence.computed == 0, "its KV went to c"
    assert small.dialogue("b").sequence.computed == large.dialogue("b").sequence.computed > 0
    again, expected = (bench.answer("a", "and then?", turn=1) for bench in (small, large))
    assert again.history == expected.history, "from its ids it answers as if nothing had happened"
    assert again.usage.cached_input_tokens == 0 < expected.usage.cached_input_tokens


def test_at_the_smallest_pool_all_is_answered_and_what_was_said_stands(
    parts: Parts, pages_of_one: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a", "b", "c")
    preempted: list[tuple[str, list[int]]] = []
    original = Dialogue.kv_was_dropped

    def noted(dialogue: Dialogue) -> None:
        if dialogue.answering is not None and (ids := dialogue.running[1].ids):
            preempted.append((dialogue.name, list(ids)))
        original(dialogue)

    monkeypatch.setattr(Dialogue, "kv_was_dropped", noted)
    small, large = bench_of(parts, pages_of_one), bench_of(parts, 10 * pages_of_one)
    for bench in (small, large):
        for name in names:
            bench.open(name, IDS, temperature=0.0)
            bench.write(name, TEXT.format(name))
        bench.run()
    answers = {}
    for name in names:
        (completed,), (expected,) = (bench.events(name, ResponseCompleted) for bench in (small, large))
        assert completed.failure is None and completed.history == expected.history
        answers[name] = list(completed.history[1].ids or ())
    assert preempted, "answers under way have lost their KV"
    for name, ids in preempted:
        assert answers[name][: len(ids)] == ids
    assert small.loop.stats.lm_batches > large.loop.stats.lm_batches, "slowly"
