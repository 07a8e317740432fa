"""The flow: speech tokens to mel, for several dialogues of different lengths in one pack.

    tokens ─embedding─encoder─▶ h (12.5/s) ─regulator─▶ mu (86.13/s) ─┐
                         noise, speaker, prompt mel ──────────────────┴─ ten guided Euler steps by the estimator ─▶ mel

A solve is a state that is advanced one Euler step at a time; states at different steps go through one forward of the
estimator, so that a request may join while others are under way. Gradients flow unless the caller turns them off.

Source: zai-org/GLM-4-Voice, cosyvoice/flow/flow.py, `MaskedDiffWithXvec.inference`, and flow_matching.py,
`ConditionalCFM`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from antiphon.engine.errors import CheckpointError, InputError, TokenError
from antiphon.engine.speak.estimator import Estimator
from antiphon.engine.speak.flow_encoder import BlockConformerEncoder
from antiphon.engine.speak.length_regulator import LengthRegulator, nearest_rows
from antiphon.engine.speak.noise import EULER_STEPS, euler_grid, official_noise
from antiphon.engine.speak.packing import Packing, Rate
from antiphon.engine.timeline import mel_frames_of
from antiphon.engine.units import SPEECH_TOKEN_RATE
from antiphon.engine.weights.configs import FlowConfig
from antiphon.kernels.guided_euler_step import guided_euler_step
from antiphon.kernels.packing import sequence_of_row


@dataclass(frozen=True)
class FlowRequest:
    """What one dialogue wants spoken. The mel answers to `tokens`; what was said before stands in the prompt."""

    tokens: Sequence[int] | torch.Tensor  # at least one
    prompt_tokens: Sequence[int] | torch.Tensor = ()  # those before them; the encoder's blocks count from the first
    prompt_mel: torch.Tensor | None = (
        None  # f32[mel_bins, frames] already spoken, however many frames the prompt tokens make
    )
    embedding: torch.Tensor | None = None  # f32[speaker_dim]; None: zeros, as the official decoder always gives
    noise: torch.Tensor | None = None  # f32[mel_bins, T] for all T frames, prompt included; None: `official_noise(T)`


@dataclass(frozen=True)
class FlowConditioning:
    """What the velocity depends on besides x and the time, packed over the requests."""

    mu: torch.Tensor  # f[ΣT, mel_bins]
    cond: torch.Tensor  # f[ΣT, mel_bins]: the prompt's mel in its first frames, zeros after
    speaker: torch.Tensor  # f[S, mel_bins]
    frames: Packing


@dataclass(frozen=True)
class FlowSolve:
    """One dialogue's solve between two Euler steps."""

    x: torch.Tensor  # f32[T, mel_bins]: noise at step 0, the mel at the last
    # What stays the same along the solve, as the estimator takes it in; weights are not to change in between.
    added: torch.Tensor  # f[2 · T, …]: `Estimator.of_conditions` of the guidance pair, its second half zeros
    shifts: torch.Tensor  # f[EULER_STEPS, …]: `Estimator.shifts` of each step's time
    prompt_frames: int
    step: int = 0  # Euler steps done, at most EULER_STEPS

    @property
    def done(self) -> bool:
        return self.step == EULER_STEPS

    @property
    def mel(self) -> torch.Tensor:
        """f32[mel_bins, frames] after the prompt's."""
        return self.x[self.prompt_frames :].t().contiguous()


@dataclass(frozen=True)
class StepInputs:
    """What one Euler step of S solves takes in, packed; as a guidance pair each solve stands there twice."""

    x: torch.Tensor  # f32[ΣT, mel_bins]
    pairs: torch.Tensor  # f[2 · ΣT, mel_bins]: each solve's x, and right after it once more
    added: torch.Tensor  # f[2 · ΣT, …], of the pairs
    shifts: torch.Tensor  # f[2 · S, …], of the pairs at their steps
    dt: torch.Tensor  # f32[S]
    cu_seqlens: torch.Tensor  # i32[S + 1], of x
    rates: tuple[Rate, ...]  # of the pairs


class Flow(nn.Module):
    """Speech tokens to mel by conditional flow matching."""

    def __init__(self, config: FlowConfig):
        super().__init__()
        if config.estimator_in != 4 * config.mel_bins:
            raise CheckpointError(
                f"the flow's estimator takes {config.estimator_in} channels; expected {4 * config.mel_bins}: "
                f"noise, mu, speaker and condition of {config.mel_bins} each."
            )
        if config.token_rate != SPEECH_TOKEN_RATE:
            raise CheckpointError(
                f"the flow takes {config.token_rate} tokens a second; expected {float(SPEECH_TOKEN_RATE)}."
            )
        self.config = config
        self.times, self.step_sizes = euler_grid()
        self.token_embedding = nn.Embedding(config.vocab_size, config.input_size)
        self.speaker_proj = nn.Linear(config.speaker_dim, config.mel_bins)
        self.encoder = BlockConformerEncoder(config)
        self.encoder_proj = nn.Linear(config.encoder_size, config.regulator_channels)
        self.regulator = LengthRegulator(config)
        self.estimator = Estimator(config)

    @property
    def device(self) -> torch.device:
        return self.token_embedding.weight.device

    def solve(self, requests: Sequence[FlowRequest]) -> list[torch.Tensor]:
        """Each request's mel f32[mel_bins, frames] after its prompt's frames, all solved in one pack."""
        solves = self.start(requests)
        for _ in range(EULER_STEPS):
            solves = self.step(solves)
        return [solve.mel for solve in solves]

    def start(self, requests: Sequence[FlowRequest]) -> list[FlowSolve]:
        """The solves of `requests` before their first step."""
        if not requests:
            return []
        given = self.condition(requests)
        noise = [self._noise(request, length) for request, length in zip(requests, given.frames.lengths, strict=True)]
        return self.begin(noise, given, [_frames_of(request.prompt_mel) for request in requests])

    def begin(
        self,
        noise: Sequence[torch.Tensor],  # f32[T, mel_bins] each
        given: FlowConditioning,
        prompt_frames: Sequence[int],
    ) -> list[FlowSolve]:
        """The solves from `noise` under the conditions `given`, before their first step."""
        added = torch.split(self._of_conditions(given), list(given.frames.lengths))
        shifts = self.estimator.shifts(torch.tensor(self.times, device=self.device))
        return [
            FlowSolve(x=x, added=F.pad(rows, (0, 0, 0, len(rows))), shifts=shifts, prompt_frames=frames)
            for x, rows, frames in zip(noise, added, prompt_frames, strict=True)
        ]

    def step(self, solves: Sequence[FlowSolve]) -> list[FlowSolve]:
        """Advance every solve by one Euler step, in one forward of the estimator; each may stand at a step of its own.

        Raises InputError when one is done already.
        """
        if not solves:
            return []
        check_under_way(solves)
        packing = Packing.of([len(solve.x) for solve in solves], self.device)
        added = torch.cat([solve.added for solve in solves])
        x = self.euler_step(
            StepInputs(
                x=torch.cat([solve.x for solve in solves]),
                pairs=torch.cat([rows for solve in solves for rows in (solve.x, solve.x)]).to(added.dtype),
                added=added,
                shifts=torch.stack([solve.shifts[solve.step] for solve in solves for _ in range(2)]),
                dt=torch.tensor([self.step_sizes[solve.step] for solve in solves], device=self.device),
                cu_seqlens=packing.cu_seqlens,
                rates=packing.paired().rates(self.estimator.n_rates),
            )
        )
        return stepped(solves, x)

    def euler_step(self, inputs: StepInputs) -> torch.Tensor:
        """The next x of every solve, f32[ΣT, mel_bins]. On the kernels nothing is read from the device."""
        velocity = self.estimator(inputs.pairs, inputs.shifts, inputs.added, inputs.rates)
        return guided_euler_step(inputs.x, velocity, inputs.dt, inputs.cu_seqlens, guidance=self.config.guidance)

    def condition(self, requests: Sequence[FlowRequest]) -> FlowConditioning:
        """What `requests` (at least one) give to the estimator.

        Raises TokenError for a request without tokens or a token outside the vocabulary, InputError for a prompt mel or
        an embedding of another shape, or for more prompt frames than the request's tokens make.
        """
        token_lists = [self._all_tokens(request) for request in requests]
        tokens = Packing.of([len(ids) for ids in token_lists], self.device)
        frames = Packing.of([mel_frames_of(count) for count in tokens.lengths], self.device)
        ids = torch.tensor([token for ids in token_lists for token in ids], device=self.device)
        mu = self.regulator(self.encode(ids, tokens), nearest_rows(tokens, frames), frames)
        cond = torch.cat([self._condition_rows(r, length) for r, length in zip(requests, frames.lengths, strict=True)])
        embeddings = torch.stack([self._embedding(request) for request in requests])
        return FlowConditioning(mu, cond, self.speaker_proj(F.normalize(embeddings, dim=1)), frames)

    def encode(
        self,
        tokens: torch.Tensor,  # i64[ΣN]
        packing: Packing,
    ) -> torch.Tensor:
        """The encoder's output at the token rate, f[ΣN, regulator_channels]."""
        h: torch.Tensor = self.encoder_proj(self.encoder(self.token_embedding(tokens), packing))
        return h

    def velocity(
        self,
        x: torch.Tensor,  # f32[ΣT, mel_bins]
        t: torch.Tensor,  # f32[S], in [0, 1]
        mu: torch.Tensor,  # f[ΣT, mel_bins]
        cond: torch.Tensor,  # f[ΣT, mel_bins]
        speaker: torch.Tensor,  # f[S, mel_bins]
        packing: Packing,
    ) -> torch.Tensor:
        """The estimator's velocity at x and t, without guidance: f[ΣT, mel_bins]."""
        added = self._of_conditions(FlowConditioning(mu, cond, speaker, packing))
        rates = packing.rates(self.estimator.n_rates)
        v: torch.Tensor = self.estimator(x.to(mu.dtype), self.estimator.shifts(t), added, rates)
        return v

    def _of_conditions(self, given: FlowConditioning) -> torch.Tensor:
        """What the conditions come to in the estimator's first layer, f[ΣT, …]."""
        speaker_rows = given.speaker[sequence_of_row(given.frames.cu_seqlens, given.frames.rows)]
        [rate] = given.frames.rates(1)
        return self.estimator.of_conditions(torch.cat((given.mu, speaker_rows, given.cond), dim=1), rate)

    def _all_tokens(self, request: FlowRequest) -> list[int]:
        """Prompt and new tokens, checked."""
        new, prompt = _as_list(request.tokens), _as_list(request.prompt_tokens)
        if not new:
            raise TokenError("the flow was given no speech tokens; expected at least one.")
        tokens = prompt + new
        if min(tokens) < 0 or max(tokens) >= self.config.vocab_size:
            outside = next(token for token in tokens if not 0 <= token < self.config.vocab_size)
            raise TokenError(
                f"speech token {outside} is outside the flow's vocabulary; expected 0 to {self.config.vocab_size - 1}."
            )
        return tokens

    def _condition_rows(self, request: FlowRequest, frames: int) -> torch.Tensor:
        """f[frames, mel_bins] in the model's dtype: the prompt's mel, then zeros."""
        mel, weight = request.prompt_mel, self.encoder_proj.weight
        if mel is None:
            return weight.new_zeros(frames, self.config.mel_bins)
        if mel.ndim != 2 or mel.shape[0] != self.config.mel_bins:
            raise InputError(f"prompt_mel has shape {list(mel.shape)}; expected [{self.config.mel_bins}, frames].")
        if mel.shape[1] > frames:
            raise InputError(
                f"prompt_mel has {mel.shape[1]} frames; prompt and new tokens together make {frames}, expected no more."
            )
        return F.pad(mel.t().to(weight), (0, 0, 0, frames - mel.shape[1]))

    def _embedding(self, request: FlowRequest) -> torch.Tensor:
        """f[speaker_dim] in the model's dtype."""
        weight = self.speaker_proj.weight
        if request.embedding is None:
            return weight.new_zeros(self.config.speaker_dim)
        if tuple(request.embedding.shape) != (self.config.speaker_dim,):
            raise InputError(
                f"embedding has shape {list(request.embedding.shape)}; expected [{self.config.speaker_dim}]."
            )
        return request.embedding.to(weight)

    def _noise(self, request: FlowRequest, frames: int) -> torch.Tensor:
        """f32[frames, mel_bins] on the model's device."""
        bins = self.config.mel_bins
        noise = official_noise(frames, bins) if request.noise is None else request.noise
        if tuple(noise.shape) != (bins, frames):
            raise InputError(f"noise has shape {list(noise.shape)}; expected [{bins}, {frames}].")
        return noise.t().to(self.device, torch.float32).contiguous()


def check_under_way(solves: Sequence[FlowSolve]) -> None:
    """Raise InputError where one is done."""
    if any(solve.done for solve in solves):
        raise InputError(f"a solve of {EULER_STEPS} Euler steps is done; expected only solves that are under way.")


def stepped(
    solves: Sequence[FlowSolve],
    x: torch.Tensor,  # f32[ΣT, mel_bins]: of all after their step
) -> list[FlowSolve]:
    """The solves one step further."""
    rows = torch.split(x, [len(solve.x) for solve in solves])
    return [replace(solve, x=own, step=solve.step + 1) for solve, own in zip(solves, rows, strict=True)]


def _as_list(tokens: Sequence[int] | torch.Tensor) -> list[int]:
    ids: list[int] = tokens.tolist() if isinstance(tokens, torch.Tensor) else [int(token) for token in tokens]
    return ids


def _frames_of(mel: torch.Tensor | None) -> int:
    return 0 if mel is None else mel.shape[1]
