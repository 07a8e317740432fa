"""Short names for what ids mean: equal names, equal meaning."""

from hashlib import sha256
from typing import Final

import torch

from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.think.vocab import Vocabulary

_DIGITS: Final = 12


def codec_id(tokenizer: SpeechTokenizer) -> str:
    """Of a speech tokenizer's codes, after the vectors of its codebook: "vq-16384-…"."""
    vectors = tokenizer.encoder.codebook.weight.detach().to("cpu", torch.float32).contiguous()
    return f"vq-{tokenizer.config.codebook_size}-{sha256(vectors.numpy().tobytes()).hexdigest()[:_DIGITS]}"


def vocabulary_id(vocabulary: Vocabulary) -> str:
    """Of a language model's ids, after what each of them stands for: "lm-168376-…"."""
    return f"lm-{vocabulary.size}-{vocabulary.fingerprint()[:_DIGITS]}"
