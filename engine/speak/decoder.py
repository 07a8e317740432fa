"""The speech decoder's face: speech tokens to mel, mel to wave, whole or streamed."""

from collections.abc import Sequence
from functools import lru_cache, partial
from os import PathLike
from pathlib import Path
from typing import Final, Self

import torch

from antiphon.engine.device import resolve_device, resolve_dtype
from antiphon.engine.errors import InputError, TokenError
from antiphon.engine.graphs import runs_in_buckets
from antiphon.engine.speak.chunking import (
    DEFAULT_STREAMING,
    OFFICIAL_SCHEDULE,
    STREAMING_MODES,
    checked_schedule,
)
from antiphon.engine.speak.chunks import (
    ChunkJob,
    ChunkResult,
    Solving,
    advance_chunks,
    begin_chunks,
    finish_chunks,
)
from antiphon.engine.speak.flow import Flow, FlowRequest
from antiphon.engine.speak.flow_buckets import BucketedFlow
from antiphon.engine.speak.inputs import TokensLike, checked_mel, checked_tokens, checked_vector
from antiphon.engine.speak.noise import OFFICIAL_SEED
from antiphon.engine.speak.packing import Packing
from antiphon.engine.speak.reference_chunks import ReferenceMode, SourceFunction
from antiphon.engine.speak.reference_stream import ReferenceStream
from antiphon.engine.speak.seamless_chunks import SeamlessMode
from antiphon.engine.speak.seamless_settings import SeamlessSettings
from antiphon.engine.speak.seamless_stream import SeamlessStream
from antiphon.engine.speak.stream import DecoderStream
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.speak.vocoder_buckets import BucketedVocoder
from antiphon.engine.speak.vocoder_passes import VocoderPasses
from antiphon.engine.types import ArrayLike, Float32Array
from antiphon.engine.weights.convert import fold_weight_norm
from antiphon.engine.weights.fill import fill, unfilled
from antiphon.engine.weights.names import official_flow_name, rename_flow
from antiphon.engine.weights.read_configs import read_decoder_config
from antiphon.engine.weights.reader import open_pickle

_MODES_KEPT: Final = 8  # those used last


class SpeechDecoder:
    """Flow and vocoder of one `glm-4-voice-decoder` folder."""

    def __init__(self, flow: Flow, vocoder: HiFT, bucketed: bool | None = None) -> None:
        """`bucketed`: Euler steps of chunks, and the vocoder of seamless ones, run in buckets, on CUDA from graphs.
        None: as `runs_in_buckets` says.
        """
        self.flow = flow
        bucketed = runs_in_buckets() if bucketed is None else bucketed
        self._steps = BucketedFlow(flow) if bucketed else flow
        self.vocoder = vocoder
        self._reference = ReferenceMode(flow, vocoder)
        passes = BucketedVocoder(vocoder) if bucketed else VocoderPasses(vocoder)
        # One for all turns of the same settings: their chunks go through in one pack.
        self._seamless = lru_cache(maxsize=_MODES_KEPT)(partial(SeamlessMode, flow, passes))

    @classmethod
    def load(
        cls, folder: str | PathLike[str], device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32"
    ) -> Self:
        """Load an official folder: `config.yaml`, `flow.pt`, `hift.pt`.

        In bfloat16 the flow and the vocoder's filter run in it; F0 and source stay float32. Raises CheckpointError for
        files that cannot be read or disagree, DeviceError for a device that is not there.
        """
        place, precision = resolve_device(device), resolve_dtype(dtype)
        config = read_decoder_config(Path(folder))
        with unfilled():
            flow, vocoder = Flow(config.flow), HiFT(config.vocoder)
        fill(
            flow,
            open_pickle(Path(folder) / "flow.pt"),
            rename=rename_flow,
            official=official_flow_name,
            device=place,
            dtype=precision,
        )
        fill(vocoder, fold_weight_norm(open_pickle(Path(folder) / "hift.pt")), device=place, dtype=torch.float32)
        vocoder.cast_filter(precision)
        return cls(flow.eval().requires_grad_(False), vocoder.eval().requires_grad_(False))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.flow.device

    @torch.inference_mode()
    def mel(
        self,
        tokens: TokensLike,
        prompt_tokens: TokensLike = (),
        prompt_mel: ArrayLike | None = None,
        embedding: ArrayLike | None = None,
    ) -> Float32Array:
        """Mel f32[80, frames] of speech tokens, after the prompt's frames; official noise (seed 42).

        `prompt_mel` is f32[80, frames], `embedding` f32[192] (zeros if None). Raises TokenError where `tokens` is
        empty or a token is outside the vocabulary, InputError for a prompt or embedding of another shape, or not
        finite.
        """
        request = FlowRequest(
            self._tokens(tokens),
            checked_tokens(prompt_tokens, self.flow.config.vocab_size, "prompt_tokens"),
            None if prompt_mel is None else self._prompt_mel(prompt_mel),
            None if embedding is None else self._embedding(embedding),
        )
        return _array(self.flow.solve([request])[0])

    @torch.inference_mode()
    def mel_batch(self, batch: Sequence[TokensLike]) -> list[Float32Array]:
        """The mel of each entry, solved together as one pack of rows. Errors as `mel`."""
        return [_array(mel) for mel in self.flow.solve([FlowRequest(self._tokens(tokens)) for tokens in batch])]

    @torch.inference_mode()
    def f0(self, mel: ArrayLike) -> Float32Array:
        """Fundamental frequency f32[frames] in Hz of mel f32[80, frames]. Raises InputError for another shape."""
        rows = self._mel(mel).t()
        return _array(self.vocoder.f0_predictor(rows, Packing.of([len(rows)], self.device).cu_seqlens))

    def vocode(self, mel: ArrayLike, source: ArrayLike) -> Float32Array:
        """Wave f32[frames · 256] at 22,050 Hz of mel f32[80, frames] and source f32[frames · 256]: a pure function.

        Raises InputError for another shape, or for values that are not finite.
        """
        return self.vocode_batch([(mel, source)])[0]

    @torch.inference_mode()
    def vocode_batch(self, batch: Sequence[tuple[ArrayLike, ArrayLike]]) -> list[Float32Array]:
        """The wave of each (mel, source), made together as one pack of rows. Errors as `vocode`."""
        if not batch:
            return []
        mels = [self._mel(mel) for mel, _ in batch]
        lengths = [mel.shape[1] * self.vocoder.config.hop for mel in mels]
        sources = [
            checked_vector(source, length, "source").to(self.device)
            for (_, source), length in zip(batch, lengths, strict=True)
        ]
        packing = Packing.of([mel.shape[1] for mel in mels], self.device)
        wave = self.vocoder(torch.cat([mel.t() for mel in mels]), torch.cat(sources), packing.cu_seqlens)
        return [_array(piece) for piece in wave.split(lengths)]

    def stream(
        self,
        mode: str | None = None,
        schedule: Sequence[int] | None = None,
        source: SourceFunction | None = None,
        keep_chunks: bool = True,
        *,
        seed: int = OFFICIAL_SEED,
        first_chunk: int | None = None,
        prompt_tokens: int | None = None,
        settings: SeamlessSettings | None = None,
    ) -> DecoderStream:
        """A new turn's stream, in the default mode if None is named.

        "seamless": `settings`, of which `first_chunk` and `prompt_tokens` take the place if given; `schedule` holds the
        sizes of the chunks after the first in tokens, the last one repeats. All randomness of the turn is drawn from
        `seed`, 0 to 2⁶³ − 1.

        "reference", as the official web demo: `schedule` holds the sizes of all chunks, `OFFICIAL_SCHEDULE` if None.
        `source(chunk_index, f0)` gives each chunk's fresh source, f32[frames · 256], in place of the official draws.
        `seed` and `settings` are of no use to it.

        `keep_chunks=False` leaves `chunks` empty, for long turns. Raises InputError for an unknown mode, a setting out
        of its range or of the other mode, or a bad schedule.
        """
        vocab_size = self.flow.config.vocab_size
        mode = mode or DEFAULT_STREAMING
        if mode == "reference":
            _refuse_given("reference", first_chunk=first_chunk, prompt_tokens=prompt_tokens)
            sizes = OFFICIAL_SCHEDULE if schedule is None else tuple(schedule)
            return ReferenceStream(self._reference, self.run, vocab_size, sizes, source, keep_chunks)
        if mode != "seamless":
            known = ", ".join(map(repr, STREAMING_MODES))
            raise InputError(f"streaming mode {mode!r} is unknown; expected one of {known}.")
        _refuse_given("seamless", source=source)
        chosen = (settings or SeamlessSettings()).with_(
            first_chunk=first_chunk,
            prompt_tokens=prompt_tokens,
            schedule=None if schedule is None else checked_schedule(schedule),
        )
        return SeamlessStream(self._seamless(chosen), self.run, vocab_size, seed, keep_chunks)

    def run(self, jobs: Sequence[ChunkJob]) -> list[ChunkResult]:
        """Do the jobs of several streams, at most one of each, in one flow solve and one pass of the vocoder."""
        solvings = self.begin(jobs)
        while not all(solving.is_done for solving in solvings):
            solvings = self.advance(solvings)
        return self.finish(solvings)

    @torch.inference_mode()
    def begin(self, jobs: Sequence[ChunkJob]) -> list[Solving]:
        """Prepare the jobs of several streams, at most one of each and of any streaming modes: what comes before the
        flow's first step, packed. In their order.
        """
        return begin_chunks(jobs)

    @torch.inference_mode()
    def advance(self, solvings: Sequence[Solving]) -> list[Solving]:
        """One Euler step for each, in one packed forward of the estimator; they may stand at different steps.

        One that is done comes back as it is. Those given stay as they were: a step whose result is dropped, or that
        raises, can be taken again.
        """
        return advance_chunks(self._steps, solvings)

    @torch.inference_mode()
    def finish(self, solvings: Sequence[Solving]) -> list[ChunkResult]:
        """The results of those that are done: seams and vocoder, packed. Raises InputError for one that is not."""
        return finish_chunks(solvings)

    def _tokens(self, tokens: TokensLike) -> list[int]:
        ids = checked_tokens(tokens, self.flow.config.vocab_size)
        if not ids:
            raise TokenError(f"tokens is empty; expected at least one id of 0 to {self.flow.config.vocab_size - 1}.")
        return ids

    def _mel(self, mel: ArrayLike) -> torch.Tensor:
        return checked_mel(mel, self.vocoder.config.mel_bins).to(self.device)

    def _prompt_mel(self, mel: ArrayLike) -> torch.Tensor:
        return checked_mel(mel, self.flow.config.mel_bins, "prompt_mel", least_frames=0).to(self.device)

    def _embedding(self, embedding: ArrayLike) -> torch.Tensor:
        return checked_vector(embedding, self.flow.config.speaker_dim, "embedding").to(self.device)


def _refuse_given(mode: str, **given: object) -> None:
    """Refuse what this mode does not know."""
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{name} was given for a stream in {mode} mode, which has none; leave it out.")


def _array(tensor: torch.Tensor) -> Float32Array:
    array: Float32Array = tensor.float().cpu().contiguous().numpy()
    return array
