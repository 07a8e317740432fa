"""The flow over the last stretch of a turn: what a long turn costs is what its new tokens cost.

Frame j of a turn belongs to token ⌊j · 64 / 441⌋ and has its own noise, whichever chunk makes it. A window begins with
the prompt, tokens whose mel is final, and ends with the new tokens; between the two lie the frames that the window
before held back. The encoder looks back through its history (`encoder_history.py`) on far more than the prompt.

    tokens        ┈┈┈ history ┈┈┈┼──── prompt ────┼──── new ────┤
    frames                       ├─ final ─┼─ held ┼─────────────┤
                                 └ condition └─ made by this window ─┘
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F

from antiphon.engine.speak.encoder_history import EncoderHistory
from antiphon.engine.speak.flow import Flow, FlowConditioning, FlowSolve
from antiphon.engine.speak.packing import Packing
from antiphon.engine.timeline import (
    MelFrame,
    first_mel_frame_of,
    mel_frames_of,
    token_of_mel_frame,
    tokens_of_mel_frames,
)
from antiphon.kernels.counter_normal import counter_normal

# What a turn's seed is used for here: the third word of its counters. The LM's draws are 0, the source's 1 and 2.
_NOISE: Final = 3


@dataclass(frozen=True)
class WindowSettings:
    """How far a window looks back."""

    prompt_tokens: int  # before the new ones, with their final mel
    held_frames: int  # at the end of a window, made again by the next
    history_tokens: int  # of the encoder, at most


@dataclass(frozen=True)
class EncodedTokens:
    """What is known of a turn's tokens. Never changed."""

    count: int  # of the turn so far
    open_tokens: tuple[int, ...]  # the last ones, of the block that is not full: encoded again with what follows
    hidden: torch.Tensor  # f[n, C], the encoder's output for the n tokens before those
    history: EncoderHistory

    @property
    def frames(self) -> MelFrame:
        """Mel frames the turn has so far."""
        return mel_frames_of(self.count)

    @property
    def first_hidden(self) -> int:
        """The token of `hidden`'s first row."""
        return self.count - len(self.open_tokens) - len(self.hidden)

    def final_frames(self, settings: WindowSettings) -> MelFrame:
        """Of them, those that stand for good."""
        return MelFrame(max(0, self.frames - settings.held_frames))

    def window_start(self, settings: WindowSettings) -> int:
        """The first token of the next window: the prompt's, or that of the first frame to be made again."""
        return max(0, min(self.count - settings.prompt_tokens, token_of_mel_frame(self.final_frames(settings))))


@dataclass(frozen=True)
class FlowWindow:
    """One turn's next stretch."""

    seed: int  # of the turn, 0 to 2⁶³ − 1
    before: EncodedTokens
    tokens: tuple[int, ...]  # new, at least one
    final_mel: torch.Tensor  # f32[frames, mel_bins]: the final ones, from the window's first to the last


def frames_of_window(before: EncodedTokens, new_tokens: int, settings: WindowSettings) -> range:
    """The turn's frames that the next window makes or is prompted with, where so many tokens are new."""
    first = first_mel_frame_of(before.window_start(settings))
    return range(first, mel_frames_of(before.count + new_tokens))


@dataclass(frozen=True)
class StartedWindow:
    """A window's solve before its first step. Its mel, once done, begins with the first frame that is not final."""

    solve: FlowSolve
    after: EncodedTokens


def no_tokens(flow: Flow) -> EncodedTokens:
    """A turn before its first token."""
    hidden = flow.encoder_proj.weight.new_zeros(0, flow.config.regulator_channels)
    return EncodedTokens(0, (), hidden, flow.encoder.begin())


def start_windows(flow: Flow, windows: Sequence[FlowWindow], settings: WindowSettings) -> list[StartedWindow]:
    """Each window's start, each of another turn, prepared as one pack. The tokens are of the flow's vocabulary."""
    hidden, after = _encode(flow, windows, settings)
    spans = [_Span.of(window, settings) for window in windows]
    tokens = [span.hidden_of(window.before, rows) for span, window, rows in zip(spans, windows, hidden, strict=True)]
    frames = Packing.of([span.frames for span in spans], flow.device)
    starts = torch.split(Packing.of([len(rows) for rows in tokens], flow.device).cu_seqlens[:-1], 1)
    rows = torch.cat([span.token_rows(flow.device) + start for span, start in zip(spans, starts, strict=True)])
    mu = flow.regulator(torch.cat(tokens), rows, frames)
    no_speaker = flow.speaker_proj(F.normalize(flow.speaker_proj.weight.new_zeros(1, flow.config.speaker_dim)))
    cond = [
        F.pad(window.final_mel.to(mu), (0, 0, 0, length - len(window.final_mel)))
        for window, length in zip(windows, frames.lengths, strict=True)
    ]
    given = FlowConditioning(mu, torch.cat(cond), no_speaker.expand(len(windows), -1), frames)
    noise = torch.split(_noise(windows, spans, frames, flow.config.mel_bins), list(frames.lengths))
    solves = flow.begin(noise, given, [len(window.final_mel) for window in windows])
    return [StartedWindow(solve, own_after) for solve, own_after in zip(solves, after, strict=True)]


@dataclass(frozen=True)
class _Span:
    """Which tokens and frames of its turn a window is of."""

    first_token: int
    first_frame: int
    frames: int

    @classmethod
    def of(cls, window: FlowWindow, settings: WindowSettings) -> "_Span":
        frames = frames_of_window(window.before, len(window.tokens), settings)
        return cls(window.before.window_start(settings), frames.start, len(frames))

    def hidden_of(self, before: EncodedTokens, encoded: torch.Tensor) -> torch.Tensor:
        """f[tokens, C] of the window: what was encoded before, and what was encoded now."""
        return torch.cat([before.hidden, encoded])[self.first_token - before.first_hidden :]

    def token_rows(self, device: torch.device) -> torch.Tensor:
        """i64[frames]: the window's token that each frame belongs to."""
        frames = range(self.first_frame, self.first_frame + self.frames)
        return torch.tensor(tokens_of_mel_frames(frames), device=device) - self.first_token


def _encode(
    flow: Flow, windows: Sequence[FlowWindow], settings: WindowSettings
) -> tuple[Sequence[torch.Tensor], list[EncodedTokens]]:
    """f[open and new tokens, C] of each window, and what is known after it."""
    ids = [window.before.open_tokens + window.tokens for window in windows]
    packing = Packing.of([len(own) for own in ids], flow.device)
    embedded = flow.token_embedding(torch.tensor([token for own in ids for token in own], device=flow.device))
    histories = [window.before.history for window in windows]
    encoded, after = flow.encoder.extend(embedded, packing, histories, settings.history_tokens)
    hidden = torch.split(flow.encoder_proj(encoded), list(packing.lengths))
    known = []
    for window, own, rows, history in zip(windows, ids, hidden, after, strict=True):
        full = len(own) // flow.config.encoder_block * flow.config.encoder_block
        closed = torch.cat([window.before.hidden, rows[:full]])
        count = window.before.count + len(window.tokens)
        grown = EncodedTokens(count, own[full:], closed, history)
        unneeded = max(0, min(grown.window_start(settings) - grown.first_hidden, len(closed)))
        known.append(EncodedTokens(count, own[full:], closed[unneeded:].clone(), history))
    return hidden, known


def _noise(windows: Sequence[FlowWindow], spans: Sequence[_Span], frames: Packing, bins: int) -> torch.Tensor:
    """f32[ΣT, mel_bins]: normal number `frame · mel_bins + bin` of the turn."""
    device = frames.cu_seqlens.device
    drawn = counter_normal(
        torch.tensor([window.seed for window in windows], device=device),
        torch.tensor([span.first_frame * bins for span in spans], device=device),
        frames.cu_seqlens * bins,
        stream=_NOISE,
        rows=frames.rows * bins,
    )
    return drawn.view(frames.rows, bins)
