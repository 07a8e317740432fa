"""Limits: what is let through, what is refused, and that all that was taken comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.clock import VirtualClock
from antiphon.engine.service.quotas import (
    AudioPerMinute,
    OpenLimit,
    Quotas,
    SizeLimit,
    SpeedLimit,
)
from antiphon.engine.service.refusals import QuotaError, Reason


def test_what_is_open_is_limited_by_subject_and_comes_back() -> None:
    limit = OpenLimit(2, Reason.DIALOGUE_QUOTA, "dialogues")
    first = limit.take("key:alice")
    with limit.take("key:alice"), limit.take("key:bob"):
        with pytest.raises(QuotaError, match="2 dialogues are open; the limit is 2") as refusal:
            limit.take("key:alice")
        assert (refusal.value.subject, refusal.value.limit) == ("key:alice", 2)
        assert refusal.value.retry_after == 1.0
    first.release()
    first.release()
    assert (limit.count("key:alice"), limit.count("key:bob")) == (0, 0)
    with limit.take("key:alice"), pytest.raises(ValueError), limit.take("key:alice"):
        raise ValueError
    assert limit.count("key:alice") == 0


def test_without_a_limit_everything_is_open() -> None:
    quotas = Quotas(max_calls=0, max_dialogues_per_key=0, max_audio_per_minute=0, clock=VirtualClock())
    leases = [lease for _ in range(1_000) for lease in (quotas.call(), quotas.dialogue(None))]
    quotas.take_audio(None, 10**9, 8_000)
    for lease in leases:
        lease.release()
    assert (quotas.calls.count("server"), quotas.dialogues.count("everyone")) == (0, 0)


def test_quotas_are_the_servers_or_one_keys() -> None:
    quotas = Quotas(max_calls=3, max_dialogues_per_key=1, max_audio_per_minute=1, clock=VirtualClock())
    calls = [quotas.call() for _ in range(3)]
    with pytest.raises(QuotaError) as refusal:
        quotas.call()
    assert (refusal.value.reason, refusal.value.subject) == (Reason.SERVER_FULL, "server")
    calls[0].release()
    quotas.call().release()

    with quotas.dialogue("alice"), quotas.dialogue("bob"), quotas.dialogue(None):
        with pytest.raises(QuotaError) as refusal:
            quotas.dialogue("bob")
        assert (refusal.value.reason, refusal.value.subject) == (Reason.DIALOGUE_QUOTA, "key:bob")

    quotas.take_audio("alice", 8_000, 8_000)
    quotas.take_audio("bob", 8_000, 8_000)
    with pytest.raises(QuotaError) as refusal:
        quotas.take_audio("alice", 1, 8_000)
    assert (refusal.value.reason, refusal.value.subject) == (Reason.AUDIO_QUOTA, "key:alice")


def test_audio_of_a_minute_comes_back_evenly_and_the_wait_is_told() -> None:
    clock = VirtualClock(1_000.0)
    audio = AudioPerMinute(120, clock)
    audio.take("key:alice", 60 * 8_000, 8_000)
    audio.take("key:alice", 60 * 48_000, 48_000)
    with pytest.raises(QuotaError, match="120 s of audio a minute") as refusal:
        audio.take("key:alice", 8_000, 8_000)
    assert refusal.value.retry_after == pytest.approx(0.5)  # two seconds of audio come back in one

    clock.advance(0.499)
    with pytest.raises(QuotaError):
        audio.take("key:alice", 8_000, 8_000)
    clock.advance(0.001)
    audio.take("key:alice", 8_000, 8_000)
    clock.advance(3_600.0)
    audio.take("key:alice", 120 * 8_000, 8_000)  # never more than a minute's worth at once
    with pytest.raises(QuotaError):
        audio.take("key:alice", 8_000, 8_000)


def test_what_never_fits_has_no_wait() -> None:
    with pytest.raises(QuotaError) as refusal:
        AudioPerMinute(30, VirtualClock()).take("key:alice", 31 * 8_000, 8_000)
    assert refusal.value.retry_after is None


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_a_call_in_real_time_is_never_too_fast(rate: int) -> None:
    clock = VirtualClock(86_400.0)
    speed = SpeedLimit(rate, 1.5, 0.1, clock)
    for _ in range(5_000):
        speed.take(rate // 50)
        clock.advance(0.02)


def test_faster_than_the_limit_is_refused_after_the_burst() -> None:
    clock = VirtualClock()
    speed = SpeedLimit(8_000, 1.5, 5.0, clock)
    speed.take(40_000)
    with pytest.raises(QuotaError, match="1.5 times real time after 5 s at once") as refusal:
        speed.take(1)
    assert refusal.value.reason is Reason.AUDIO_TOO_FAST and refusal.value.retry_after == pytest.approx(1 / 12_000)
    for _ in range(1_000):  # at exactly the limit it goes on for ever
        clock.advance(0.02)
        speed.take(240)
    clock.advance(0.02)
    with pytest.raises(QuotaError):
        speed.take(242)
    clock.advance(3_600.0)  # a pause gives back the burst, and no more
    speed.take(40_000)
    with pytest.raises(QuotaError):
        speed.take(1)
    with pytest.raises(QuotaError) as refusal:
        speed.take(40_001)
    assert refusal.value.retry_after is None


@given(
    st.sampled_from([8_000, 22_050, 48_000]),
    st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 4_000_000_000)), max_size=30),
)
def test_what_is_let_through_stays_under_the_line(rate: int, steps: list[tuple[int, int]]) -> None:
    clock = VirtualClock()
    speed = SpeedLimit(rate, 1.5, 2.0, clock)
    taken = 0
    for samples, pause in steps:
        clock.advance(pause / 1e9)
        try:
            speed.take(samples)
        except QuotaError as refusal:
            if refusal.retry_after is not None:
                clock.advance(refusal.retry_after + 1e-6)
                speed.take(samples)
                taken += samples
        else:
            taken += samples
        assert taken <= 2.0 * rate + 1.5 * rate * clock.now() + 1


def test_a_message_has_its_size() -> None:
    limit = SizeLimit(65_536)
    limit.take(65_536)
    with pytest.raises(QuotaError, match="65537 bytes; the limit is 65536") as refusal:
        limit.take(65_537)
    assert refusal.value.reason is Reason.MESSAGE_TOO_LARGE
