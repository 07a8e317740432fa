"""The C++ page pool against its Python twin, and what both promise."""

import pickle
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.scheduler import _core, reference
from antiphon.scheduler._core import OutOfPages, PagePool

N_PAGES = 7
# Unknown pages on both sides of the known ones, and numbers named twice, must turn up often.
some_pages = st.lists(st.integers(-2, N_PAGES + 1), max_size=6)
call = st.one_of(
    st.tuples(st.just("allocate"), st.integers(-1, N_PAGES + 1)),
    st.tuples(st.just("retain"), some_pages),
    st.tuples(st.just("release"), some_pages),
    st.tuples(st.just("release"), st.lists(st.integers(0, 2), max_size=4)),
    st.tuples(st.just("references"), st.integers(-2, N_PAGES + 1)),
)


def outcome(act: Callable[[object], object], argument: object) -> tuple[str, object]:
    try:
        return "returned", act(argument)
    except (OutOfPages, ValueError) as error:
        return type(error).__name__, str(error)


def state(pool: PagePool | reference.PagePool) -> tuple[int, int, list[int]]:
    return pool.n_pages, pool.free_pages, [pool.references(page) for page in range(pool.n_pages)]


@settings(max_examples=300, deadline=None)
@given(st.lists(call, max_size=40))
def test_core_equals_its_twin_in_results_messages_and_state(calls: list[tuple[str, object]]) -> None:
    core, twin = PagePool(N_PAGES), reference.PagePool(N_PAGES)
    for name, argument in calls:
        before = state(core)
        said = outcome(getattr(core, name), argument)
        assert said == outcome(getattr(twin, name), argument), (name, argument)
        assert state(core) == state(twin)
        if said[0] != "returned":
            assert state(core) == before, "a refused call changed the pool"
    for page in range(N_PAGES):
        core.release([page] * core.references(page))
    assert state(core) == (N_PAGES, N_PAGES, [0] * N_PAGES)


@pytest.mark.parametrize("n_pages", [0, -3, 2**31])
def test_core_refuses_the_sizes_its_twin_refuses(n_pages: int) -> None:
    with pytest.raises(ValueError, match=str(n_pages)) as core:
        PagePool(n_pages)
    with pytest.raises(ValueError, match=str(n_pages)) as twin:
        reference.PagePool(n_pages)
    assert str(core.value) == str(twin.value)


def test_an_allocation_takes_the_lowest_free_pages_whatever_was_released_when() -> None:
    pool = PagePool(6)
    pool.allocate(6)
    pool.release([4])
    pool.release([1, 5])
    assert pool.allocate(2) == [1, 4]


def test_a_shared_page_is_free_when_its_last_holder_lets_go() -> None:
    pool = PagePool(2)
    [page] = pool.allocate(1)
    pool.retain([page, page])
    pool.release([page])
    pool.release([page])
    assert (pool.references(page), pool.free_pages) == (1, 1)
    pool.release([page])
    assert (pool.references(page), pool.free_pages) == (0, 2)


def test_too_few_pages_says_the_numbers_and_takes_none() -> None:
    pool = PagePool(4)
    pool.allocate(3)
    with pytest.raises(OutOfPages) as caught:
        pool.allocate(2)
    assert (caught.value.asked, caught.value.free, caught.value.total) == (2, 1, 4)
    assert str(caught.value) == "2 pages asked for, 1 of 4 are free"
    assert pool.free_pages == 1
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("wrong", [None, 1.5, "1", 2**70])
def test_what_is_no_page_number_is_refused_and_changes_nothing(wrong: object) -> None:
    pool = PagePool(2)
    pool.allocate(1)
    with pytest.raises(TypeError):
        pool.release([0, wrong])  # type: ignore[list-item]
    assert pool.references(0) == 1


def test_the_engine_and_the_twin_raise_one_class() -> None:
    assert _core.OutOfPages is reference.OutOfPages


def test_a_hundred_thousand_calls_leave_a_full_pool() -> None:
    pool = PagePool(4096)
    held: list[list[int]] = []
    for step in range(100_000):
        if step % 3 != 2 and pool.free_pages >= 8:
            held.append(pool.allocate(8))
        elif held:
            pool.release(held.pop(step % len(held)))
    for taken in held:
        pool.release(taken)
    assert pool.free_pages == 4096
