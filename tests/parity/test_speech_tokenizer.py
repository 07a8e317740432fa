"""The speech tokenizer against the official code, through the public face alone."""

import numpy as np
import pytest
from compare import assert_close
from goldens import golden
from speech_tokenizers import BLOCKS, CLIPS, clip, expected, tokenizer
from tolerances import TOLERANCE


def test_every_golden_clip_is_tested() -> None:
    assert all(sorted(CLIPS) == sorted(expected(block)["clips"]) for block in BLOCKS)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", CLIPS)
def test_ids_and_hidden_of_a_clip(block: int, name: str) -> None:
    pcm, rate = clip(name)
    assert tokenizer(block).encode(pcm, rate) == expected(block)["clips"][name]["ids"]
    with np.load(golden(f"speech_tokenizer/block{block}/expected_hidden.npz")) as hidden:
        assert_close(tokenizer(block).hidden(pcm, rate), hidden[f"{name}/hidden"], TOLERANCE["tokenizer-hidden"], name)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("index", [0, 1])
def test_ids_and_hidden_of_a_batch(block: int, index: int) -> None:
    batches = expected(block)["batches"]
    assert len(batches) == 2
    clips = [clip(name) for name in batches[index]["clips"]]
    assert tokenizer(block).encode_batch(clips) == batches[index]["ids"]
    joined = np.concatenate([tokenizer(block).hidden(pcm, rate) for pcm, rate in clips])
    with np.load(golden(f"speech_tokenizer/block{block}/expected_hidden.npz")) as hidden:
        assert_close(joined, hidden[f"batch{index}/hidden"], TOLERANCE["tokenizer-hidden"])


@pytest.mark.parametrize(
    "name", ["en_speech", "short_0p3s", "one_sample", "silence", "exact_multiple", "multiple_plus1"]
)
def test_log_mel(name: str) -> None:
    [features] = tokenizer(200).features(*clip(name))
    with np.load(golden("speech_tokenizer/logmel.npz")) as logmel:
        official, mask = logmel[f"{name}/input_features"][0], logmel[f"{name}/attention_mask"][0]
    assert features.shape == (official.shape[0], mask.size)
    stored = official.shape[1]  # of `silence` only the first frames, all alike
    assert_close(features[:, :stored], official, TOLERANCE["log-mel"], name)
    assert np.array_equal(features[:, stored:], np.broadcast_to(official[:, -1:], features[:, stored:].shape))


def test_a_long_clip_has_the_log_mel_of_each_segment() -> None:
    features = tokenizer(200).features(*clip("long_two_segments"))
    assert [segment.shape for segment in features] == [(128, 3_000), (128, 3_000)]
