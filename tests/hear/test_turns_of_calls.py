"""Turns of whole calls: random ones, for what always holds, and recorded speech."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from goldens import golden
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from turn_traces import FRAME, RATE, SETTINGS, at, feed

from antiphon.engine.hear.codec import decode_mu_law, encode_mu_law, read_audio
from antiphon.engine.hear.resample import resample
from antiphon.engine.hear.turn_taking import (
    BargeIn,
    Decision,
    SpeechStarted,
    SpeechStopped,
    TurnDetectionSettings,
    TurnDetector,
    TurnEnded,
)
from antiphon.engine.hear.voice_activity import VoiceActivityModel, VoiceActivityState
from antiphon.engine.timeline import InputSample
from antiphon.engine.types import Float32Array

probabilities = st.lists(
    st.tuples(st.sampled_from("##.="), st.integers(1, 12)).map(lambda run: run[0] * run[1]), max_size=40
).map("".join)


@hypothesis_settings(max_examples=200, deadline=None)
@given(trace=probabilities, changes=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 15)), max_size=6))
def test_no_turn_holds_audio_that_could_go_however_the_settings_change(
    trace: str, changes: list[tuple[int, int]]
) -> None:
    detector, kept_from, last_end = TurnDetector(SETTINGS, RATE), at(0), at(0)
    for number, character in enumerate(trace):
        for frame, length in changes:
            if frame == number:
                detector.settings = replace(
                    SETTINGS,
                    prefix_padding=length * 0.032,
                    end_silence=(length + 1) * 0.032,
                    threshold=(20 - length) / 20,
                )
        assert detector.keep_from >= kept_from
        kept_from = detector.keep_from
        for decision in feed(detector, character, first=number):
            if isinstance(decision, SpeechStarted):
                assert max(kept_from, last_end) <= decision.turn_start <= decision.at
            elif isinstance(decision, TurnEnded):
                assert kept_from <= decision.start < decision.end
                last_end = decision.end


@hypothesis_settings(max_examples=200, deadline=None)
@given(trace=probabilities, answers=st.lists(st.tuples(st.sampled_from("ESX"), st.integers(0, 150)), max_size=8))
def test_what_holds_for_every_call(trace: str, answers: list[tuple[str, int]]) -> None:
    """Turns are told whole and in order, never overlap or pass the limit, and hold no sample already let go of."""
    detector, decisions, kept_from = TurnDetector(SETTINGS, RATE), [], []
    reports = {"E": detector.answer_expected, "S": detector.answer_started, "X": detector.answer_ended}
    due = sorted((frame, kind) for kind, frame in answers)
    window_closes = None  # the first frame end at which an answer may be interrupted
    for number, character in enumerate(trace):
        for frame, kind in due:
            if frame == number:
                reports[kind](at(frame))
                window_closes = frame + 10 if kind == "S" else None
        kept_from.append(detector.keep_from)
        new = feed(detector, character, first=number)
        if any(isinstance(decision, BargeIn) for decision in new):
            assert window_closes is None or number + 1 >= window_closes
            assert trace[number] in "#="
        decisions += new
    assert kept_from == sorted(kept_from)
    turns, open_turn = [], None
    for decision in decisions:
        if isinstance(decision, SpeechStarted):
            assert open_turn is None and decision.turn_start <= decision.at
            open_turn = decision
        elif isinstance(decision, TurnEnded):
            assert open_turn is not None and decision.start == open_turn.turn_start
            assert 0 < decision.end - decision.start <= 40 * FRAME
            assert max(kept_from[: decision.end // FRAME]) <= decision.start
            turns.append(decision)
            open_turn = None
    assert all(left.end <= right.start for left, right in zip(turns, turns[1:], strict=False))
    if not answers:  # without an answer in the way all speech is in some turn
        heard = {sample for turn in turns for sample in range(turn.start, turn.end)}
        heard |= set(range(open_turn.turn_start, at(len(trace)))) if open_turn else set()
        for start in range(len(trace) - 2):
            if trace[start : start + 3] == "###":
                assert set(range(at(start), at(start + 3))) <= heard


@pytest.fixture(scope="module")
def model() -> VoiceActivityModel:
    return VoiceActivityModel.load()


class TestRecordedSpeech:
    """Calls made of recordings with two seconds of silence around each."""

    @staticmethod
    def call(rate: int, names: Sequence[str]) -> tuple[Float32Array, list[range]]:
        """The audio, and where the recordings lie in it."""
        parts: list[Float32Array] = [np.zeros(2 * rate, np.float32)]
        places = []
        for name in names:
            if name == "tt-weasels":
                pcm, recorded_rate = read_audio(Path(__file__).parents[2] / "demo" / "clips" / f"{name}.wav")
            else:
                pcm, recorded_rate = read_audio(golden(f"speech_tokenizer/wav/{name}.wav"))
            start = sum(part.size for part in parts)
            parts += [resample(pcm[0], recorded_rate, rate), np.zeros(2 * rate, np.float32)]
            places.append(range(start, start + parts[-2].size))
        return np.concatenate(parts), places

    @staticmethod
    def listen(
        model: VoiceActivityModel, pcm: Float32Array, rate: int, seed: int | None = None, answer: range | None = None
    ) -> list[Decision]:
        """Decisions on the whole call at once, or in random pieces of 1 sample to 1 second."""
        state, detector = VoiceActivityState(rate), TurnDetector(TurnDetectionSettings(idle_timeout=None), rate)
        if answer is not None:
            detector.answer_started(InputSample(answer.start))
            detector.answer_ended(InputSample(answer.stop))
        rng, position, decisions = np.random.default_rng(seed), 0, []
        while position < pcm.size:
            piece = pcm.size if seed is None else int(np.exp(rng.uniform(0, np.log(rate))))
            state.push(pcm[position : position + piece])
            position += piece
            for frame in model.advance([state])[0]:
                decisions += detector.observe(frame)
        return decisions

    @pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 48_000])
    def test_each_sentence_is_one_turn_and_noise_is_none(self, model: VoiceActivityModel, rate: int) -> None:
        pcm, places = self.call(rate, ["silence", "en_speech", "noise", "zh_speech", "tt-weasels"])
        if rate == 8_000:
            pcm = decode_mu_law(encode_mu_law(pcm))
        decisions = self.listen(model, pcm, rate)
        assert [type(decision) for decision in decisions] == [SpeechStarted, SpeechStopped, TurnEnded] * 3
        turns = [decision for decision in decisions if isinstance(decision, TurnEnded)]
        for turn, place in zip(turns, [places[1], places[3], places[4]], strict=True):
            sentence = np.square(pcm[place.start : place.stop].astype(np.float64))
            inside = sentence[max(0, turn.start - place.start) : turn.end - place.start].sum()
            assert inside > 0.999 * sentence.sum()
            assert place.start - 0.35 * rate <= turn.start and turn.end <= place.stop + 0.75 * rate
        assert self.listen(model, pcm, rate, seed=rate) == decisions

    def test_speech_over_an_answer_interrupts_it(self, model: VoiceActivityModel) -> None:
        rate = 8_000
        pcm, places = self.call(rate, ["noise", "tt-weasels"])
        speech = places[1]
        decisions = self.listen(model, pcm, rate, answer=range(places[0].start, speech.stop))
        assert [type(decision) for decision in decisions] == [SpeechStarted, BargeIn, SpeechStopped, TurnEnded]
        assert isinstance(decisions[1], BargeIn)
        assert 0.3 * rate <= decisions[1].at - speech.start <= 0.6 * rate
        assert self.listen(model, pcm, rate, seed=1, answer=range(places[0].start, speech.stop)) == decisions

        # An answer that begins over the sentence: its window is waited out.
        over = self.listen(model, pcm, rate, answer=range(speech.start + rate, speech.stop))
        assert [type(decision) for decision in over] == [SpeechStarted, BargeIn, SpeechStopped, TurnEnded]
        assert isinstance(over[1], BargeIn)
        assert 1.5 * rate <= over[1].at - speech.start <= 1.6 * rate
