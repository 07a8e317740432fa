"""Dialogues that outgrow the model: the oldest turns go, an event says so, and all goes on."""

import pytest
from loops import Bench, Parts, tiny_parts

import antiphon
from antiphon.engine.history import HistoryItem
from antiphon.events import FinishReason, ResponseStarted, TextDelta, TurnsForgotten

CONTEXT = 768  # ids, by the pool


@pytest.fixture(scope="module")
def parts() -> Parts:
    return tiny_parts()


def test_a_long_dialogue_goes_on_as_one_that_began_where_its_memory_does(parts: Parts) -> None:
    bench = Bench(parts, antiphon.EngineConfig(kv_tokens=CONTEXT, page_size=16))
    bench.open("caller", max_new_tokens=60, temperature=0.0)
    remembered: list[HistoryItem] = []
    n_cuts = 0
    for turn in range(60):
        text = f"question number {turn}, and a few words more"
        completed = bench.answer("caller", text, turn)
        assert completed.failure is None and completed.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
        cuts = bench.events("caller", TurnsForgotten)[n_cuts:]
        if cuts:
            (cut,) = cuts
            assert cut.response_id == completed.response_id and cut.turns > 0
            del remembered[: 2 * cut.turns]
            assert len(remembered) == 2 * cut.turns_left, "the event says how many went, and how many are left"
            fresh = Bench(parts)
            fresh.open("fresh", max_new_tokens=60, temperature=0.0, history=remembered)
            assert fresh.answer("fresh", text).history == completed.history
            prompt = parts[1].chat_prompt([*remembered, text])
            assert len(prompt) <= CONTEXT // 2, "half is free, so that it is rare"
            assert 0 < completed.usage.cached_input_tokens < completed.usage.input_tokens, "the system prompt stays"
            n_cuts += 1
            if n_cuts == 2:
                break
        else:
            assert completed.usage.cached_input_tokens > completed.usage.input_tokens or turn < 2
        remembered += completed.history
    assert n_cuts == 2
    order = [type(event) for event in bench.events("caller", ResponseStarted | TurnsForgotten | TextDelta)]  # type: ignore[arg-type]
    assert order[order.index(TurnsForgotten) - 1] is ResponseStarted


def test_a_history_that_leaves_no_room_is_cut_at_the_first_turn(parts: Parts) -> None:
    said = [HistoryItem("user", text="all work and no play " * 3), HistoryItem("assistant", text="makes Jack " * 5)]
    lengths = [len(parts[1].chat_prompt([*said * n, "and now?"])) for n in (0, 1)]
    count = (CONTEXT - lengths[0]) // (lengths[1] - lengths[0])
    bench = Bench(parts, antiphon.EngineConfig(kv_tokens=CONTEXT, page_size=16))
    bench.open("caller", max_new_tokens=60, temperature=0.0, history=said * count)
    completed = bench.answer("caller", "and now?")
    (cut,) = bench.events("caller", TurnsForgotten)
    assert cut.turns + cut.turns_left == count and 0 < cut.turns_left < count
    fresh = Bench(parts)
    fresh.open("fresh", max_new_tokens=60, temperature=0.0, history=said * cut.turns_left)
    assert fresh.answer("fresh", "and now?").history == completed.history
