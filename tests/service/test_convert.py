"""Settings between the wire and us."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.hear.turn_taking import TurnDetectionSettings
from antiphon.engine.service.convert import turn_detection, updated_detection
from antiphon.engine.service.formats import FORMATS, NATIVE_FORMAT, format_violations, wire_format
from antiphon.engine.service.refusals import FieldViolation, InvalidRequestError, Reason, RefusalError
from antiphon.v1 import audio_pb2, session_pb2

VAD = session_pb2.TURN_DETECTION_MODE_SERVER_VAD


@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_every_format_survives_the_way_to_samples_and_back(wire: object) -> None:
    assert isinstance(wire, type(NATIVE_FORMAT))
    assert wire_format(wire.to_message(), "format") == wire
    if wire.bytes_per_sample == 2:
        data = np.arange(-32_768, 32_768, dtype="<i2").tobytes()
        assert wire.encode(wire.decode(data)) == data
        with pytest.raises(RefusalError) as refused:
            wire.decode(data[1:])
        assert refused.value.reason is Reason.AUDIO_MALFORMED
    else:
        once = wire.encode(wire.decode(bytes(range(256))))
        assert wire.encode(wire.decode(once)) == once and len(once) == 256
    loud = np.array([-9.0, 9.0], np.float32)
    assert np.abs(wire.decode(wire.encode(loud))).min() > 0.95, "clipped, not wrapped"


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
def test_any_other_format_is_refused_by_name(encoding: int, rate: int, channels: int) -> None:
    message = audio_pb2.AudioFormat(encoding=encoding, sample_rate_hertz=rate, channel_count=channels)  # type: ignore[arg-type]
    wrong = format_violations(message, "audio")
    known = any(one.encoding == encoding and one.rate == rate for one in FORMATS) and channels in (0, 1)
    assert bool(wrong) is not known
    assert all(one.field.startswith("audio.") and one.description for one in wrong)


durations = st.builds(dict, seconds=st.integers(-(2**63), 2**63 - 1), nanos=st.integers(-(2**31), 2**31 - 1))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "mode": st.integers(-5, 5),
            "speech_threshold": st.floats(),
            **{
                name: durations
                for name in (
                    "prefix_padding",
                    "end_silence",
                    "min_barge_in_speech",
                    "no_barge_in_window",
                    "idle_timeout",
                )
            },
        },
    )
)
def test_turn_detection_is_taken_or_refused_by_field(given_fields: dict[str, object]) -> None:
    message = session_pb2.TurnDetection(**given_fields)  # type: ignore[arg-type]
    wrong: list[FieldViolation] = []
    settings = turn_detection(message, TurnDetectionSettings(), "config.turn_detection", wrong)
    if not given_fields:
        assert settings == TurnDetectionSettings() and not wrong
    for one in wrong:
        assert one.field.removeprefix("config.turn_detection.") in given_fields


def test_an_update_changes_what_it_names_and_never_the_mode() -> None:
    before = TurnDetectionSettings(end_silence=2.0)
    update = session_pb2.TurnDetection(prefix_padding={"nanos": 500_000_000}, idle_timeout={})  # type: ignore[arg-type]
    after = updated_detection(update, before, True, "turn_detection")
    assert (after.end_silence, after.prefix_padding, after.idle_timeout) == (2.0, 0.5, None)
    assert updated_detection(session_pb2.TurnDetection(mode=VAD), after, True, "turn_detection") == after
    with pytest.raises(InvalidRequestError, match="turn_detection.mode"):
        updated_detection(session_pb2.TurnDetection(mode=VAD), before, False, "turn_detection")
