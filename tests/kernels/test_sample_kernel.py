"""Sampling's kernel in the interpreter, against its reference: the same id, to the last row.

The interpreter's tiles take 16 logits and send four of them on.
"""

import pytest
import torch
from interpreter import among_nans, interpreted

from antiphon.kernels.sample import sample
from antiphon.kernels.sample.reference import sample as reference

Settings = list[tuple[float, int, float]]  # temperature, top-k, top-p
EVERY_WAY: Settings = [
    (0.0, 0, 1.0),
    (0.0, 3, 0.5),
    (1.0, 0, 1.0),
    (1.0, 10_000, 1.0),
    (0.2, 0, 0.8),
    (1.0, 0, 1e-6),
    (1.0, 0, 0.5),
    (5.0, 0, 0.95),
    (5.0, 1, 1.0),
    (1.0, 4, 1.0),
    (2.0, 7, 0.8),
    (5.0, 40, 0.9),
]


def _columns(settings: Settings, first_seed: int = 0, first_step: int = 100) -> list[torch.Tensor]:
    temperature, top_k, top_p = zip(*settings, strict=True)
    rows = torch.arange(len(settings))
    return [
        torch.tensor(temperature),
        torch.tensor(top_k, dtype=torch.int32),
        torch.tensor(top_p),
        first_seed + rows,
        first_step + rows,
    ]


def _random(rows: int, vocab: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed))


def _undecided(logits: torch.Tensor, columns: list[torch.Tensor]) -> list[int]:
    from antiphon.kernels.sample.kernel import choose

    with interpreted():
        undecided: list[int] = choose(logits, *columns)[1].tolist()
        return undecided


def _assert_as_reference(logits: torch.Tensor, columns: list[torch.Tensor]) -> None:
    with interpreted():
        ids = sample(logits, *columns)
    assert ids.tolist() == reference(logits, *columns).tolist()


@pytest.mark.parametrize("vocab", [1, 15, 16, 17, 130])
def test_equals_the_reference_whatever_is_asked(vocab: int) -> None:
    logits = _random(len(EVERY_WAY), vocab)
    if vocab > 9:
        logits[:, 5] = logits[:, 9] = logits.max(1).values  # the highest twice
    _assert_as_reference(logits, _columns(EVERY_WAY))


def test_seeds_and_steps_beyond_32_bits() -> None:
    logits = _random(1, 40).expand(4, 40)
    _assert_as_reference(logits, _columns([(3.0, 0, 1.0)] * 4, first_seed=2**63 - 5, first_step=2**32 - 2))


def test_a_nucleus_larger_than_its_candidates_is_searched_whole() -> None:
    flat, peaked = _random(4, 130) * 0.01, _random(4, 130)
    flat[3] = 1.0  # 130 equal ids, of which top-p keeps the first
    columns = _columns([(1.0, 0, 0.8), (1.0, 25, 1.0), (1.0, 60, 0.3), (1.0, 0, 0.8)])
    _assert_as_reference(flat, columns)
    assert _undecided(flat, columns) == [1, 1, 1, 1]
    assert _undecided(peaked, _columns([(0.2, 0, 0.8), (0.2, 3, 1.0), (1.0, 0, 1.0), (0.0, 0, 1.0)])) == [0, 0, 0, 0]


def test_of_equal_logits_as_many_are_kept_as_reach_top_p() -> None:
    logits, columns = torch.ones(6, 70), _columns([(1.0, 0, 0.777)] * 6)  # 54.39 of 70: 55
    _assert_as_reference(logits, columns)
    assert _undecided(logits, columns) == [1] * 6


def test_logits_one_ulp_apart_and_equal_ones() -> None:
    logits = torch.full((4, 48), -9.0)
    one = torch.tensor(3.0)
    logits[:, [2, 20, 21, 40]] = one
    logits[:, [7, 33]] = torch.nextafter(one, torch.tensor(4.0))
    _assert_as_reference(logits, _columns([(0.0, 0, 1.0), (1.0, 2, 1.0), (1.0, 0, 0.4), (1.0, 3, 0.9)]))


def test_infinities_and_rows_that_are_not_numbers_stay_in_their_rows() -> None:
    logits = _random(6, 50)
    logits[1, 7] = torch.nan
    logits[2, :40] = -torch.inf  # whole tiles are forbidden
    logits[3] = -torch.inf
    logits[4, 30] = torch.nan
    columns = _columns([(1.0, 0, 0.8), (1.0, 0, 0.8), (1.0, 20, 0.99), (1.0, 0, 0.9), (0.0, 0, 1.0), (1.0, 5, 1.0)])
    _assert_as_reference(logits, columns)


def test_a_batch_equals_its_rows_in_any_order_and_nothing_else_is_read() -> None:
    logits, columns = _random(len(EVERY_WAY), 70, seed=1), _columns(EVERY_WAY)
    with interpreted():
        together = sample(among_nans(logits), *map(among_nans, columns))
        turned = sample(logits.flip(0), *(column.flip(0) for column in columns))
        alone = [int(sample(logits[r : r + 1], *(column[r : r + 1] for column in columns))) for r in range(4, 8)]
    assert torch.equal(turned.flip(0), together)
    assert together.tolist()[4:8] == alone
