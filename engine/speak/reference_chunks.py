"""The chunks of the official streaming: each sees the whole turn before it, and draws its randomness anew.

Source: zai-org/GLM-4-Voice flow_inference.py (`AudioDecoder.token2wav`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from antiphon.engine.speak.chunks import ChunkJob, ChunkResult, Solving, SpeakingMode
from antiphon.engine.speak.flow import Flow, FlowRequest
from antiphon.engine.speak.inputs import checked_vector
from antiphon.engine.speak.packing import Packing
from antiphon.engine.speak.seams import JoinedMel, SeamState, after_chunk, cut_wave, join_mel, lay_over
from antiphon.engine.speak.source import official_randomness
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.timeline import mel_frames_of
from antiphon.engine.types import ArrayLike, Float32Array

# (index of the chunk in its turn, F0 f32[frames] in Hz) -> f32[frames · hop]: the chunk's fresh source.
SourceFunction = Callable[[int, Float32Array], ArrayLike]


@dataclass(frozen=True)
class ReferenceJob(ChunkJob):
    """One chunk that is due."""

    prompt_tokens: tuple[int, ...]  # all that were spoken before
    prompt_mels: tuple[torch.Tensor, ...]  # f32[mel_bins, frames] of each chunk before, as its vocoder saw it
    before: SeamState
    source: SourceFunction | None  # None: the official code's draws

    @property
    def flow_frames(self) -> int:
        """Mel frames of the flow's call, prompt included."""
        return mel_frames_of(len(self.prompt_tokens) + len(self.tokens))

    def flow_request(self) -> FlowRequest:
        """The prompt's mel is what the vocoder saw, cached frames twice: the official code's own."""
        prompt_mel = torch.cat(self.prompt_mels, dim=1) if self.prompt_mels else None
        return FlowRequest(self.tokens, self.prompt_tokens, prompt_mel)


@dataclass(frozen=True)
class ReferenceResult(ChunkResult):
    """What became of a job. Its mel is what the vocoder saw, the frame seen twice included."""

    f0: torch.Tensor  # f32[frames] Hz
    source: torch.Tensor  # f32[frames · hop], fresh
    after: SeamState


class ReferenceMode(SpeakingMode):
    """The official streaming over one flow and one vocoder."""

    def __init__(self, flow: Flow, vocoder: HiFT) -> None:
        self._flow = flow
        self._vocoder = vocoder

    def begin(self, jobs: Sequence[ChunkJob]) -> list[Solving]:
        """One pack for the encoder and the conditioning."""
        solves = self._flow.start([_own(job).flow_request() for job in jobs])
        return [Solving(job, solve) for job, solve in zip(jobs, solves, strict=True)]

    def finish(self, solvings: Sequence[Solving]) -> list[ChunkResult]:
        """One pack for the vocoder."""
        jobs = [_own(solving.job) for solving in solvings]
        return list(_vocode(self._vocoder, jobs, [s.solve.mel for s in solvings if s.solve is not None]))


def _own(job: ChunkJob) -> ReferenceJob:
    assert isinstance(job, ReferenceJob), f"a {type(job).__name__} names the reference mode"
    return job


def _vocode(
    vocoder: HiFT,
    jobs: Sequence[ReferenceJob],
    flow_mels: Sequence[torch.Tensor],  # f32[mel_bins, frames] each, after the prompt's frames
) -> list[ReferenceResult]:
    """What comes after the flow: seams, F0, source and filter, packed over the jobs."""
    joined = [join_mel(mel, job.before, final=job.final) for job, mel in zip(jobs, flow_mels, strict=True)]
    voiced = [i for i, join in enumerate(joined) if join.mel.shape[1]]
    spoken = _Spoken.of(vocoder, [jobs[i] for i in voiced], [joined[i] for i in voiced]) if voiced else None
    results = []
    for i, (job, flow_mel, join) in enumerate(zip(jobs, flow_mels, joined, strict=True)):
        if spoken is None or i not in voiced:
            nothing = flow_mel.new_zeros(0)
            results.append(ReferenceResult(job, flow_mel, join.mel, nothing, nothing, nothing, SeamState()))
            continue
        at = voiced.index(i)
        wave = cut_wave(spoken.waves[at], vocoder.config.hop, final=job.final)
        after = after_chunk(join, spoken.used[at], vocoder.config.hop)
        results.append(ReferenceResult(job, flow_mel, join.mel, wave, spoken.f0s[at], spoken.fresh[at], after))
    return results


@dataclass(frozen=True)
class _Spoken:
    """What the vocoder made of the jobs that have mel, one entry a job."""

    f0s: tuple[torch.Tensor, ...]
    fresh: list[torch.Tensor]
    used: list[torch.Tensor]
    waves: tuple[torch.Tensor, ...]

    @classmethod
    def of(cls, vocoder: HiFT, jobs: Sequence[ReferenceJob], joined: Sequence[JoinedMel]) -> "_Spoken":
        mels = [join.mel for join in joined]
        packing = Packing.of([mel.shape[1] for mel in mels], mels[0].device)
        rows = torch.cat([mel.t() for mel in mels])
        f0s = vocoder.f0_predictor(rows, packing.cu_seqlens).split(packing.lengths)
        fresh = _fresh_sources(vocoder, jobs, f0s)
        used = [lay_over(source, job.before) for source, job in zip(fresh, jobs, strict=True)]
        wave = vocoder(rows, torch.cat(used), packing.cu_seqlens)
        return cls(f0s, fresh, used, wave.split([len(source) for source in used]))


def _fresh_sources(vocoder: HiFT, jobs: Sequence[ReferenceJob], f0s: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """f32[frames · hop] of each job: what its caller injects, or the harmonic source with the official draws."""
    sources = {
        i: checked_vector(job.source(job.index, f0.cpu().numpy().copy()), len(f0) * vocoder.config.hop, "source").to(
            f0.device
        )
        for i, (job, f0) in enumerate(zip(jobs, f0s, strict=True))
        if job.source is not None
    }
    drawn = [i for i in range(len(jobs)) if i not in sources]
    if drawn:
        device = f0s[0].device
        draws = [official_randomness(jobs[i].flow_frames, len(f0s[i]), vocoder.config) for i in drawn]
        packing = Packing.of([len(f0s[i]) for i in drawn], device)
        made = vocoder.m_source(
            torch.cat([f0s[i] for i in drawn]),
            torch.stack([draw.phase for draw in draws]).to(device),
            torch.cat([draw.noise for draw in draws]).to(device),
            packing.cu_seqlens,
        )
        hop = vocoder.config.hop
        sources.update(zip(drawn, made.split([n * hop for n in packing.lengths]), strict=True))
    return [sources[i] for i in range(len(jobs))]
