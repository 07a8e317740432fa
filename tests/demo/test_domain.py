"""What the demo talks about, and that what is held out is held out."""

import re

import numpy as np
import pytest

from demo.recipe import domain
from demo.recipe.data import plan_assistant, plan_tests, plan_users
from demo.recipe.numbers import english, mandarin
from demo.recipe.scales import FULL, SMOKE
from demo.recipe.sequences import training_texts
from demo.recipe.voices import LANGUAGES, variants


def test_numbers_in_words() -> None:
    assert [english(n) for n in (0, 13, 20, 41, 99)] == ["zero", "thirteen", "twenty", "forty one", "ninety nine"]
    assert [mandarin(n) for n in (0, 10, 13, 20, 41)] == ["零", "十", "十三", "二十", "四十一"]


def test_answers_are_right() -> None:
    by_question = {exchange.question: exchange.answer for exchange in domain.known_exchanges()}
    assert by_question["what day comes before monday"] == "before monday comes sunday"
    assert by_question["count to three"] == "one two three"
    assert by_question["spell cat"] == "C A T"
    assert domain.spoken_form("C A T") == "see ay tee"
    assert domain.spoken_form("a lemon") == "a lemon"
    for exchange in (*domain.sums("en", False), *domain.sums("en", True)):
        first, rest = exchange.answer.split(" plus ")
        second, total = rest.split(" is ")
        words = {english(n): n for n in range(100)}
        assert words[first] + words[second] == words[total] == exchange.total
    more, again, less = domain.follow_up(7, "en")
    assert more.answer == again.answer == "seven plus one is eight"
    assert less.answer == "seven minus one is six"


def test_no_question_has_two_answers() -> None:
    known = domain.known_exchanges()
    assert len({exchange.question for exchange in known}) == len(known)


def test_a_sum_is_held_out_in_both_orders_and_everywhere() -> None:
    assert domain.is_held_out(3, 5, "en") == domain.is_held_out(5, 3, "en")
    held_out = {e.answer for language in LANGUAGES for e in domain.sums(language, held_out=True)}
    asked = {e.question for language in LANGUAGES for e in domain.sums(language, held_out=True)}
    assert len(asked) >= 200
    users, spoken = plan_users(FULL, 0), plan_assistant(FULL, 0)
    texts = [one.line.text for one in users] + [line.text for line in spoken]
    texts += [one.exchange.answer for one in users if one.exchange is not None]
    assert not held_out & set(texts)
    assert not asked & set(texts)
    # Nor inside anything longer that is seen in writing, by whole words ("twenty three plus five" is another sum).
    written = " | ".join([*texts, *training_texts(3_000, np.random.default_rng(0))])
    sides = {answer.rsplit(" is ", 1)[0] for answer in held_out if " is " in answer}
    found = set(re.findall(r"(?<!ty )\b((?:\w+teen|\w+) plus \w+)(?= is |\n| \|)", written))
    assert "three plus one" in found
    assert not sides & found


def test_test_voices_are_heard_in_no_training() -> None:
    assert not set(variants(held_out=True)) & set(variants(held_out=False))
    held_out = {one.line.speaker.voice.split("+")[1] for one in plan_tests(SMOKE, 0)["voices"]}
    trained = {one.line.speaker.voice.split("+")[1] for one in plan_users(SMOKE, 0)}
    assert held_out <= set(variants(held_out=True))
    assert not held_out & trained


@pytest.mark.parametrize("plan", [plan_users, plan_assistant])
def test_a_seed_fixes_the_plan(plan) -> None:  # type: ignore[no-untyped-def]
    assert plan(SMOKE, 1) == plan(SMOKE, 1)
    assert plan(SMOKE, 1) != plan(SMOKE, 2)
