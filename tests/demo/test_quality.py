"""The measures of quality: what they make of speech whose faults are known, and what the gate lets pass."""

import json
import zlib

import numpy as np
import pytest

from antiphon.engine.units import OUTPUT_HOP, OUTPUT_RATE
from demo import picture
from demo.judge import gate, sets
from demo.judge.joins import Joined, measure
from demo.judge.recogniser import Judge
from demo.judge.score import error_interval
from demo.recipe import domain
from demo.recipe.data import plan_tests
from demo.recipe.questions import Share, kind_of_unknown
from demo.recipe.scales import SMOKE
from demo.recipe.spelled import word_error_rate


def voice(frames: int, hertz: float = 150.0) -> np.ndarray:
    """Harmonics that swell and fall four times a second."""
    t = np.arange(frames * OUTPUT_HOP) / OUTPUT_RATE
    tones = sum(np.sin(2 * np.pi * hertz * h * t) / h for h in range(1, 12))
    wave: np.ndarray = (0.1 * tones * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))).astype(np.float32)
    return wave


JOINS = [30 * OUTPUT_HOP, 75 * OUTPUT_HOP]


def test_a_wave_that_equals_the_one_shot_decode_has_no_joins_to_be_heard() -> None:
    whole = voice(120)
    figures = measure([Joined(whole, JOINS, whole)])
    assert figures.joins == 2
    assert (figures.flux, figures.length) == (1.0, 1.0)
    assert (figures.high_band, figures.pitch_jump, figures.mel_distance) == (0.0, 0.0, 0.0)


def test_a_jump_of_phase_at_the_joins_is_seen_there() -> None:
    whole = voice(120)
    broken = whole.copy()
    for join in JOINS:
        broken[join:] = -broken[join:]
    figures = measure([Joined(broken, JOINS, whole)])
    assert figures.flux > 1.5
    assert figures.high_band > 6.0
    assert abs(figures.pitch_jump) < 0.2
    elsewhere = measure([Joined(broken, [50 * OUTPUT_HOP], whole)])
    assert elsewhere.flux == pytest.approx(1.0, abs=1e-3)


def test_frames_lost_at_joins_are_no_other_mel() -> None:
    whole = voice(120)
    first, second = JOINS
    short = np.concatenate([whole[:first], whole[first + OUTPUT_HOP : second], whole[second + OUTPUT_HOP :]])
    figures = measure([Joined(short, [first, second - OUTPUT_HOP], whole)])
    assert figures.mel_distance < 0.25
    assert figures.length == pytest.approx(118 / 120)


def test_a_jump_of_pitch_is_told_in_semitones() -> None:
    whole = voice(120)
    raised = np.concatenate([whole[: JOINS[0]], voice(120, 150.0 * 2 ** (2 / 12))[JOINS[0] :]])
    assert measure([Joined(raised, JOINS[:1], whole)]).pitch_jump == pytest.approx(2.0, abs=0.2)


def test_speech_of_one_chunk_has_nothing_to_measure() -> None:
    with pytest.raises(ValueError, match="none of 1 answers has a join"):
        measure([Joined(voice(20), [], voice(20))])


def test_the_bootstrap_interval_holds_the_rate() -> None:
    pairs = [("two plus three", "two plus three")] * 30 + [("two plus tree", "two plus three")] * 10
    low, high = error_interval(pairs)
    assert 0.0 < low < word_error_rate(pairs) < high < 0.2
    assert error_interval(pairs[:30]) == (0.0, 0.0)


def test_the_judge_hears_nothing_in_no_sound_and_goes_on() -> None:
    judge = Judge().eval()
    sound = np.random.default_rng(0).standard_normal(9_000).astype(np.float32)
    alone = judge.hear([(sound, 22_050)])
    nothing = np.zeros(0, np.float32)
    assert judge.hear([(nothing, 22_050), (sound, 22_050), (nothing, 8_000)]) == ["", *alone, ""]


def test_the_gate_names_what_lies_under_the_bar() -> None:
    bar = {"text right": 0.8, "heard right": 0.75, "heard right, answers shuffled, at most": 0.2}
    good = {
        "text right": Share(20, 24),
        "heard right": Share(18, 24),
        "heard right, answers shuffled": Share(1, 24),
    }
    assert gate.missed(good, bar) == []
    assert gate.missed({**good, "heard right": Share(17, 24)}, bar) == [
        "heard right: 17 of 24 (0.71); expected at least 0.75."
    ]
    deaf = {**good, "heard right, answers shuffled": Share(20, 24)}  # a judge that hears what it expects
    assert gate.missed(deaf, bar) == ["heard right, answers shuffled: 20 of 24 (0.83); expected at most 0.20."]
    assert gate.read_bar().keys() == bar.keys()


def test_the_committed_questions_are_the_domains_own() -> None:
    questions = sets.committed()
    entries = json.loads((sets.COMMITTED / sets.LIST_FILE).read_text())
    known = {exchange.question: exchange.answer for exchange in domain.known_exchanges()}
    held_out = {e.question: e.answer for language in ("en", "zh") for e in domain.sums(language, held_out=True)}
    assert len(questions) == 24
    for question, entry in zip(questions, entries, strict=True):
        assert 0.3 < len(question.sound) / 16_000 < 4.0
        assert np.abs(question.sound).max() > 0.05
        expected = held_out if entry["held_out"] else known
        assert question.answer == expected.get(question.text, domain.UNKNOWN["en"])
    assert sum(entry["held_out"] for entry in entries) == 3
    assert any("\u4e00" <= one.text[0] <= "\u9fff" for one in questions[:3])  # `make talk` asks one in Mandarin
    assert all(path.exists() for path, _ in sets.listed())


def test_what_lies_outside_the_domain_is_told_apart() -> None:
    kinds = {}
    for asked in plan_tests(SMOKE, 0)["unknown"] + plan_tests(SMOKE, 1)["unknown"] + plan_tests(SMOKE, 2)["unknown"]:
        kinds.setdefault(kind_of_unknown(asked), asked)
    assert set(kinds) >= {"other languages", "questions outside the domain"}
    if "Mandarin outside the domain" in kinds:
        assert kinds["Mandarin outside the domain"].line.language == "zh"


def test_a_picture_is_a_png_of_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    data = picture.png(pixels)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    rows = np.frombuffer(zlib.decompress(data[start : start + length]), np.uint8).reshape(3, 16)
    np.testing.assert_array_equal(rows[:, 1:].reshape(3, 5, 3), pixels)
    assert not rows[:, 0].any()
