"""The tokenizer's face beyond parity: company, dtypes, layouts, and what it refuses."""

import numpy as np
import pytest
import torch
from tokenizers import clip, tokenizer

from antiphon.engine.errors import AudioError
from antiphon.engine.types import ArrayLike


def test_company_in_a_pack_changes_nothing() -> None:
    names = ["noise", "one_sample", "rate_8000", "zh_speech", "short_0p3s"]
    alone = {name: tokenizer(20).encode(*clip(name)) for name in names}
    for order in (names, names[::-1], names[2:] + names[:2]):
        assert tokenizer(20).encode_batch([clip(name) for name in order]) == [alone[name] for name in order]
    assert tokenizer(20).encode_batch([]) == []


def test_takes_arrays_tensors_and_lists() -> None:
    pcm, rate = clip("short_0p3s")
    ids = tokenizer(20).encode(pcm, rate)
    assert tokenizer(20).encode(torch.from_numpy(pcm[0]), rate) == ids
    assert tokenizer(20).encode(pcm[0].tolist(), rate) == ids
    assert tokenizer(20).encode(pcm[0].astype(np.float64), rate) == ids


@pytest.mark.parametrize(
    ("pcm", "rate", "message"),
    [
        ([], 16_000, "pcm is empty; expected at least one sample"),
        (np.zeros((2, 0)), 16_000, "pcm is empty"),
        (np.zeros((0, 5)), 16_000, r"pcm has no channels: its shape is \[0, 5\]"),
        (np.zeros((1, 2, 3)), 16_000, r"pcm has shape \[1, 2, 3\]; expected \[samples\] or \[channels, samples\]"),
        ([0.0, float("inf")], 16_000, "1 samples that are NaN or infinite, the first at index 1"),
        ([0.0], 0, "sample rate is 0; expected a whole number of Hz from 1 to 384000"),
        ([0.0], 11_025.5, "sample rate is 11025.5"),
    ],
)
def test_refuses_bad_audio(pcm: ArrayLike, rate: int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        tokenizer(20).encode(pcm, rate)
