"""The chunks of seamless streaming: one turn's mel and wave, made piece by piece and joined without a seam.

The end of a chunk's mel is not as good as what it becomes once later tokens are known. So the last frames of a chunk
are held back: the next chunk makes them again, from the same noise, and its version is faded in linearly over them.
Meanwhile they serve the vocoder as a look-ahead (`vocoder_stream.py`).

    flow mel      ├─ faded ─┼────────────────┼─ held back ─┤
    final mel     ├──────────────────────────┤
    wave      ┈┈─────────────┤ the rest waits for the vocoder's look-ahead

Each frame is final once and each sample is spoken once: a turn of n tokens comes out as mel_frames_of(n) · hop samples,
whatever the chunks. The state does not grow beyond the encoder's history.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from antiphon.engine.speak.chunks import ChunkJob, ChunkResult, Solving, SpeakingMode
from antiphon.engine.speak.flow import Flow
from antiphon.engine.speak.flow_window import (
    EncodedTokens,
    FlowWindow,
    WindowSettings,
    frames_of_window,
    no_tokens,
    start_windows,
)
from antiphon.engine.speak.seamless_settings import SeamlessSettings
from antiphon.engine.speak.vocoder_passes import VocoderPasses
from antiphon.engine.speak.vocoder_stream import ContinuousVocoder, VocoderJob, VocoderState
from antiphon.engine.timeline import first_mel_frame_of


@dataclass(frozen=True)
class SeamlessState:
    """Where one turn stands. Never changed: a turn can go back to an earlier one."""

    seed: int  # of the turn, 0 to 2⁶³ − 1
    encoded: EncodedTokens
    final_mel: torch.Tensor  # f32[frames, mel_bins]: the last of those that stand for good, the next window's prompt
    held_mel: torch.Tensor  # f32[frames, mel_bins] after them, held back
    vocoder: VocoderState


@dataclass(frozen=True)
class SeamlessJob(ChunkJob):
    """One chunk that is due. One without tokens ends the turn with what is held back."""

    mode: "SeamlessMode"
    before: SeamlessState

    @property
    def flow_frames(self) -> int:
        """Mel frames of its window."""
        return self.mode.window_frames(self.before, len(self.tokens)) if self.tokens else 0


@dataclass(frozen=True)
class SeamlessSolving(Solving):
    """A job between two steps."""

    encoded: EncodedTokens  # with the job's tokens


@dataclass(frozen=True)
class SeamlessResult(ChunkResult):
    """What became of a job. Its mel are the frames that became final."""

    after: SeamlessState


class SeamlessMode(SpeakingMode):
    """Seamless streaming with given settings over one flow and one vocoder."""

    def __init__(self, flow: Flow, passes: VocoderPasses, settings: SeamlessSettings) -> None:
        """Raises InputError for a look-ahead that does not fit the vocoder."""
        self.settings = settings
        self._flow = flow
        self._window = WindowSettings(settings.prompt_tokens, settings.held_back_frames, settings.history_tokens)
        self._vocoder = ContinuousVocoder(
            passes.vocoder, look_ahead=settings.look_ahead, provisional=settings.provisional, passes=passes
        )

    @property
    def withheld_frames(self) -> int:
        """Mel frames at a chunk's end that are spoken with the next one."""
        vocoder = self._vocoder
        return max(self.settings.held_back_frames + vocoder.final_look_ahead, vocoder.look_ahead)

    def new_turn(self, seed: int) -> SeamlessState:
        """A turn before its first token. Raises InputError for a seed that is not 0 to 2⁶³ − 1."""
        nothing = torch.zeros(0, self._flow.config.mel_bins, device=self._flow.device)
        return SeamlessState(seed, no_tokens(self._flow), nothing, nothing, self._vocoder.begin(seed))

    def window_frames(self, before: SeamlessState, new_tokens: int) -> int:
        """Mel frames of the window that takes in so many tokens."""
        return len(frames_of_window(before.encoded, new_tokens, self._window))

    def begin(self, jobs: Sequence[ChunkJob]) -> list[Solving]:
        """One pack for the encoder, the conditioning and the noise."""
        own = [_own(job) for job in jobs]
        windows = [
            FlowWindow(job.before.seed, job.before.encoded, job.tokens, job.before.final_mel)
            for job in own
            if job.tokens
        ]
        started = iter(start_windows(self._flow, windows, self._window) if windows else ())
        solvings: list[Solving] = []
        for job in own:
            if not job.tokens:
                solvings.append(SeamlessSolving(job, None, job.before.encoded))
                continue
            start = next(started)
            solvings.append(SeamlessSolving(job, start.solve, start.after))
        return solvings

    def finish(self, solvings: Sequence[Solving]) -> list[ChunkResult]:
        """One pack for the vocoder."""
        joins = [self._join(solving) for solving in solvings]
        jobs = [
            VocoderJob(join.job.before.vocoder, join.final.t(), join.held.t(), last=join.job.final) for join in joins
        ]
        return [
            SeamlessResult(join.job, join.flow_mel.t(), join.final.t(), spoken.wave, self._after(join, spoken.after))
            for join, spoken in zip(joins, self._vocoder.run(jobs), strict=True)
        ]

    def _join(self, solving: Solving) -> "_Join":
        """What became final and what is held back now."""
        assert isinstance(solving, SeamlessSolving), "this mode began it"
        job, solve = _own(solving.job), solving.solve
        held = job.before.held_mel
        flow_mel = held if solve is None else solve.x[solve.prompt_frames :]
        mel = fade(held, flow_mel)
        if job.final:
            return _Join(job, solving.encoded, flow_mel, mel, mel[:0])
        known = job.before.encoded.final_frames(self._window)
        final = solving.encoded.final_frames(self._window) - known
        return _Join(job, solving.encoded, flow_mel, mel[:final], mel[final:])

    def _after(self, join: "_Join", vocoder: VocoderState) -> SeamlessState:
        """Of the final mel no more than the next window's prompt."""
        final = torch.cat([join.job.before.final_mel, join.final])
        end = join.encoded.final_frames(self._window)
        prompt = end - first_mel_frame_of(join.encoded.window_start(self._window))
        return SeamlessState(
            join.job.before.seed, join.encoded, final[len(final) - prompt :].clone(), join.held.clone(), vocoder
        )


def fade(
    held: torch.Tensor,  # f32[n, mel_bins]: as made before
    mel: torch.Tensor,  # f32[frames, mel_bins]: the same frames as made now, and those after them
) -> torch.Tensor:
    """`mel` with the held frames faded out over its first: both weights run linearly and sum to 1."""
    overlap = len(held)
    new = torch.arange(1, overlap + 1, dtype=mel.dtype, device=mel.device)[:, None] / (overlap + 1)
    return torch.cat([torch.lerp(held, mel[:overlap], new), mel[overlap:]])


@dataclass(frozen=True)
class _Join:
    """A job's mel, joined to what was held back."""

    job: SeamlessJob
    encoded: EncodedTokens
    flow_mel: torch.Tensor  # f32[frames, mel_bins] as the flow made it
    final: torch.Tensor  # f32[frames, mel_bins] that stand for good now
    held: torch.Tensor  # f32[frames, mel_bins] after them


def _own(job: ChunkJob) -> SeamlessJob:
    assert isinstance(job, SeamlessJob), f"a {type(job).__name__} names a seamless mode"
    return job
