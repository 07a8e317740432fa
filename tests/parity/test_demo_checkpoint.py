"""The demo's checkpoint gives what the official code gives on it (benchmarks/official/freeze.py wrote the data)."""

import numpy as np
import pytest
from compare import assert_close
from goldens import golden
from tolerances import TOLERANCE

import antiphon
from antiphon.engine.hear.codec import read_audio
from demo.judge import sets
from demo.talk import CHECKPOINT

QUESTIONS = range(3)


@pytest.fixture(scope="module")
def engine() -> antiphon.Engine:
    return antiphon.Engine.load(CHECKPOINT, "cpu")


def _official(question: int) -> dict[str, np.ndarray]:
    with np.load(golden("demo/outputs.npz")) as arrays:
        return {name.partition("/")[2]: arrays[name] for name in arrays if name.startswith(f"{question}/")}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_heard_in_the_same_codes(engine: antiphon.Engine, question: int) -> None:
    path, _ = sets.listed()[question]
    pcm, rate = read_audio(path)
    assert engine.tokenizer.encode(pcm, rate) == _official(question)["codes"].tolist()


@pytest.mark.parametrize("question", QUESTIONS)
def test_it_is_answered_in_the_same_ids(engine: antiphon.Engine, question: int) -> None:
    official = _official(question)
    prompt, ids, logits = official["prompt"].tolist(), official["ids"].tolist(), official["logits"]
    assert engine.lm.chat_prompt([official["codes"].tolist()]) == prompt
    assert engine.lm.generate(prompt, max_new_tokens=200) == ids
    assert_close(engine.lm.logits(prompt + ids[:-1])[-len(logits) :], logits, TOLERANCE["logits"])


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_sounds_the_same(engine: antiphon.Engine, question: int) -> None:
    official, decoder = _official(question), engine.decoder
    first = engine.lm.vocabulary.speech_id(0)
    mel = decoder.mel([token - first for token in official["ids"].tolist() if token >= first])
    assert_close(mel, official["mel"], TOLERANCE["mel"], "mel")
    assert_close(decoder.f0(official["mel"]), official["f0"], TOLERANCE["f0"], "F0")
    wave = decoder.vocode(official["mel"], official["source"])
    assert_close(wave, official["wave"], TOLERANCE["wave-from-mel"], "wave")
