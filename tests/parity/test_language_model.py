"""The language model equals the official one on the parity data (tests/parity/data/README.md, section 2)."""

import json
from typing import Any

import numpy as np
import pytest
from compare import assert_close
from goldens import golden
from tolerances import TOLERANCE

from antiphon import LanguageModel

PROMPTS: dict[str, dict[str, Any]] = json.loads(golden("lm/expected.json").read_text())["prompts"]
ENCODINGS: list[dict[str, Any]] = json.loads(golden("lm/tokenizer_meta.json").read_text())["encode_tests"]
FIRST_SPEECH_ID, LAST_SPEECH_ID = 448, 959


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return LanguageModel.load(golden("lm"))


@pytest.mark.parametrize("name", PROMPTS)
def test_logits(lm: LanguageModel, name: str) -> None:
    prompt = PROMPTS[name]["prompt"]
    with np.load(golden("lm/expected_logits.npz")) as expected:
        last = expected[name]  # every position; of random_long the last 64
    logits = lm.logits(prompt)
    assert logits.dtype == np.float32 and len(logits) == len(prompt)
    assert_close(logits[-len(last) :], last, TOLERANCE["logits"])


@pytest.mark.parametrize("name", ["short_text", "web_demo_audio"])
def test_logits_of_the_continuation(lm: LanguageModel, name: str) -> None:
    prompt, answer = PROMPTS[name]["prompt"], PROMPTS[name]["greedy64"]
    with np.load(golden("lm/expected_logits.npz")) as expected:
        assert_close(lm.logits(prompt + answer[:-1])[-64:], expected[f"{name}/continuation"], TOLERANCE["logits"])


@pytest.mark.parametrize("name", PROMPTS)
def test_greedy_ids(lm: LanguageModel, name: str) -> None:
    prompt = PROMPTS[name]["prompt"]
    assert lm.generate(prompt, max_new_tokens=64, ignore_eos=True) == PROMPTS[name]["greedy64"]


def test_greedy_ids_in_one_batch(lm: LanguageModel) -> None:
    answers = lm.generate_batch([case["prompt"] for case in PROMPTS.values()], max_new_tokens=64, ignore_eos=True)
    assert answers == [case["greedy64"] for case in PROMPTS.values()]


@pytest.mark.parametrize("case", ENCODINGS, ids=lambda case: case["text"][:20])
def test_text(lm: LanguageModel, case: dict[str, Any]) -> None:
    assert lm.encode_text(case["text"]) == case["ids"]
    assert lm.decode_text(case["ids"]) == case["decoded"]


def test_a_speech_turn_is_the_official_prompt(lm: LanguageModel) -> None:
    prompt = PROMPTS["web_demo_audio"]["prompt"]
    codes = [token - FIRST_SPEECH_ID for token in prompt if FIRST_SPEECH_ID <= token <= LAST_SPEECH_ID]
    assert lm.chat_prompt([codes]) == prompt


def test_a_text_turn_is_the_official_prompt(lm: LanguageModel) -> None:
    assert lm.chat_prompt(["Tell me a joke about cats."]) == PROMPTS["web_demo_text"]["prompt"]
