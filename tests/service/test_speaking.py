"""An answer's audio on its way out: the wave at the wire's rate, in packets, as far as it was not cut."""

from typing import Any

import numpy as np
import pytest

from antiphon.engine.config import SessionConfig
from antiphon.engine.events import Interrupted, InterruptionReason
from antiphon.engine.hear.resample import resample
from antiphon.engine.hear.turn_taking import EndReason, TurnDetectionSettings
from antiphon.engine.service.answer_voice import AnswerVoice, CommittedTurn
from antiphon.engine.service.convert import DialogueSettings
from antiphon.engine.service.formats import FORMATS, NATIVE_FORMAT, WireFormat
from antiphon.engine.service.wire_events import TurnSpan


def settings(output: WireFormat, **more: Any) -> DialogueSettings:
    return DialogueSettings(
        session=SessionConfig(),
        input=None,
        output=output,
        chunk=100_000_000,
        listens=False,
        detection=TurnDetectionSettings(),
        text_deltas=False,
        turn_history=False,
        resume_window=0.0,
    )


def voice_of(output: WireFormat, max_lead: float = 1e6) -> AnswerVoice:
    turn = CommittedTurn("r", "e", TurnSpan(EndReason.COMMITTED, 0, 0), ended_at=0.0)
    return AnswerVoice(turn, settings(output), max_lead)


def wave(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, int(seconds * 22_050)).astype(np.float32)


@pytest.mark.parametrize("output", FORMATS, ids=str)
def test_packets_join_to_the_whole_wave_at_the_wires_rate(output: WireFormat) -> None:
    made = wave(1.23)
    voice = voice_of(output)
    packets = []
    for piece in np.split(made, [1, 5_000, 5_001, 20_000]):
        voice.push(piece)
        while (packet := voice.take(0.0)) is not None:
            packets.append(packet)
    voice.finish()
    while (packet := voice.take(0.0)) is not None:
        packets.append(packet)
    sent = np.concatenate([packet.samples for packet in packets])
    assert np.array_equal(sent, resample(made, 22_050, output.rate))
    assert {packet.samples.size for packet in packets[:-1]} == {output.rate // 10}
    assert [packet.sample_offset for packet in packets] == [n * (output.rate // 10) for n in range(len(packets))]
    assert voice.pacer.is_done and voice.turn.first_audio_at == 0.0


def test_a_cut_tells_what_was_heard_and_nothing_goes_out_after_it() -> None:
    voice = voice_of(NATIVE_FORMAT, max_lead=1.0)
    voice.push(wave(5.0))
    while voice.take(0.0) is not None:
        pass
    assert voice.playback.sent == 22_050 and voice.seconds_waiting == 4.0
    assert voice.cut(0.5) == 11_025
    assert voice.turn.is_over and voice.take(9.0) is None and voice.seconds_waiting == 0
    heard = voice.heard_when_cut(Interrupted("e", InterruptionReason.BARGE_IN, 1, 2, False))
    assert (heard.position, heard.estimated) == (11_025, True)


def test_a_report_tells_better_than_the_clock() -> None:
    eight = next(one for one in FORMATS if one.rate == 8_000)
    voice = voice_of(eight)
    voice.push(wave(2.0))
    while voice.take(0.0) is not None:
        pass
    voice.playback.report("r", 3_200, True, 0.9)
    assert voice.cut(0.9) == 8_820, "0.4 s of the wave"
    assert voice.heard is not None and not voice.heard.estimated
