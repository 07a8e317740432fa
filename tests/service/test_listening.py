"""The caller's audio: which samples make a turn, in whatever pieces they come."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from antiphon.engine.hear.turn_taking import EndReason, SpeechStarted, TurnDetectionSettings
from antiphon.engine.hear.voice_activity import SpeechFrame, VoiceActivityState
from antiphon.engine.service.listening import DetectedListening, ManualListening
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.engine.service.voice_activity import INLINE_FRAMES, VoiceActivityService
from antiphon.engine.service.wire_events import TurnSpan

RATE = 8_000


class LoudnessModel:
    """Voice is whatever is not silent."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def advance(self, states: Sequence[VoiceActivityState]) -> list[list[SpeechFrame]]:
        self.batches.append(len(states))
        results = []
        for state in states:
            frames = []
            while state.frames_waiting:
                start, end, samples = state.take_frame()
                frames.append(SpeechFrame(start, end, float(np.abs(samples).max() > 0)))
            results.append(frames)
        return results


class Floor:
    """Keeps what listening asks for."""

    def __init__(self) -> None:
        self.turn: list[np.ndarray] = []
        self.turns: list[tuple[TurnSpan, np.ndarray]] = []
        self.told: list[str] = []
        self.full = False

    async def push(self, samples: np.ndarray) -> None:
        self.turn.append(samples)

    async def caller_paused(self) -> None:
        self.told.append(f"pause after {sum(piece.size for piece in self.turn)}")

    async def forget(self) -> None:
        self.turn = []

    def check_turn(self) -> None:
        if self.full:
            raise RefusalError(Reason.TOO_MANY_TURNS, "full")

    async def end_turn(self, span: TurnSpan) -> None:
        self.turns.append((span, np.concatenate(self.turn)))
        self.turn = []

    async def barge_in(self) -> None:
        self.told.append("barge-in")

    def speech_started(self, decision: SpeechStarted) -> None:
        self.told.append("speech")

    def idle(self, at: int) -> None:
        self.told.append("idle")

    def refuse(self, error: RefusalError, request: str) -> None:
        self.told.append(error.reason.name)


def counted(seconds: float, first: int = 1) -> np.ndarray:
    """Voice in which every sample is another."""
    return (np.arange(first, first + int(seconds * RATE)) / 2**20).astype(np.float32)


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


@pytest.mark.parametrize("piece", [1, 77, 40_000])
def test_manual_turns_are_cut_at_the_limit_and_at_commits(piece: int) -> None:
    audio = counted(2.5)

    async def test() -> None:
        floor = Floor()
        listening = ManualListening(floor, RATE, max_turn=1.0)
        for start in range(0, audio.size, piece):
            await listening.hear(audio[start : start + piece])
        assert listening.holds_audio and listening.accepted == audio.size
        await listening.commit()
        assert not listening.holds_audio
        with pytest.raises(RefusalError) as refused:
            await listening.commit()
        assert refused.value.reason is Reason.TURN_EMPTY
        spans = [(span.start, span.end) for span, _ in floor.turns]
        assert spans == [(0, 8_000), (8_000, 16_000), (16_000, 20_000)]
        assert [span.reason for span, _ in floor.turns] == [EndReason.LIMIT, EndReason.LIMIT, EndReason.COMMITTED]
        assert np.array_equal(np.concatenate([heard for _, heard in floor.turns]), audio)

    asyncio.run(test())


def test_a_full_queue_keeps_a_manual_turn_unless_it_is_over_the_limit() -> None:
    async def test() -> None:
        floor = Floor()
        listening = ManualListening(floor, RATE, max_turn=1.0)
        await listening.hear(counted(0.5))
        floor.full = True
        with pytest.raises(RefusalError):
            await listening.commit()
        assert listening.holds_audio
        await listening.hear(counted(1.0))
        assert floor.told == ["TOO_MANY_TURNS"] and listening.accepted == 12_000
        floor.full = False
        await listening.commit()
        assert [(span.start, span.end) for span, _ in floor.turns] == [(8_000, 12_000)]

    asyncio.run(test())


@pytest.mark.parametrize("piece", [1, 77, 40_000])
def test_voice_makes_the_same_turns_in_any_pieces_and_no_sample_is_lost(piece: int) -> None:
    audio = np.concatenate([quiet(1), counted(1), quiet(1), counted(2.2, 50_000), quiet(1), counted(0.5, 90_000)])

    async def test() -> None:
        floor = Floor()
        settings = TurnDetectionSettings(max_turn=2.0)
        listening = DetectedListening(floor, RATE, settings, VoiceActivityService(LoudnessModel()))
        for start in range(0, audio.size, piece):
            await listening.hear(audio[start : start + piece])
        await listening.end()
        for span, heard in floor.turns:
            assert np.array_equal(heard, audio[span.start : span.end])
        reasons = [span.reason for span, _ in floor.turns]
        assert reasons == [EndReason.SILENCE, EndReason.LIMIT, EndReason.SILENCE, EndReason.COMMITTED]
        first, limited, rest, last = (span for span, _ in floor.turns)
        assert limited.end == rest.start and last.end == audio.size
        assert first.start == 7_936 - 2_400, "the frame with the first voiced sample, and the padding before it"
        assert first.speech_end is not None and limited.speech_end is None

    asyncio.run(test())


def test_voice_interrupts_and_what_it_said_is_the_turn() -> None:
    async def test() -> None:
        floor = Floor()
        settings = TurnDetectionSettings(no_barge_in_window=0.0)
        listening = DetectedListening(floor, RATE, settings, VoiceActivityService(LoudnessModel()))
        await listening.hear(quiet(1))
        listening.answer_expected()
        listening.answer_started()
        await listening.hear(np.concatenate([counted(0.2), quiet(1)]))
        assert floor.told == [], "a sound of listening"
        words = counted(0.5)
        await listening.hear(words)
        assert floor.told == ["speech", "barge-in"]
        listening.answer_ended()
        await listening.hear(quiet(1))
        [(_, heard)] = floor.turns
        at = int(np.argmax(heard == words[0]))
        assert np.array_equal(heard[at : at + words.size], words) and not heard[:at].any()
        assert at >= 2_400, "with the padding before it"

    asyncio.run(test())


def test_a_pause_is_told_once_when_half_of_the_closing_silence_has_gone_by() -> None:
    async def test() -> None:
        floor = Floor()
        settings = TurnDetectionSettings(end_silence=0.6, prefix_padding=0.0)
        listening = DetectedListening(floor, RATE, settings, VoiceActivityService(LoudnessModel()))
        await listening.hear(np.concatenate([counted(1.024), quiet(0.2), counted(0.6)]))
        assert floor.told == ["speech"], "a gap between words"
        await listening.hear(np.concatenate([quiet(0.5), counted(0.5)]))
        frames = -(-int((1.024 + 0.2 + 0.6) * RATE) // 256) + -(-int(0.3 * RATE) // 256)
        assert floor.told == ["speech", f"pause after {frames * 256}"]
        await listening.hear(quiet(1))
        assert len(floor.told) == 3 and len(floor.turns) == 1

    asyncio.run(test())


@pytest.mark.parametrize(("before", "piece", "silence", "raised"), [(0.0, 8_000, 1, 0.5), (0.3, 160, 2, 1.5)])
def test_a_padding_that_is_raised_begins_the_turn_with_what_was_kept(
    before: float, piece: int, silence: int, raised: float
) -> None:
    audio = np.concatenate([quiet(silence), quiet(0.2), counted(1), quiet(1)])
    kept = silence * RATE // 256 * 256 - int(before * RATE)  # of whole frames heard when it is raised

    async def test() -> None:
        floor = Floor()
        settings = TurnDetectionSettings(prefix_padding=before)
        listening = DetectedListening(floor, RATE, settings, VoiceActivityService(LoudnessModel()))
        for start in range(0, silence * RATE, piece):
            await listening.hear(audio[start : start + piece])
        listening.configure(TurnDetectionSettings(prefix_padding=raised))
        size = piece if piece < RATE else audio.size
        for start in range(silence * RATE, audio.size, size):
            await listening.hear(audio[start : start + size])
        [(span, heard)] = floor.turns
        assert span.start == kept, "no further back than the padding before it kept"
        assert np.array_equal(heard, audio[span.start : span.end]), "told and heard are the same"
        listening.configure(TurnDetectionSettings(prefix_padding=0.0))
        await listening.hear(quiet(2))
        await listening.hear(np.concatenate([counted(1), quiet(1)]))
        assert len(floor.turns) == 2

    asyncio.run(test())


@pytest.mark.parametrize("piece", [77, 1_000, 9_000])
def test_settings_may_change_at_any_time_and_no_sample_is_lost(piece: int) -> None:
    rng = np.random.default_rng(piece)
    words = [(quiet(rng.uniform(0.1, 1.5)), counted(rng.uniform(0.05, 2.5), 20_000 * n + 1)) for n in range(12)]
    audio = np.concatenate([part for word in words for part in word] + [quiet(2)])

    async def test() -> None:
        floor = Floor()
        listening = DetectedListening(
            floor, RATE, TurnDetectionSettings(max_turn=4.0), VoiceActivityService(LoudnessModel())
        )
        for start in range(0, audio.size, piece):
            if rng.random() < piece / 8_000:
                padding, pause, threshold = rng.uniform(0, 1.5), rng.uniform(0.1, 1), rng.uniform(0.1, 1)
                listening.configure(
                    TurnDetectionSettings(prefix_padding=padding, end_silence=pause, threshold=threshold)
                )
            await listening.hear(audio[start : start + piece])
        await listening.end()
        assert len(floor.turns) >= 4
        for span, heard in floor.turns:
            assert np.array_equal(heard, audio[span.start : span.end])

    asyncio.run(test())


def test_commit_and_clear_in_the_midst_of_speech() -> None:
    async def test() -> None:
        floor = Floor()
        listening = DetectedListening(floor, RATE, TurnDetectionSettings(), VoiceActivityService(LoudnessModel()))
        with pytest.raises(RefusalError) as refused:
            await listening.commit()
        assert refused.value.reason is Reason.TURN_EMPTY
        await listening.hear(counted(0.5 + 1 / RATE))
        floor.full = True
        with pytest.raises(RefusalError):
            await listening.commit()
        floor.full = False
        await listening.commit()
        assert [(span.start, span.end) for span, _ in floor.turns] == [(0, 4_001)]
        await listening.hear(counted(0.5))
        assert listening.holds_audio
        await listening.clear()
        assert not listening.holds_audio and floor.turn == []
        await listening.hear(np.concatenate([counted(0.5), quiet(1)]))
        assert floor.turns[-1][0].start == 8_001, "no later turn holds what was cleared"

    asyncio.run(test())


def test_callers_of_one_moment_share_a_run() -> None:
    async def test() -> None:
        model = LoudnessModel()
        service = VoiceActivityService(model)
        states = [VoiceActivityState(RATE) for _ in range(2 * INLINE_FRAMES)]
        for state in states:
            state.push(counted(0.07))
        frames = await asyncio.gather(*map(service.frames, states))
        assert model.batches == [len(states)] and [len(one) for one in frames] == [2] * len(states)
        assert await service.frames(states[0]) == []
        await service.close()

    asyncio.run(test())


def test_a_run_that_fails_tells_its_callers_and_no_other() -> None:
    class Broken(LoudnessModel):
        def advance(self, states: Sequence[VoiceActivityState]) -> list[list[SpeechFrame]]:
            if not self.batches:
                self.batches.append(0)
                raise ValueError("once")
            return super().advance(states)

    async def test() -> None:
        service = VoiceActivityService(Broken())
        state = VoiceActivityState(RATE)
        state.push(counted(0.1))
        with pytest.raises(ValueError, match="once"):
            await service.frames(state)
        assert len(await service.frames(state)) == 3

    asyncio.run(test())
