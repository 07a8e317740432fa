"""The official code's smallest outputs, on our kernels in Triton's interpreter: the goldens hold on either backend."""

import json

import numpy as np
import torch
from compare import assert_close
from goldens import golden
from interpreter import interpreted
from speech_tokenizers import clip, expected, tokenizer
from tolerances import TOLERANCE

from antiphon import LanguageModel, SpeechDecoder
from antiphon.engine.speak.flow import FlowRequest
from antiphon.engine.speak.noise import EULER_STEPS


def test_the_speech_tokenizer() -> None:
    with interpreted():
        ids = tokenizer(20).encode(*clip("short_0p3s"))
    assert ids == expected(20)["clips"]["short_0p3s"]["ids"]


def test_the_language_model() -> None:
    lm = LanguageModel.load(golden("lm"))
    prompt = json.loads(golden("lm/expected.json").read_text())["prompts"]["short_text"]["prompt"]
    with np.load(golden("lm/expected_logits.npz")) as logits:
        wanted = logits["short_text"]
    with interpreted():
        actual = lm.logits(prompt)
    assert_close(actual, wanted, TOLERANCE["logits"])


def test_the_speech_decoder() -> None:
    """With a card's tiles, and of the Euler steps the last: all launch the same kernels, and its dt is the largest.

    It moves the mel by that share of what all of them would, and so the tolerance is that share of theirs.
    """
    decoder = SpeechDecoder.load(golden("decoder"))
    flow = decoder.flow
    with np.load(golden("decoder/oneshot.npz")) as arrays:
        token, mel, f0, source, wave = (arrays[f"n1/{name}"] for name in ("token", "mel", "f0", "source", "wave"))
    with interpreted("sm_90"):
        [solve] = flow.start([FlowRequest(token.tolist())])
    with torch.inference_mode():
        while solve.step < EULER_STEPS - 1:
            [solve] = flow.step([solve])
    with interpreted("sm_90"):
        [solve] = flow.step([solve])
        assert_close(solve.mel, mel, TOLERANCE["mel"] * flow.step_sizes[-1], "mel")
        assert_close(decoder.f0(mel), f0, TOLERANCE["f0"], "F0")
        assert_close(decoder.vocode(mel, source), wave, TOLERANCE["wave-from-mel"], "wave")
