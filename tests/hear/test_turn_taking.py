"""Turns, interruptions and idleness, on traces written as pictures (`turn_traces`)."""

from dataclasses import replace

import pytest
from turn_traces import FRAME, LIMIT, RATE, SETTINGS, SILENCE, at, ended, feed, play, started

from antiphon.engine.errors import AudioError, InputError
from antiphon.engine.hear.turn_taking import (
    BargeIn,
    Decision,
    EndReason,
    IdleTimeout,
    SpeechStarted,
    SpeechStopped,
    TurnDetectionSettings,
    TurnDetector,
    TurnEnded,
)
from antiphon.engine.hear.voice_activity import SpeechFrame
from antiphon.engine.timeline import InputSample


class TestTurns:
    def test_a_turn_holds_its_padding_its_speech_and_the_closing_pause(self) -> None:
        assert play("....######.....") == [started(4, 2), SpeechStopped(at(10)), ended(2, 15)]

    def test_is_told_as_soon_as_it_is_settled(self) -> None:
        assert play("....##") == []
        assert play("....###") == [started(4, 2)]
        assert play("....###....") == [started(4, 2)]

    def test_padding_ends_at_the_first_sample(self) -> None:
        assert play(".####.....") == [started(1, 0), SpeechStopped(at(5)), ended(0, 10)]

    def test_a_short_pause_is_part_of_the_turn(self) -> None:
        assert play("..###....#....###.....") == [started(2, 0), SpeechStopped(at(17)), ended(0, 22)]

    @pytest.mark.parametrize("trace", ["...##......", "...##.##.##.##......", "....====......"])
    def test_blips_make_no_turn(self, trace: str) -> None:
        assert play(trace) == []

    def test_between_the_thresholds_voice_goes_on_and_silence_too(self) -> None:
        assert play("...#==...") == [SpeechStarted(at(3), at(1), 0.4)]
        assert play("...###====.....") == [started(3, 1), SpeechStopped(at(10)), ended(1, 15)]
        assert play("...###.====") == [started(3, 1), SpeechStopped(at(6)), ended(1, 11)]

    def test_padding_never_reaches_into_the_turn_before(self) -> None:
        short = replace(SETTINGS, end_silence=0.032)
        assert play("..####.####.", short) == [
            *(started(2, 0), SpeechStopped(at(6)), ended(0, 7)),
            *(started(7, 7), SpeechStopped(at(11)), ended(7, 12)),
        ]

    def test_lengths_need_not_be_whole_frames(self) -> None:
        odd = replace(SETTINGS, prefix_padding=0.050, end_silence=0.1)
        assert play("....####....", odd) == [
            SpeechStarted(at(4), InputSample(128 - 50), 0.9),
            SpeechStopped(at(8)),
            TurnEnded(InputSample(128 - 50), at(12), SILENCE),
        ]


class TestLimit:
    def test_a_long_turn_is_ended_and_the_next_goes_on_at_the_same_sample(self) -> None:
        assert play("..." + "#" * 60 + ".....") == [
            *(started(3, 1), ended(1, 41, LIMIT)),
            *(started(41, 41), SpeechStopped(at(63)), ended(41, 68)),
        ]

    def test_speech_may_go_on_over_several_turns(self) -> None:
        ends = [decision for decision in play("#" * 100) if isinstance(decision, TurnEnded)]
        assert ends == [ended(0, 40, LIMIT), ended(40, 80, LIMIT)]

    def test_a_turn_that_reaches_the_limit_in_a_pause_is_followed_by_new_speech_alone(self) -> None:
        assert play("##" + "#" * 36 + "...." + ".....") == [started(0, 0), SpeechStopped(at(38)), ended(0, 40, LIMIT)]
        assert play("#" * 38 + "...###.....")[2:] == [
            *(ended(0, 40, LIMIT), started(41, 40)),
            *(SpeechStopped(at(44)), ended(40, 49)),
        ]

    def test_a_blip_after_a_turn_that_reached_the_limit_in_a_pause_is_no_turn(self) -> None:
        assert play("#" * 38 + "..##......")[1:] == [SpeechStopped(at(38)), ended(0, 40, LIMIT)]

    def test_speech_that_stops_at_the_limit_makes_no_empty_turn(self) -> None:
        assert play("#" * 40 + "......") == [started(0, 0), SpeechStopped(at(40)), ended(0, 40, LIMIT)]

    def test_a_limit_between_frames_is_not_passed(self) -> None:
        ends = play("#" * 60, replace(SETTINGS, max_turn=1.3))  # 40.6 frames
        assert ends[:2] == [started(0, 0), ended(0, 40, LIMIT)]

    def test_the_answer_to_a_full_turn_is_interrupted_by_who_speaks_on(self) -> None:
        assert play("#" * 50, expected=40) == [
            *(started(0, 0), ended(0, 40, LIMIT), started(40, 40)),
            BargeIn(at(46)),
        ]


class TestBargeIn:
    def test_takes_enough_speech(self) -> None:
        assert play("....#####.......", expected=0, playing=0, over=30) == []
        late = "." * 14 + "######"
        assert play(late[:-1], playing=0) == []
        assert play(late, playing=0) == [started(14, 12), BargeIn(at(20))]

    def test_speech_adds_up_over_short_pauses(self) -> None:
        assert play("." * 14 + "###..#...##", playing=0) == [started(14, 12), BargeIn(at(25))]
        assert play("." * 14 + "###.....###.....", playing=0) == []

    def test_blips_do_not_add_up(self) -> None:
        assert play("." * 14 + "##.##.##.##.##.##", playing=0) == []

    def test_nothing_interrupts_within_the_window(self) -> None:
        assert play("..######.......", playing=0) == []

    def test_speech_within_the_window_that_goes_on_interrupts_when_it_closes(self) -> None:
        assert play("..########", playing=0) == [started(2, 0), BargeIn(at(10))]
        assert play("..#######..#", playing=0) == [started(2, 0), BargeIn(at(12))]
        assert play("..#######....", playing=0) == []

    def test_the_window_begins_between_frames_too(self) -> None:
        detector = TurnDetector(SETTINGS, RATE)
        detector.answer_started(InputSample(10))
        assert feed(detector, "##########") == []
        assert feed(detector, "#", first=10) == [started(0, 0), BargeIn(at(11))]

    def test_speech_through_a_window_longer_than_a_turn_keeps_its_last_part(self) -> None:
        detector = TurnDetector(replace(SETTINGS, no_barge_in_window=2.0), RATE)  # 62.5 frames
        detector.answer_started(at(0))
        assert feed(detector, "#" * 62) == []
        assert detector.keep_from == at(22)
        assert feed(detector, "##", first=62) == [
            started(23, 23),
            BargeIn(at(63)),
            ended(23, 63, LIMIT),
            started(63, 63),
        ]

    def test_an_answer_not_yet_played_has_no_window(self) -> None:
        assert play("######", expected=0) == [started(0, 0), BargeIn(at(6))]
        assert play("#####.....", expected=0) == []

    def test_comes_once_for_an_answer_and_a_turn(self) -> None:
        kept_playing = play("." * 10 + "#######..#######.....######", playing=0)
        assert [type(decision) for decision in kept_playing] == [
            *(SpeechStarted, BargeIn, SpeechStopped, TurnEnded),
            *(SpeechStarted, BargeIn),
        ]

    def test_a_turn_in_progress_interrupts_the_answer_that_begins_over_it(self) -> None:
        assert play("...###...###", playing=7) == [started(3, 1)]
        assert play("...###..##########", playing=7) == [started(3, 1), BargeIn(at(17))]

    def test_a_turn_interrupts_each_new_answer(self) -> None:
        detector = TurnDetector(SETTINGS, RATE)
        detector.answer_expected(at(0))
        assert feed(detector, "########") == [started(0, 0), BargeIn(at(6))]
        detector.answer_ended(at(8))
        detector.answer_expected(at(9))
        assert feed(detector, "####", first=8) == [BargeIn(at(10))]

    def test_who_still_speaks_when_the_answer_ends_has_the_turn(self) -> None:
        assert play("....#####", playing=0, over=8) == [started(4, 2)]
        assert play("....####..", playing=0, over=8) == []  # "mm-hm"
        assert play("....####..#", playing=0, over=8) == [started(4, 2)]


class TestIdle:
    IDLE = replace(SETTINGS, idle_timeout=20 * 0.032)

    def test_a_silent_caller_is_idle_once(self) -> None:
        assert play("." * 19, self.IDLE) == []
        assert play("." * 90, self.IDLE) == [IdleTimeout(at(20))]

    def test_the_time_is_up_between_frames(self) -> None:
        assert play("." * 21, replace(self.IDLE, idle_timeout=0.650)) == [IdleTimeout(InputSample(650))]

    def test_blips_do_not_stop_the_time_speech_does(self) -> None:
        assert play("." * 10 + "##" + "." * 8, self.IDLE) == [IdleTimeout(at(20))]
        assert play("." * 10 + "###" + "." * 24, self.IDLE)[2:] == [ended(8, 18)]
        assert play("." * 10 + "###" + "." * 25, self.IDLE)[2:] == [ended(8, 18), IdleTimeout(at(38))]

    def test_listening_quietly_is_not_idle(self) -> None:
        assert play("." * 99, self.IDLE, expected=5, playing=30) == []
        assert play("." * 119, self.IDLE, expected=5, playing=30, over=100) == []
        assert play("." * 120, self.IDLE, expected=5, playing=30, over=100) == [IdleTimeout(at(120))]

    def test_is_told_again_after_speech_and_after_an_answer(self) -> None:
        assert play("." * 30 + "###" + "." * 90, self.IDLE)[-1] == IdleTimeout(at(58))
        assert play("." * 120, self.IDLE, expected=30, over=40) == [IdleTimeout(at(20)), IdleTimeout(at(60))]
        assert play("." * 120, self.IDLE, expected=30, over=30) == [IdleTimeout(at(20)), IdleTimeout(at(50))]

    def test_counts_from_the_very_end_of_the_answer(self) -> None:
        detector = TurnDetector(self.IDLE, RATE)
        detector.answer_started(at(0))
        detector.answer_ended(InputSample(9 * FRAME + 10))
        assert feed(detector, "." * 40) == [IdleTimeout(InputSample(29 * FRAME + 10))]

    def test_may_be_left_out(self) -> None:
        assert play("." * 500) == []


class TestControls:
    def test_a_turn_can_be_ended_by_hand(self) -> None:
        detector = TurnDetector(SETTINGS, RATE)
        assert detector.end_turn(at(0)) == []
        feed(detector, "...####")
        assert detector.end_turn(InputSample(7 * FRAME + 9)) == [
            TurnEnded(at(1), InputSample(7 * FRAME + 9), EndReason.COMMITTED)
        ]
        again = feed(detector, "####", first=7)  # speech that goes on is a turn of its own
        assert again == [SpeechStarted(InputSample(7 * FRAME + 9), InputSample(7 * FRAME + 9), 0.9)]

    def test_a_turn_ended_by_hand_keeps_the_limit(self) -> None:
        detector = TurnDetector(SETTINGS, RATE)
        feed(detector, "#" * 40)
        assert detector.end_turn(at(41)) == [ended(0, 40, EndReason.COMMITTED)]

    def test_a_discarded_turn_leaves_nothing_behind(self) -> None:
        detector = TurnDetector(SETTINGS, RATE)
        feed(detector, "...####")
        detector.discard(at(7))
        assert feed(detector, ".###.....", first=7) == [started(8, 7), SpeechStopped(at(11)), ended(7, 16)]

    def test_a_report_undoes_those_for_later_samples(self) -> None:
        detector = TurnDetector(SETTINGS, RATE)
        detector.answer_started(at(0))
        detector.answer_ended(at(50))  # when its playback will be over, unless it is cut
        detector.answer_ended(at(5))
        detector.answer_expected(at(40))
        assert feed(detector, "." * 20 + "####") == [started(20, 18)]

    def test_frames_must_abut(self) -> None:
        detector = TurnDetector(SETTINGS, RATE, start=InputSample(64))
        detector.observe(SpeechFrame(InputSample(64), InputSample(96), 0.1))
        for start, end in ((64, 96), (100, 132), (96, 96)):
            with pytest.raises(ValueError, match="frames must abut"):
                detector.observe(SpeechFrame(InputSample(start), InputSample(end), 0.1))


class TestSettings:
    @pytest.mark.parametrize(
        ("raised_at", "turn_start"),
        [(1, 1), (5, 5), (8, 8), (9, 8), (10, 8)],  # the voice starts at 8; raised at 9 and 10, within its first frames
    )
    def test_a_raised_padding_reaches_no_further_back_than_what_was_kept(self, raised_at: int, turn_start: int) -> None:
        trace = "........###....."
        detector = TurnDetector(replace(SETTINGS, prefix_padding=0.0), RATE)
        feed(detector, trace[:raised_at])
        detector.settings = replace(SETTINGS, prefix_padding=10 * 0.032)
        assert detector.keep_from == at(turn_start)
        decisions = feed(detector, trace[raised_at:], first=raised_at)
        assert decisions == [started(8, turn_start), SpeechStopped(at(11)), ended(turn_start, 16)]

    def test_settings_that_were_never_in_force_for_a_frame_let_nothing_go(self) -> None:
        detector = TurnDetector(SETTINGS, RATE)
        feed(detector, "....")
        detector.settings = replace(SETTINGS, prefix_padding=0.0)
        assert detector.keep_from == at(2)
        detector.settings = SETTINGS
        assert feed(detector, "###", first=4) == [started(4, 2)]

    def test_a_pause_in_progress_is_measured_by_the_settings_in_force(self) -> None:
        def end(changed_at: int, end_silence: int) -> list[Decision]:
            trace, detector = "..###..........", TurnDetector(SETTINGS, RATE)
            feed(detector, trace[:changed_at])
            detector.settings = replace(SETTINGS, end_silence=end_silence * 0.032)
            return feed(detector, trace[changed_at:], first=changed_at)

        assert end(9, 2) == [SpeechStopped(at(5)), ended(0, 10)], "at the next frame where it is already longer"
        assert end(9, 7) == [SpeechStopped(at(5)), ended(0, 12)]

    def test_a_threshold_changes_what_is_voiced_from_the_next_frame_on(self) -> None:
        detector = TurnDetector(SETTINGS, RATE)
        feed(detector, "..####")
        detector.settings = replace(SETTINGS, threshold=0.95, end_silence=2 * 0.032)
        assert feed(detector, "##==###", first=6) == [SpeechStopped(at(8)), ended(0, 10)]

    def test_defaults(self) -> None:
        settings = TurnDetectionSettings()
        assert (settings.threshold, settings.prefix_padding, settings.max_turn) == (0.5, 0.3, 60.0)
        assert settings.exit_threshold == pytest.approx(0.35)
        assert TurnDetectionSettings(threshold=0.1).exit_threshold == 0.01

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("threshold", 0.0), ("threshold", 1.5), ("threshold", float("nan"))),
            *(("prefix_padding", -0.1), ("end_silence", 0.0), ("min_speech", float("nan")), ("max_turn", 0.5)),
            *(("min_barge_in_speech", -1.0), ("no_barge_in_window", float("inf")), ("idle_timeout", 0.0)),
        ],
    )
    def test_out_of_range(self, name: str, value: float) -> None:
        with pytest.raises(InputError, match=f"{name} is {value}.*; expected"):
            replace(TurnDetectionSettings(), **{name: value})

    def test_a_turn_must_have_room_for_more_than_its_padding(self) -> None:
        with pytest.raises(InputError, match="half of max_turn"):
            TurnDetectionSettings(prefix_padding=3.0, max_turn=5.0)

    def test_an_unusable_rate(self) -> None:
        with pytest.raises(AudioError, match="sample rate is 0"):
            TurnDetector(SETTINGS, 0)
