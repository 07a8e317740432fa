"""How likely is it that a caller speaks? Silero's network through ONNX Runtime, one run for many callers.

The network hears 32 ms at a time, together with the last 4 ms before them, and carries an LSTM's memory from frame to
frame (snakers4/silero-vad, utils_vad.py: OnnxWrapper). It knows two rates:

    8 kHz     frames of 256 samples after 32 of context
    16 kHz    frames of 512 samples after 64 of context

8 kHz audio is heard as it is; every other rate is brought to 16 kHz.

The file of weights lies in the wheel of `silero-vad`. That package is never imported: it would set torch to one thread
for the whole process.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from antiphon.engine.errors import AudioError, CheckpointError
from antiphon.engine.hear.audio import check_rate, first_channel
from antiphon.engine.hear.resample import StreamingResampler
from antiphon.engine.timeline import InputSample
from antiphon.engine.types import ArrayLike, Float32Array

FRAME_SAMPLES: Final = {8_000: 256, 16_000: 512}  # by the network's rate: 32 ms
CONTEXT_SAMPLES: Final = {8_000: 32, 16_000: 64}  # 4 ms
MEMORY_WIDTH: Final = 128  # of the LSTM's hidden and of its cell state

# In quiet the cell state drifts away (20 minutes of A-law silence: 34, of a square wave: 3,700), and after two seconds
# of it already the next word may be noticed a third of a second late, part of it lost. So a memory of nothing but quiet
# is cleared: over 270 pairs of sentences, gaps and backgrounds the onset then lay at most two frames behind that at the
# beginning of a call, and the gaps held no more false frames than without.
QUIET_PROBABILITY: Final = 0.35  # every frame below it is quiet
QUIET_FRAMES: Final = 50  # 1.6 s


class SpeechFrame(NamedTuple):
    """How likely it is that the caller speaks within one frame."""

    start: InputSample  # the call's first sample is 0, at the caller's own rate; frames abut
    end: InputSample
    probability: float  # in [0, 1]


@dataclass(eq=False)
class VoiceActivityState:
    """One caller: the audio that waits, and what the network remembers. Raises AudioError for a rate out of range."""

    input_rate: int  # Hz, of the audio that is pushed
    start: InputSample = InputSample(0)  # position of the first sample pushed
    rate: int = field(init=False)  # Hz, as the network hears it: 8,000 or 16,000
    resampler: StreamingResampler | None = field(init=False)  # None: the rates are equal
    waiting: Float32Array = field(init=False)  # [n], at `rate`: what no frame has taken yet
    frames_taken: int = field(init=False, default=0)
    context: Float32Array = field(init=False)  # [32] or [64]: the samples before the next frame to be run
    memory: Float32Array = field(init=False)  # [2, 128]: the LSTM's hidden and cell state
    quiet_frames: int = field(init=False, default=0)  # run since the last that was not quiet, or since the clearing

    def __post_init__(self) -> None:
        check_rate(self.input_rate, "input rate")
        self.rate = 8_000 if self.input_rate == 8_000 else 16_000
        self.resampler = None if self.rate == self.input_rate else StreamingResampler(self.input_rate, self.rate)
        self.waiting = np.zeros(0, np.float32)
        self.context = np.zeros(CONTEXT_SAMPLES[self.rate], np.float32)
        self.memory = np.zeros((2, MEMORY_WIDTH), np.float32)

    @property
    def frames_waiting(self) -> int:
        """How many whole frames wait to be taken."""
        return self.waiting.size // FRAME_SAMPLES[self.rate]

    def push(self, pcm: ArrayLike) -> None:
        """Take more audio: f32[n] or f32[channels, n] in [-1, 1], of which channel 0 is heard. It may be empty.

        Raises AudioError, and takes nothing, when it is not finite.
        """
        samples = first_channel(pcm)
        if self.resampler is not None:
            samples = self.resampler.push(samples)
        self.waiting = np.concatenate([self.waiting, samples])

    def take_frame(self) -> tuple[InputSample, InputSample, Float32Array]:
        """Where the next whole frame starts and ends in the caller's audio, and its samples, f32[256] or f32[512]."""
        length = FRAME_SAMPLES[self.rate]
        if self.waiting.size < length:
            raise IndexError(
                f"{self.waiting.size} samples wait, less than a frame of {length}; ask frames_waiting first."
            )
        start = self._boundary(self.frames_taken)
        self.frames_taken += 1
        frame, self.waiting = self.waiting[:length], self.waiting[length:]
        return start, self._boundary(self.frames_taken), frame

    def _boundary(self, frames: int) -> InputSample:
        """The input sample at which frame `frames` starts, rounded down where the rates do not divide."""
        return InputSample(self.start + frames * FRAME_SAMPLES[self.rate] * self.input_rate // self.rate)

    def remember(self, context: Float32Array, memory: Float32Array, probability: float) -> None:
        """Store what a run left behind, or clear the memory where it holds nothing but quiet."""
        self.context, self.memory = context, memory
        self.quiet_frames = 0 if probability >= QUIET_PROBABILITY else self.quiet_frames + 1
        if self.quiet_frames == QUIET_FRAMES:
            self.memory = np.zeros_like(memory)
            self.quiet_frames = 0


class _InferenceSession(Protocol):
    """What is used of onnxruntime.InferenceSession, which comes without types."""

    def run(self, output_names: Sequence[str], input_feed: dict[str, Any]) -> list[Float32Array]:
        """The named outputs for the inputs given by name."""

    def get_inputs(self) -> list[Any]:
        """The inputs, each with a name."""


class VoiceActivityModel:
    """The network. It keeps nothing of any caller, so one serves all of them."""

    def __init__(self, session: _InferenceSession) -> None:
        self._session = session

    @classmethod
    def load(cls, file: str | Path | None = None) -> "VoiceActivityModel":
        """The network in `file`, or in the wheel of `silero-vad`, on one thread of the CPU.

        Raises CheckpointError when the file, or ONNX Runtime, is missing, or the file is another network.
        """
        path = network_in_wheel() if file is None else Path(file)
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; expected Silero's voice activity network. {_REINSTALL}")
        return cls(_open(path))

    def run_batch(self, frames: Sequence[tuple[VoiceActivityState, Float32Array]]) -> Float32Array:
        """Speech probabilities, f32[N], of one frame of each of N callers: one run for each rate among them.

        A frame is f32[256] for a caller heard at 8 kHz, f32[512] at 16 kHz; the callers' states move on by it.
        """
        if len({id(state) for state, _ in frames}) != len(frames):
            raise ValueError("a caller is in the batch twice; a frame needs the memory that the one before it leaves.")
        for state, frame in frames:
            if frame.shape != (FRAME_SAMPLES[state.rate],):
                raise AudioError(
                    f"a frame has shape {frame.shape}; expected {FRAME_SAMPLES[state.rate]} at {state.rate} Hz."
                )
        probabilities = np.empty(len(frames), np.float32)
        for rate in FRAME_SAMPLES:
            rows = [row for row, (state, _) in enumerate(frames) if state.rate == rate]
            if rows:
                probabilities[rows] = self._run([frames[row] for row in rows], rate)
        return probabilities

    def advance(self, states: Sequence[VoiceActivityState]) -> list[list[SpeechFrame]]:
        """Run every whole frame that waits, of all callers together, and return each caller's in order."""
        results: list[list[SpeechFrame]] = [[] for _ in states]
        while rows := [row for row, state in enumerate(states) if state.frames_waiting]:
            taken = [states[row].take_frame() for row in rows]
            batch = [(states[row], samples) for row, (_, _, samples) in zip(rows, taken, strict=True)]
            for row, (start, end, _), probability in zip(rows, taken, self.run_batch(batch), strict=True):
                results[row].append(SpeechFrame(start, end, float(probability)))
        return results

    def _run(self, frames: Sequence[tuple[VoiceActivityState, Float32Array]], rate: int) -> Float32Array:
        """f32[N], of callers who are all heard at `rate`."""
        audio = np.stack([np.concatenate([state.context, frame]) for state, frame in frames])
        memory = np.stack([state.memory for state, _ in frames], axis=1)  # [2, N, 128]
        output, memory = self._session.run(
            ["output", "stateN"], {"input": audio, "state": memory, "sr": np.array(rate, np.int64)}
        )
        probabilities: Float32Array = output[:, 0]
        for row, (state, _) in enumerate(frames):
            # Copies: a view would hold the whole batch for as long as one caller is silent.
            context = audio[row, -CONTEXT_SAMPLES[rate] :].copy()
            state.remember(context, memory[:, row].copy(), float(probabilities[row]))
        return probabilities


_REINSTALL: Final = "Install it anew: pip install --force-reinstall --no-deps 'silero-vad>=6.2.3'"


def network_in_wheel() -> Path:
    """Where `silero-vad` keeps its network, found without importing the package."""
    spec = find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            "silero-vad is not installed; voice activity needs the network in its wheel. " + _REINSTALL
        )
    return Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.onnx"


def _open(path: Path) -> _InferenceSession:
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as failures
    except ModuleNotFoundError as error:
        raise CheckpointError(
            "ONNX Runtime is not installed; voice activity needs it: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        session: _InferenceSession = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except (failures.InvalidProtobuf, failures.InvalidArgument, failures.InvalidGraph, failures.Fail) as error:
        raise CheckpointError(f"{path} cannot be read as an ONNX network: {error} {_REINSTALL}") from error
    inputs = sorted(given.name for given in session.get_inputs())
    if inputs != ["input", "sr", "state"]:
        raise CheckpointError(f"{path} takes {inputs}; expected Silero's input, sr and state. {_REINSTALL}")
    return session
