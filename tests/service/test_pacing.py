"""Packets and their pace, and what of them was heard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.errors import InputError
from antiphon.engine.service.pacing import Pacer, Packet, packet_samples
from antiphon.engine.service.playback import FRESH_SECONDS, Heard, Playback, ReportOutcome
from antiphon.engine.timeline import WireSample
from antiphon.engine.types import Float32Array

RATE = 8_000
PACKET = 160  # 20 ms
MS_20 = 0.02


def ramp(samples: int, start: int = 0) -> Float32Array:
    return np.arange(start, start + samples, dtype=np.float32)


def pacer(max_lead: float | None = 1.0) -> Pacer:
    return Pacer(Playback("a", RATE), RATE, PACKET, max_lead)


def take_all(pacer: Pacer, now: float) -> list[Packet]:
    packets = []
    while (packet := pacer.take(now)) is not None:
        packets.append(packet)
    return packets


def test_packets_are_whole_samples() -> None:
    assert packet_samples(20_000_000, 8_000) == 160
    assert packet_samples(25_000_000, 22_050) == 551
    assert packet_samples(200_000_000, 48_000) == 9_600
    for nanoseconds in (19_999_999, 200_000_001, 0, -20_000_000):
        with pytest.raises(InputError, match="20 to 200 ms"):
            packet_samples(nanoseconds, 8_000)


def test_the_first_packets_go_at_once_and_then_as_playback_goes_on() -> None:
    paced = pacer()
    paced.push(ramp(3 * RATE))
    assert sum(packet.samples.size for packet in take_all(paced, 100.0)) == RATE
    assert paced.next_due(100.0) == pytest.approx(MS_20)
    assert paced.next_due(100.005) == pytest.approx(0.015)
    assert not take_all(paced, 100.0199)
    assert len(take_all(paced, 100.02)) == 1
    assert len(take_all(paced, 100.5)) == 24
    assert paced.playback.lead(100.5) == RATE
    # Playback ran dry at 101.5: it begins anew.
    assert sum(packet.samples.size for packet in take_all(paced, 200.0)) == RATE
    assert paced.playback.lead(200.0) == RATE


def test_the_end_goes_out_as_it_is() -> None:
    paced = pacer()
    paced.push(ramp(400))
    assert [packet.samples.size for packet in take_all(paced, 0.0)] == [160, 160]
    assert paced.next_due(0.0) is None and not paced.is_done
    paced.finish()
    (packet,) = take_all(paced, 0.0)
    assert (packet.samples.size, packet.sample_offset, paced.is_done) == (80, 320, True)
    assert paced.next_due(0.0) is None


def test_an_answer_without_speech_is_done() -> None:
    paced = pacer()
    paced.push(ramp(0))
    paced.finish()
    assert paced.is_done and paced.take(0.0) is None


def test_after_a_barge_in_nothing_old_goes_out() -> None:
    paced = pacer()
    paced.push(ramp(20_000))
    sent = sum(packet.samples.size for packet in take_all(paced, 0.0))
    assert paced.clear() == 20_000 - sent == paced.playback.sent + 4_000
    paced.push(ramp(500))  # what the engine had made before it knew
    assert paced.take(100.0) is None and paced.next_due(100.0) is None
    assert paced.is_done and paced.waiting_samples == 0 and paced.clear() == 0


def test_without_pacing_everything_goes_at_once() -> None:
    paced = pacer(max_lead=None)
    paced.push(ramp(10 * RATE))
    assert len(take_all(paced, 0.0)) == 500


def test_a_packet_longer_than_the_lead_still_goes() -> None:
    paced = pacer(max_lead=0.001)
    paced.push(ramp(2 * PACKET))
    assert len(take_all(paced, 0.0)) == 1
    assert paced.next_due(0.0) == pytest.approx(MS_20)
    assert len(take_all(paced, 0.02)) == 1


@given(
    st.lists(st.integers(0, 3_000), max_size=20),
    st.lists(st.floats(0, 0.7), min_size=1, max_size=20),
    st.integers(160, 1_600),
)
def test_pieces_in_any_size_come_out_whole_and_never_too_early(
    pushes: list[int], pauses: list[float], packet: int
) -> None:
    paced = Pacer(Playback("a", RATE), RATE, packet, 1.0)
    packets: list[Packet] = []
    now = 5.0
    pushed = 0
    for turn, size in enumerate(pushes):
        paced.push(ramp(size, pushed))
        pushed += size
        now += pauses[turn % len(pauses)]
        packets += take_all(paced, now)
        assert paced.playback.lead(now) <= RATE
    paced.finish()
    while not paced.is_done:
        due = paced.next_due(now)
        assert due is not None
        assert due == 0 or paced.take(now + due - 2 / RATE) is None
        now += due + 1e-9
        packets += take_all(paced, now)
        assert paced.playback.lead(now) <= RATE
    assert [taken.sample_offset for taken in packets] == list(range(0, pushed, packet))
    assert all(taken.samples.size == packet for taken in packets[:-1])
    np.testing.assert_array_equal(np.concatenate([ramp(0), *(taken.samples for taken in packets)]), ramp(pushed))


def test_what_was_heard_goes_by_the_clock_without_reports() -> None:
    playback = Playback("a", RATE)
    assert playback.heard(0.0) == Heard(WireSample(0), estimated=False)
    playback.add_sent(8_000, 10.0)
    assert playback.heard(10.0) == Heard(WireSample(0), estimated=True)
    assert playback.heard(10.25) == Heard(WireSample(2_000), estimated=True)
    playback.add_sent(8_000, 10.5)
    assert playback.heard(11.25).position == 10_000
    assert playback.seconds_left(11.25) == pytest.approx(0.75)
    assert playback.heard(99.0).position == 16_000
    playback.add_sent(8_000, 100.0)  # after it had run dry
    assert playback.heard(100.5).position == 20_000


def test_a_report_tells_what_was_heard_until_it_is_stale() -> None:
    playback = Playback("a", RATE)
    playback.add_sent(24_000, 0.0)
    assert playback.report("a", 3_200, False, 0.5) is ReportOutcome.TAKEN
    assert playback.heard(0.6) == Heard(WireSample(3_200), estimated=False)
    assert playback.heard(0.5 + FRESH_SECONDS) == Heard(WireSample(12_000), estimated=True)
    assert playback.report("a", 11_200, False, 1.6) is ReportOutcome.TAKEN
    assert playback.heard(1.6) == Heard(WireSample(11_200), estimated=False)


def test_an_answer_is_over_when_it_was_heard_to_its_end() -> None:
    playback = Playback("a", RATE)
    playback.add_sent(16_000, 0.0)
    assert playback.seconds_left(0.5) == pytest.approx(1.5)
    playback.report("a", 15_200, False, 1.95)
    assert playback.seconds_left(1.95) == pytest.approx(FRESH_SECONDS)  # the player is late: its next report tells
    assert playback.seconds_left(2.5) == pytest.approx(FRESH_SECONDS - 0.55)
    playback.report("a", 16_000, False, 2.6)
    assert playback.seconds_left(2.6) == 0.0
    assert playback.heard(50.0) == Heard(WireSample(16_000), estimated=False)

    silent = Playback("b", RATE)
    silent.add_sent(16_000, 0.0)
    assert silent.seconds_left(2.0) == 0.0


def test_no_report_does_harm() -> None:
    playback = Playback("a", RATE)
    assert playback.report("a", 2**62, False, 0.0) is ReportOutcome.LIMITED  # before anything was sent
    playback.add_sent(8_000, 0.0)
    assert playback.report("b", 8_000, True, 0.5) is ReportOutcome.OTHER_ANSWER
    assert playback.report("a", 8_000, False, 0.5) is ReportOutcome.LIMITED
    assert playback.heard(0.5) == Heard(WireSample(4_000), estimated=False)
    assert playback.report("a", 3_999, False, 0.6) is ReportOutcome.BACKWARDS
    assert playback.report("a", -1, False, 0.6) is ReportOutcome.BACKWARDS
    assert playback.heard(0.6) == Heard(WireSample(4_000), estimated=False)


@pytest.mark.parametrize(("stop_at", "heard"), [(2_400, 2_400), (1_000, 1_600), (2**40, 4_000)])
def test_a_stop_is_known_for_ever(stop_at: int, heard: int) -> None:
    playback = Playback("a", RATE)
    playback.add_sent(8_000, 0.0)
    playback.report("a", 1_600, False, 0.2)
    playback.report("a", stop_at, True, 0.5)
    assert playback.report("a", 8_000, False, 2.0) is ReportOutcome.AFTER_STOP
    assert playback.heard(100.0) == Heard(WireSample(heard), estimated=False)
    assert playback.seconds_left(0.5) == 0.0
