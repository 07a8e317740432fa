"""A spectrogram as a PNG, without a plotting library: the format is a header and deflated rows."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from antiphon.engine.units import OUTPUT_HOP
from demo.recipe.mel import log_mel

_HEIGHT: Final = 4  # pixels of a mel bin
_MARK: Final = 8  # pixels of a mark below the picture
# From quiet to loud: black, violet, orange, pale yellow.
_COLOURS: Final = np.array([(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)], np.float64)
_LOUDNESS: Final = (-10.0, 1.0)  # of the log-mel


def spectrogram(path: Path, wave: np.ndarray, marks: Sequence[int] = (), height: int = _HEIGHT) -> None:
    """Write the log-mel spectrogram of f32[n] at 22.05 kHz: a pixel a frame of 11.6 ms, low frequencies below.

    `height` is in pixels of a mel bin. `marks` are samples, shown as white ticks under the picture, not in it.
    """
    padded = np.pad(np.asarray(wave, np.float32), (0, max(0, 4 * OUTPUT_HOP - len(wave))))
    mel = log_mel(torch.from_numpy(padded)).numpy()
    low, high = _LOUDNESS
    loudness = np.clip((mel - low) / (high - low), 0.0, 1.0).T[::-1].repeat(height, axis=0)
    steps = np.linspace(0.0, 1.0, len(_COLOURS))
    channels = [np.interp(loudness, steps, _COLOURS[:, channel]) for channel in range(3)]
    pixels = np.stack(channels, axis=-1).astype(np.uint8)
    if marks:
        ticks = np.zeros((_MARK, *pixels.shape[1:]), np.uint8)
        ticks[:, [sample // OUTPUT_HOP for sample in marks]] = 255
        pixels = np.concatenate([pixels, ticks])
    path.write_bytes(png(pixels))


def png(
    pixels: np.ndarray,  # u8[height, width, 3]
) -> bytes:
    """An RGB image. Source: W3C, Portable Network Graphics (third edition)."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)  # 0: no filter
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
