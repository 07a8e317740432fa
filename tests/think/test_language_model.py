"""The face of the language model, beyond the parity with the official one (tests/parity)."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from compare import assert_close
from goldens import golden
from tolerances import TOLERANCE

from antiphon.engine.errors import ContextOverflowError, InputError, TextFilesMissingError, TokenError
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.runner import LMRunner, generate
from antiphon.engine.think.sampling import SamplingParams
from antiphon.scheduler.settings import Settings

PROMPTS = [[372], [370, 372, 375, 10, 72], list(range(0, 300, 3)), [5] * 17]
DRAWN = {"temperature": 1.0, "top_p": 0.9, "top_k": 50, "max_new_tokens": 24, "ignore_eos": True}


@pytest.mark.parametrize("settings", [{"max_new_tokens": 24}, {**DRAWN, "seed": 11}])
def test_a_batch_equals_its_prompts_alone(lm: LanguageModel, settings: dict[str, float]) -> None:
    alone = [lm.generate(prompt, **settings) for prompt in PROMPTS]
    assert lm.generate_batch(PROMPTS, **settings) == alone
    assert lm.generate_batch(PROMPTS[::-1], **settings) == alone[::-1]


def test_a_small_budget_of_rows_changes_no_answer(lm: LanguageModel) -> None:
    requests = [(prompt, SamplingParams(temperature=1.0, seed=10 + index)) for index, prompt in enumerate(PROMPTS)]
    answers = []
    for budget in (3, 2_048):
        runner = LMRunner(lm.model, Settings(n_pages=16, max_tokens=budget))
        answers.append(generate(runner, requests, lm.config.stop_ids))
        assert runner.scheduler.free_pages == 16
    assert answers[0] == answers[1]


def test_without_a_seed_every_answer_is_drawn_afresh(lm: LanguageModel) -> None:
    first, second = lm.generate_batch([PROMPTS[1]] * 2, **DRAWN)
    assert first != second
    assert lm.generate(PROMPTS[1], **DRAWN, seed=3) == lm.generate(PROMPTS[1], **DRAWN, seed=3)


def test_a_stop_id_ends_the_answer_and_is_its_last(lm: LanguageModel) -> None:
    for seed in range(20):
        settings = {"max_new_tokens": 400, "temperature": 3.0, "seed": seed}
        answer = lm.generate(PROMPTS[1], **settings)
        if answer[-1] in lm.config.stop_ids:
            break
    assert len(answer) < 400
    assert not set(answer[:-1]) & set(lm.config.stop_ids)
    assert lm.generate(PROMPTS[1], **settings, ignore_eos=True)[: len(answer)] == answer


def test_the_answer_ends_where_the_context_does(lm: LanguageModel) -> None:
    prompt = [5] * (lm.config.context - 3)
    assert len(lm.generate(prompt, ignore_eos=True)) == 3


def test_arrays_and_tensors_are_prompts_too(lm: LanguageModel) -> None:
    expected = lm.generate(PROMPTS[1], max_new_tokens=2)
    assert lm.generate(np.array(PROMPTS[1]), max_new_tokens=2) == expected
    assert lm.generate(torch.tensor(PROMPTS[1]), max_new_tokens=2) == expected
    assert lm.generate_batch([]) == []


def test_input_that_cannot_be_used_is_refused_and_the_model_goes_on(lm: LanguageModel) -> None:
    healthy = lm.generate(PROMPTS[1])
    for ids, error, sentence in (
        ([], TokenError, "prompt 0 has no ids"),
        ([1, 1024], TokenError, "prompt 0: id 1024 at position 1 is outside 0 to 1023"),
        ([-1], TokenError, "prompt 0: id -1 at position 0"),
        (["a"], TokenError, "prompt 0 holds something that is not an integer"),
        ([5] * 8193, ContextOverflowError, "prompt 0 has 8193 ids; expected at most the model's context of 8192"),
        ([5] * 8192, ContextOverflowError, "the prompt has 8192 ids and fills the model's context of 8192"),
    ):
        with pytest.raises(error, match=sentence):
            lm.generate(ids)
    with pytest.raises(ContextOverflowError, match="ids has 8193 ids"):
        lm.logits([5] * 8193)
    with pytest.raises(InputError, match="top_p is 2; expected"):
        lm.generate([5], top_p=2)
    assert lm.generate(PROMPTS[1]) == healthy


def test_without_the_text_files_the_weights_still_serve(lm: LanguageModel, tmp_path: Path) -> None:
    shutil.copytree(golden("lm"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer.model").unlink()
    bare = LanguageModel.load(tmp_path)
    assert bare.generate(PROMPTS[1]) == lm.generate(PROMPTS[1])
    for function, argument in ((bare.encode_text, "a"), (bare.decode_text, [5]), (bare.chat_prompt, ["a"])):
        with pytest.raises(TextFilesMissingError, match=r"tokenizer\.model is missing"):
            function(argument)


def test_bfloat16_stays_as_near_as_the_official_model(lm: LanguageModel) -> None:
    rounded = LanguageModel.load(golden("lm"), dtype="bfloat16")
    prompt = PROMPTS[2]
    assert_close(rounded.logits(prompt), lm.logits(prompt), TOLERANCE["logits-bfloat16"])
    answer = rounded.generate(prompt, temperature=0.5, seed=1, max_new_tokens=24)
    assert rounded.generate_batch([PROMPTS[0], prompt], temperature=0.5, seed=1, max_new_tokens=24)[1] == answer
