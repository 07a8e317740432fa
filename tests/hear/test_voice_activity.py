"""The voice activity network: equal to its file stepped by hand, in any company, in any pieces, after any quiet."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from compare import assert_close
from goldens import golden
from tolerances import TOLERANCE

from antiphon.engine.errors import AudioError, CheckpointError
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.hear.resample import resample
from antiphon.engine.hear.voice_activity import (
    CONTEXT_SAMPLES,
    FRAME_SAMPLES,
    QUIET_FRAMES,
    SpeechFrame,
    VoiceActivityModel,
    VoiceActivityState,
    network_in_wheel,
)
from antiphon.engine.timeline import InputSample
from antiphon.engine.types import Float32Array


@pytest.fixture(scope="module")
def model() -> VoiceActivityModel:
    return VoiceActivityModel.load()


def speech(rate: int, name: str = "en_speech") -> Float32Array:
    pcm, recorded_rate = read_audio(golden(f"speech_tokenizer/wav/{name}.wav"))
    return resample(pcm[0], recorded_rate, rate)


def heard(model: VoiceActivityModel, pcm: Float32Array, rate: int) -> list[SpeechFrame]:
    state = VoiceActivityState(rate)
    state.push(pcm)
    return model.advance([state])[0]


def probabilities(frames: list[SpeechFrame]) -> list[float]:
    return [frame.probability for frame in frames]


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_equals_the_network_stepped_by_hand(model: VoiceActivityModel, rate: int) -> None:
    pcm, length, context = speech(rate), FRAME_SAMPLES[rate], CONTEXT_SAMPLES[rate]
    session = onnxruntime.InferenceSession(str(network_in_wheel()), providers=["CPUExecutionProvider"])
    padded, memory, expected = np.pad(pcm, (context, 0)), np.zeros((2, 1, 128), np.float32), []
    for start in range(0, pcm.size - length + 1, length):
        given = {"input": padded[None, start : start + context + length], "state": memory, "sr": np.array(rate)}
        output, memory = session.run(None, given)
        expected.append(output[0, 0])
    assert_close(probabilities(heard(model, pcm, rate)), expected, TOLERANCE["voice-activity"], "probabilities")
    assert max(expected) > 0.9 and min(expected) < 0.1


def test_a_batch_equals_its_callers_alone(model: VoiceActivityModel) -> None:
    """Callers at four rates, each with speech of its own, some of them silent for a while: one run for each frame."""
    calls = [
        (8_000, np.roll(speech(8_000), -5_000)),
        (16_000, speech(16_000)),
        (22_050, speech(22_050, "zh_speech")),
        (8_000, speech(8_000)[:9_000]),
        (48_000, speech(48_000)[: 48_000 + 7]),
        (16_000, np.zeros(0, np.float32)),
    ]
    states = [VoiceActivityState(rate) for rate, _ in calls]
    for state, (_, pcm) in zip(states, calls, strict=True):
        state.push(pcm)
    for together, (rate, pcm) in zip(model.advance(states), calls, strict=True):
        alone = heard(model, pcm, rate)
        assert [frame[:2] for frame in together] == [frame[:2] for frame in alone]
        assert_close(probabilities(together), probabilities(alone), TOLERANCE["voice-activity"], f"at {rate} Hz")


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_pieces_equal_whole(model: VoiceActivityModel, rate: int) -> None:
    pcm = speech(rate)
    whole = heard(model, pcm, rate)
    rng = np.random.default_rng(rate)
    state, frames, position = VoiceActivityState(rate), [], 0
    while position < pcm.size:
        piece = int(np.exp(rng.uniform(0, np.log(rate))))  # 1 sample to 1 second
        state.push(pcm[position : position + piece])
        frames += model.advance([state])[0]
        position += piece
    assert frames == whole


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_frames_abut_in_the_callers_own_samples(model: VoiceActivityModel, rate: int) -> None:
    state = VoiceActivityState(rate, start=InputSample(1_000))
    state.push(np.zeros(10 * rate, np.float32))
    frames = model.advance([state])[0]
    assert frames[0].start == 1_000
    assert all(left.end == right.start for left, right in zip(frames, frames[1:], strict=False))
    for number, frame in enumerate(frames, start=1):
        assert frame.end == 1_000 + int(number * 0.032 * rate + 1e-6)
    left_over = 1_000 + 10 * rate - frames[-1].end
    assert 0 <= left_over < 0.035 * rate  # less than a frame and the resampler's look-ahead


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("name", ["silence", "noise"])
def test_silence_and_noise_are_not_speech(model: VoiceActivityModel, name: str, rate: int) -> None:
    assert max(probabilities(heard(model, speech(rate, name), rate))) < 0.35


A_LAW_SILENCE = np.float32(8 / 32_768)
BEFORE_SPEECH = {  # at 8 kHz, whole frames, longer than it takes for the memory to be cleared
    "digital silence": np.zeros(9_376 * 256, np.float32),
    "A-law silence": np.full(9_376 * 256, A_LAW_SILENCE),
    "a full-scale square wave, then silence": np.concatenate(
        [np.tile(np.repeat(np.float32([1, -1]), 16), 8 * 1_876), np.zeros((QUIET_FRAMES + 1) * 256, np.float32)]
    ),
}


@pytest.mark.parametrize("before", BEFORE_SPEECH)
def test_speech_is_noticed_as_fast_as_at_the_beginning_of_a_call(model: VoiceActivityModel, before: str) -> None:
    pcm, rate = read_audio(Path(__file__).parents[2] / "demo" / "clips" / "tt-weasels.wav")

    def first_voiced(frames: list[SpeechFrame]) -> int:
        return next(number for number, probability in enumerate(probabilities(frames)) if probability >= 0.5)

    noise = BEFORE_SPEECH[before]
    afterwards = first_voiced(heard(model, np.concatenate([noise, pcm[0]]), rate)) - noise.size // FRAME_SAMPLES[rate]
    assert 0 <= afterwards <= first_voiced(heard(model, pcm[0], rate)) + 1


def test_samples_beyond_all_reason_are_forgotten(model: VoiceActivityModel) -> None:
    state = VoiceActivityState(16_000)
    for pcm in (np.full(16_000, 3e38, np.float32), speech(16_000, "silence"), speech(16_000)):
        state.push(pcm)
        frames = model.advance([state])[0]
    assert max(probabilities(frames)) > 0.9


def test_refuses_what_is_no_audio_and_takes_nothing_of_it() -> None:
    state = VoiceActivityState(16_000)
    with pytest.raises(AudioError, match="NaN"):
        state.push(np.array([0.0, np.nan], np.float32))
    assert state.waiting.size == 0
    with pytest.raises(AudioError, match="input rate"):
        VoiceActivityState(0)


def test_refuses_a_frame_of_the_other_rate_and_a_caller_twice(model: VoiceActivityModel) -> None:
    state, frame = VoiceActivityState(8_000), np.zeros(512, np.float32)
    with pytest.raises(AudioError, match="expected 256 at 8000 Hz"):
        model.run_batch([(state, frame)])
    with pytest.raises(ValueError, match="twice"):
        model.run_batch([(state, frame[:256]), (state, frame[:256])])
    assert model.run_batch([]).shape == (0,)


def test_loading_leaves_torch_its_threads() -> None:
    threads = torch.get_num_threads()
    VoiceActivityModel.load()
    assert torch.get_num_threads() == threads
    assert "silero_vad" not in sys.modules


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        VoiceActivityModel.load(tmp_path / "none.onnx")
    (tmp_path / "cut.onnx").write_bytes(network_in_wheel().read_bytes()[:10_000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        VoiceActivityModel.load(tmp_path / "cut.onnx")
    with pytest.raises(CheckpointError, match="expected Silero's input, sr and state"):
        VoiceActivityModel.load(network_in_wheel().with_name("silero_vad_16k_sequence.onnx"))
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(CheckpointError, match="pip install onnxruntime"):
            VoiceActivityModel.load()
    monkeypatch.setattr("antiphon.engine.hear.voice_activity.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="silero-vad is not installed"):
        VoiceActivityModel.load()
