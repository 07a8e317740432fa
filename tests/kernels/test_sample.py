"""Sampling against a plain float64 oracle, Philox against its published answers."""

import numpy as np
import pytest
import torch

from antiphon.kernels.checks import KernelArgumentError
from antiphon.kernels.sample import sample
from antiphon.kernels.sample.philox import philox_4x32, uniform

VOCAB = 300


def _draw(
    logits: torch.Tensor, temperature: float, top_k: int, top_p: float, seeds: list[int], steps: list[int]
) -> list[int]:
    """One draw a row, all with the same settings."""
    rows = len(logits)
    ids: list[int] = sample(
        logits,
        torch.full((rows,), temperature),
        torch.full((rows,), top_k, dtype=torch.int32),
        torch.full((rows,), top_p),
        torch.tensor(seeds),
        torch.tensor(steps),
    ).tolist()
    return ids


def _oracle(logits: np.ndarray, temperature: float, top_k: int, top_p: float, u: float) -> int:
    """One id, by the words of the operation's description."""
    if temperature == 0:
        return int(np.argmax(logits))
    scores = logits.astype(np.float64) / np.float64(np.float32(temperature))
    kept = np.ones(len(scores), bool)
    if top_k:
        kept &= scores >= np.sort(scores)[::-1][min(top_k, len(scores)) - 1]
    weights = np.where(kept, np.exp(scores - scores.max()), 0)
    weights /= weights.sum()
    if top_p < 1:
        nucleus, total = [], 0.0
        for token in sorted(range(len(weights)), key=lambda token: (-weights[token], token)):
            if total >= np.float32(top_p):
                break
            nucleus.append(token)
            total += weights[token]
        kept &= np.isin(np.arange(len(weights)), nucleus)
    weights = np.where(kept, weights, 0)
    total = 0.0
    for token in np.flatnonzero(kept):
        total += weights[token]
        if total > u * weights.sum():
            return int(token)
    raise AssertionError("unreachable: u < 1")


# kat_vectors of DEShawResearch/random123: counter, key, answer.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter: str, key: str, answer: str) -> None:
    c0, c1, c2, c3 = (torch.tensor(int(word, 16)) for word in counter.split())
    k0, k1 = (torch.tensor(int(word, 16)) for word in key.split())
    assert " ".join(f"{int(word):08x}" for word in philox_4x32((c0, c1, c2, c3), (k0, k1))) == answer


def test_the_draw_is_keyed_by_the_whole_seed_and_the_whole_step() -> None:
    seeds = torch.tensor([0, 1, 2**32, 0, 0, 2**63 - 1])
    steps = torch.tensor([0, 0, 0, 1, 2**32, 0])
    draws = uniform(seeds, steps)
    assert float(draws[0]) == 0x6627E8D5 / 2**32
    assert len(set(draws.tolist())) == len(draws)
    assert bool(((draws >= 0) & (draws < 1)).all())


@pytest.mark.parametrize("temperature", [0.0, 0.2, 1.0, 5.0])
@pytest.mark.parametrize("top_k", [0, 1, 7, 10_000])
@pytest.mark.parametrize("top_p", [1.0, 0.8, 1e-6])
def test_equals_the_oracle(temperature: float, top_k: int, top_p: float) -> None:
    logits = torch.randn(20, VOCAB, generator=torch.Generator().manual_seed(3)) * 2
    logits[:, 5] = logits[:, 9] = logits.max(1).values  # the highest twice
    seeds, steps = list(range(20)), list(range(100, 120))
    draws = uniform(torch.tensor(seeds), torch.tensor(steps)).tolist()
    expected = [_oracle(row.numpy(), temperature, top_k, top_p, u) for row, u in zip(logits, draws, strict=True)]
    assert _draw(logits, temperature, top_k, top_p, seeds, steps) == expected


@pytest.mark.parametrize("spread", [0.0, 0.01, 4.0])  # nuclei of 2,400 equal ids, of more than a thousand, of a few
def test_a_large_vocabulary_equals_the_oracle(spread: float) -> None:
    logits = torch.randn(4, 3_000, generator=torch.Generator().manual_seed(5)) * spread
    draws = uniform(torch.arange(4), torch.arange(4)).tolist()
    expected = [_oracle(row.numpy(), 1.0, 0, 0.8, u) for row, u in zip(logits, draws, strict=True)]
    assert _draw(logits, 1.0, 0, 0.8, [0, 1, 2, 3], [0, 1, 2, 3]) == expected


def test_rows_with_their_own_settings_equal_each_row_alone() -> None:
    logits = torch.randn(6, VOCAB, generator=torch.Generator().manual_seed(4))
    columns = (
        torch.tensor([0.0, 1.0, 0.2, 3.0, 1.0, 0.0]),
        torch.tensor([0, 0, 50, 3, 0, 2], dtype=torch.int32),
        torch.tensor([1.0, 0.8, 0.8, 1.0, 1.0, 0.1]),
        torch.tensor([1, 2, 3, 4, 5, 6]),
        torch.tensor([0, 9, 8, 7, 6, 5]),
    )
    alone = [sample(logits[r : r + 1], *(column[r : r + 1] for column in columns)) for r in range(6)]
    assert torch.equal(sample(logits, *columns), torch.cat(alone))


def test_ids_come_as_often_as_they_are_probable() -> None:
    probabilities = torch.tensor([0.5, 0.05, 0.3, 0.15])
    draws = 4_000
    ids = _draw(probabilities.log().expand(draws, 4), 1.0, 0, 1.0, [7] * draws, list(range(draws)))
    expected = probabilities.numpy() * draws
    chi_square = ((np.bincount(ids, minlength=4) - expected) ** 2 / expected).sum()
    assert chi_square < 16.3  # three degrees of freedom: 0.1 % of fair draws exceed it, and this one is always the same


def test_logits_in_another_dtype_are_refused() -> None:
    with pytest.raises(KernelArgumentError, match=r"logits is torch\.bfloat16; expected torch\.float32"):
        _draw(torch.zeros(1, 4, dtype=torch.bfloat16), 0.0, 0, 1.0, [0], [0])
