"""How one chunk's mel and wave are joined to the next in the official streaming.

Each chunk's flow makes the frames that the chunk before held back anew; over those the two are cross-faded. The
vocoder then sees one frame it has seen already, with the source samples that belong to it, and its wave's last frame
is left to the next chunk.

    flow mel      ├─34 faded─┼──────────────────┼──34 held back─┤
    vocoder mel  ├1┼────────────────────────────┤                 1 = the last frame of the chunk before
    wave         ├──────────────────────────┤1                    the last frame's samples are spoken by the next chunk

The final chunk holds back nothing. A chunk's vocoder mel, the frame seen twice included, goes into the next one's
prompt. So from the third chunk on the prompt is a frame longer than what it stands for, the held frames are faded with
their right neighbours, and one frame is skipped at the join: a turn of n chunks comes out n − 2 frames short. Kept as
it is.

Source: zai-org/GLM-4-Voice flow_inference.py (`AudioDecoder.token2wav`, `fade_in_out`), web_demo.py (the prompt).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from antiphon.engine.timeline import mel_frames_of

OVERLAP_TOKENS: Final = 5
OVERLAP_FRAMES: Final = mel_frames_of(OVERLAP_TOKENS)  # 34: held back by a chunk and faded into the next
CACHED_FRAMES: Final = 1  # mel frames the vocoder sees again


@dataclass(frozen=True)
class SeamState:
    """What a chunk leaves for the next one. All three are None before the first chunk that was spoken."""

    held_mel: torch.Tensor | None = None  # f32[mel_bins, OVERLAP_FRAMES], as faded with the chunk before
    cached_mel: torch.Tensor | None = None  # f32[mel_bins, CACHED_FRAMES], the last that the vocoder saw
    cached_source: torch.Tensor | None = None  # f32[CACHED_FRAMES · hop], the last that the vocoder used


@dataclass(frozen=True)
class JoinedMel:
    """A chunk's mel, joined to the chunk before."""

    mel: torch.Tensor  # f32[mel_bins, frames] for the vocoder; no frames where a first chunk is too short to be spoken
    held_mel: (
        torch.Tensor | None
    )  # f32[mel_bins, OVERLAP_FRAMES] for the next chunk; None where nothing follows or was spoken


def join_mel(
    flow_mel: torch.Tensor,  # f32[mel_bins, frames], after the prompt's frames
    before: SeamState,
    *,
    final: bool,
) -> JoinedMel:
    """Fade `flow_mel` with what was held back, put the cached frame before it, hold its end back unless `final`.

    A first chunk of up to five tokens makes no more than the frames to be held back, and nothing is left for the
    vocoder; the official code fails there. Such a chunk is not spoken and leaves nothing: its tokens become prompt
    without mel, so that the next chunk's flow makes these frames too.
    """
    mel = flow_mel if before.held_mel is None else _fade(flow_mel, before.held_mel)
    if before.cached_mel is not None:
        mel = torch.cat([before.cached_mel, mel], dim=1)
    if final:
        return JoinedMel(mel, None)
    kept, held = mel[:, :-OVERLAP_FRAMES], mel[:, -OVERLAP_FRAMES:]
    return JoinedMel(kept, held if kept.shape[1] else None)


def lay_over(
    source: torch.Tensor,  # f32[samples], fresh
    before: SeamState,
) -> torch.Tensor:
    """The source with its first samples replaced by those that the chunk before used for the same frame."""
    if before.cached_source is None:
        return source
    return torch.cat([before.cached_source, source[before.cached_source.shape[0] :]])


def cut_wave(
    wave: torch.Tensor,  # f32[frames · hop]
    hop: int,
    *,
    final: bool,
) -> torch.Tensor:
    """The wave without the frame that the next chunk speaks again."""
    return wave if final else wave[: wave.shape[0] - CACHED_FRAMES * hop]


def after_chunk(
    joined: JoinedMel,
    source: torch.Tensor,  # f32[frames · hop], as used by the vocoder
    hop: int,
) -> SeamState:
    """What the next chunk needs."""
    if joined.held_mel is None:
        return SeamState()
    return SeamState(
        held_mel=joined.held_mel,
        cached_mel=joined.mel[:, -CACHED_FRAMES:],
        cached_source=source[-CACHED_FRAMES * hop :],
    )


def _fade(mel: torch.Tensor, held: torch.Tensor) -> torch.Tensor:
    """`mel` with `held` faded out over its first frames.

    The halves of a Hamming window of 68 sum to 1.058 … 1.079, not to 1: the official join is that much too loud.
    Products and sum are float64, as NumPy's window makes them, and only the result is rounded.
    """
    overlap = held.shape[1]
    window = torch.from_numpy(np.hamming(2 * overlap)).to(mel.device)
    faded = mel[:, :overlap] * window[:overlap] + held * window[overlap:]
    return torch.cat([faded.to(mel.dtype), mel[:, overlap:]], dim=1)
