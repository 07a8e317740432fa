"""One turn's wave without seams: mel goes in piece by piece, and out comes what one pass over all of it would give.

A frame's wave hangs on the mel around it. So each piece's last frames wait until enough of what follows is known, the
look-ahead: 19 frames in the published config (`Reach`; 13 for the filter in the mel, 14 in the source, which hangs on
F0 and so on 5 frames more). A turn keeps what its next frames will look back on, about 30 frames of mel and of source,
where its harmonics stand (`continuous_source.py`), and nothing else: the state does not grow with the turn.

    mel kept      ├─ looked back on ─┼─ waiting ─┤
    mel given                                    ├──── final ────┼─ provisional ─┤
    wave spoken                      ├───────────────────┤
                                                         └─── look-ahead ────┘

Provisional frames are those that a later piece will give anew. With `provisional=0` none is heard in what is spoken and
the wave is exact. Otherwise so many of the look-ahead's frames may be provisional, and a shorter look-ahead than the
exact one may be asked for: beyond it the turn is taken to end. The wave then comes sooner and differs near the pieces'
ends by what those frames change there; F0 and phase are only ever carried on from final frames, so nothing adds up.

The halo is computed anew with each piece rather than carried in every layer: pieces of 10, 25 and 50 tokens take 11, 4
and 2 % more arithmetic than the same wave in one pass (with the same halo for every layer it would be 41, 16 and 8 %).
A state in each of the filter's 54 convolutions would save no more than that, and would have to be copied and put back
for every provisional frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from antiphon.engine.errors import InputError
from antiphon.engine.speak.continuous_source import SourceState, SourceStretch, make_sources
from antiphon.engine.speak.inputs import checked_mel
from antiphon.engine.speak.packing import Packing
from antiphon.engine.speak.reach import FilterSpans, Reach, Span
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.speak.vocoder_passes import SourceWindow, VocoderPasses
from antiphon.engine.speak.vocoder_window import FilterWindow
from antiphon.engine.types import ArrayLike, Float32Array


@dataclass(frozen=True)
class VocoderState:
    """Where one turn's wave stands. Never changed: a turn can go back to an earlier one."""

    frames: int  # final mel frames taken in
    spoken: int  # mel frames whose wave was returned
    mel: torch.Tensor  # f32[n, mel_bins]: the last n of the final frames
    source_state: SourceState
    source: torch.Tensor  # f32[m · hop]: the last m frames' of those made for good
    ended: bool = False

    @property
    def waiting(self) -> int:
        """Final frames whose wave was not returned yet."""
        return self.frames - self.spoken


@dataclass(frozen=True)
class VocoderJob:
    """One turn's next piece."""

    state: VocoderState
    mel: torch.Tensor  # f32[mel_bins, frames] that are final; there may be none
    provisional: torch.Tensor  # f32[mel_bins, frames] after them; they will be given anew
    last: bool = False  # the turn ends with `mel`: all of it is spoken


@dataclass(frozen=True)
class VocoderResult:
    """What became of a job."""

    wave: torch.Tensor  # f32[frames · hop], which may be none
    after: VocoderState


class ContinuousVocoder:
    """The vocoder for turns that are spoken piece by piece, several at once. Holds nothing of any turn."""

    def __init__(
        self,
        vocoder: HiFT,
        *,
        look_ahead: int | None = None,
        provisional: int = 0,
        passes: VocoderPasses | None = None,
    ) -> None:
        """`look_ahead`: mel frames known beyond a frame that is spoken, None for as many as it takes to be exact.
        `provisional`: how many of them, the last ones, may be provisional. `passes`: this vocoder's, shared with
        others, or in buckets; None: its own, without.

        Raises InputError where fewer final frames than F0 looks ahead are left of the look-ahead: the source of what
        is spoken must be final.
        """
        self.vocoder = vocoder
        self._passes = passes or VocoderPasses(vocoder)
        self.reach = Reach.of(vocoder.config, len(vocoder.f0_predictor.condnet))
        self.look_ahead = self.reach.look_ahead if look_ahead is None else look_ahead
        self.provisional = provisional
        if provisional < 0 or self.look_ahead > self.reach.look_ahead or self.final_look_ahead < self.reach.f0:
            raise InputError(
                f"the vocoder's look-ahead is {self.look_ahead} mel frames, {provisional} of them provisional; "
                f"expected at most {self.reach.look_ahead}, at least {self.reach.f0} of them final."
            )

    @property
    def final_look_ahead(self) -> int:
        """Final mel frames that a frame waits for."""
        return self.look_ahead - self.provisional

    @property
    def exact(self) -> bool:
        """Whether the pieces' wave is that of one pass."""
        return self.final_look_ahead == self.reach.look_ahead

    def begin(self, seed: int) -> VocoderState:
        """A turn's state before its first frame. Raises InputError for a seed that is not 0 to 2⁶³ − 1."""
        config, device = self.vocoder.config, self.vocoder.conv_pre.weight.device
        return VocoderState(
            frames=0,
            spoken=0,
            mel=torch.zeros(0, config.mel_bins, device=device),
            source_state=SourceState.begin(seed, config.harmonics + 1, device),
            source=torch.zeros(0, device=device),
        )

    @torch.inference_mode()
    def run(self, jobs: Sequence[VocoderJob]) -> list[VocoderResult]:
        """The results of `jobs`, each of another turn, in their order. Raises InputError for a turn that has ended."""
        pieces = [_Piece.of(self, job) for job in jobs]
        sources = self._sources(pieces)
        spoken = [i for i, piece in enumerate(pieces) if piece.spoken_to > piece.state.spoken]
        windows = [pieces[i].window(self.vocoder, sources[i].source) for i in spoken]
        waves = dict(zip(spoken, self._passes.waves(windows), strict=True)) if windows else {}
        return [
            VocoderResult(waves.get(i, piece.mel.new_zeros(0)), piece.after(self, sources[i]))
            for i, piece in enumerate(pieces)
        ]

    @torch.inference_mode()
    def one_pass(self, mel: torch.Tensor, seed: int) -> torch.Tensor:
        """f32[frames · hop]: the wave of a whole turn's mel f32[mel_bins, frames] at once. The pieces must equal it."""
        rows = mel.t()
        cu_seqlens = Packing.of([len(rows)], rows.device).cu_seqlens
        f0 = self._passes.f0(rows, cu_seqlens)
        [(source, _)] = make_sources(self.vocoder.m_source, [SourceStretch(self.begin(seed).source_state, f0, len(f0))])
        wave: torch.Tensor = self.vocoder(rows, source, cu_seqlens)
        return wave

    def _sources(self, pieces: Sequence["_Piece"]) -> list["_Source"]:
        """The source each piece knows, with what is new of it, packed over the pieces that have some."""
        new = [i for i, piece in enumerate(pieces) if len(piece.new_source)]
        sources = [_Source(piece.state.source, piece.state.source, piece.state.source_state) for piece in pieces]
        if not new:
            return sources
        hop = self.vocoder.config.hop
        made = self._passes.sources([pieces[i].source_window for i in new])
        for i, (source, after) in zip(new, made, strict=True):
            kept, final = pieces[i].state.source, pieces[i].new_final * hop
            sources[i] = _Source(torch.cat([kept, source]), torch.cat([kept, source[:final]]), after)
        return sources


@dataclass(frozen=True)
class _Source:
    """A piece's source."""

    source: torch.Tensor  # f32: what was kept and all that was made
    final: torch.Tensor  # f32: of it, what will not be made again
    state: SourceState  # after that


@dataclass(frozen=True)
class _Piece:
    """A job's frames and what is to be made of them. Spans are in mel frames of the turn."""

    state: VocoderState
    reach: Reach
    mel: torch.Tensor  # f32[n, mel_bins]: kept, final and provisional frames, to `known`
    frames: int  # final frames, the new ones included
    known: int  # frames, provisional ones included, that anything may look at; the turn is taken to end there
    spoken_to: int  # frames whose wave will have been returned
    source_final: int  # frames whose source will have been made for good
    last: bool

    @classmethod
    def of(cls, vocoder: ContinuousVocoder, job: VocoderJob) -> "_Piece":
        state, reach = job.state, vocoder.reach
        if state.ended:
            raise InputError("the turn's wave has ended; a new turn begins with ContinuousVocoder.begin().")
        frames = state.frames + job.mel.shape[1]
        if job.last:
            spoken_to = source_final = known = frames
        else:
            given = frames + job.provisional.shape[1]
            ready = min(frames - vocoder.final_look_ahead, given - vocoder.look_ahead)
            spoken_to = max(state.spoken, ready)
            source_final = max(state.source_state.frames, frames - reach.f0)
            known = max(frames, spoken_to + vocoder.look_ahead) if spoken_to > state.spoken else frames
        mel = torch.cat([state.mel, job.mel.t(), job.provisional.t()[: known - frames]])
        return cls(state, reach, mel, frames, known, spoken_to, source_final, job.last)

    @property
    def new_source(self) -> Span:
        """Frames whose source is made now: all that become final, and those that the wave looks ahead to."""
        heard = min(self.spoken_to + self.reach.source_after, self.known) if self.spoken_to > self.state.spoken else 0
        first = self.state.source_state.frames
        return Span(first, max(first, self.source_final, heard))

    @property
    def new_final(self) -> int:
        """How many of them, from the first, are made for good."""
        return self.source_final - self.new_source.first

    @property
    def source_window(self) -> SourceWindow:
        """What makes `new_source`, of the frames that its F0 looks at."""
        made = self.new_source
        seen = made.wider(self.reach.f0).within(self.known)
        own = Span(made.first - seen.first, made.end - seen.first)
        return SourceWindow(self.state.source_state, self.mel_of(seen), own, self.new_final)

    def mel_of(self, span: Span) -> torch.Tensor:
        """f32[span, mel_bins]."""
        first = self.known - len(self.mel)
        return self.mel[span.first - first : span.end - first]

    def window(self, vocoder: HiFT, source: torch.Tensor) -> FilterWindow:
        """What the filter makes of `source`, which ends with `new_source`."""
        hop = vocoder.config.hop
        wave = Span(self.state.spoken * hop, self.spoken_to * hop)
        spans = FilterSpans.of(vocoder.config, wave, self.known)
        first = self.new_source.end * hop - len(source)
        samples = source[spans.samples.first - first : spans.samples.end - first]
        return FilterWindow(spans, self.mel_of(spans.mel), samples)

    def after(self, vocoder: ContinuousVocoder, source: _Source) -> VocoderState:
        """The turn's state: of mel and source no more than will be looked back on."""
        reach, hop = self.reach, vocoder.vocoder.config.hop
        if self.last:
            mel_from = source_from = self.frames
        else:
            mel_from = max(0, min(self.spoken_to - reach.mel_before, self.source_final - reach.f0))
            source_from = max(0, self.spoken_to - reach.source_before)
        return replace(
            self.state,
            frames=self.frames,
            spoken=self.spoken_to,
            mel=self.mel_of(Span(mel_from, self.frames)).clone(),
            source_state=source.state,
            source=source.final[len(source.final) - (self.source_final - source_from) * hop :].clone(),
            ended=self.last,
        )


class VocoderStream:
    """One turn's wave, piece by piece, driven by itself."""

    def __init__(self, vocoder: ContinuousVocoder, seed: int) -> None:
        """Raises InputError for a seed that is not 0 to 2⁶³ − 1."""
        self._vocoder = vocoder
        self.state = vocoder.begin(seed)

    def push(self, mel: ArrayLike, provisional: ArrayLike | None = None) -> Float32Array:
        """Take in final mel f32[mel_bins, frames] and the provisional frames after it; the wave that is ready.

        Provisional frames are not remembered: the next call gives those frames anew. Raises InputError for another
        shape, for values that are not finite, or after `finish`.
        """
        return self._run(mel, provisional, last=False)

    def finish(self, mel: ArrayLike | None = None) -> Float32Array:
        """End the turn, with `mel` as its last frames if there are more; the rest of the wave. Errors as `push`."""
        return self._run(mel, None, last=True)

    def _run(self, mel: ArrayLike | None, provisional: ArrayLike | None, *, last: bool) -> Float32Array:
        job = VocoderJob(self.state, self._frames(mel, "mel"), self._frames(provisional, "provisional mel"), last)
        [result] = self._vocoder.run([job])
        self.state = result.after
        wave: Float32Array = result.wave.cpu().numpy().copy()
        return wave

    def _frames(self, mel: ArrayLike | None, what: str) -> torch.Tensor:
        bins = self._vocoder.vocoder.config.mel_bins
        if mel is None:
            return self.state.mel.new_zeros(bins, 0)
        return checked_mel(mel, bins, what, least_frames=0).to(self.state.mel.device)
