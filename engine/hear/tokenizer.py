"""Caller audio to speech tokens: the public face of hearing.

Source: zai-org/GLM-4-Voice, speech_tokenizer/utils.py (extract_speech_token).
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch

from antiphon.engine.device import resolve_device, resolve_dtype
from antiphon.engine.errors import CheckpointError
from antiphon.engine.hear.audio import check_audio, check_rate
from antiphon.engine.hear.encoder import SpeechEncoder
from antiphon.engine.hear.features import LogMelExtractor, StreamingLogMel, whole_log_mel
from antiphon.engine.hear.requests import FRAME_SAMPLES, EncodeRequest, EncodeResult, whole_segment_request
from antiphon.engine.hear.resample import resample
from antiphon.engine.types import ArrayLike, Float32Array
from antiphon.engine.units import MODEL_INPUT_RATE, SAMPLES_PER_SPEECH_TOKEN, SEGMENT_SAMPLES
from antiphon.engine.weights.fill import fill, unfilled
from antiphon.engine.weights.names import speech_tokenizer_name
from antiphon.engine.weights.read_configs import read_speech_tokenizer_config
from antiphon.engine.weights.reader import open_safetensors

FRAMES_AT_ONCE: Final = 8 * (SEGMENT_SAMPLES // FRAME_SAMPLES)  # encoder frames of one forward: eight whole segments


class SpeechTokenizer:
    """The speech tokenizer of GLM-4-Voice: 16,384 codes, 12.5 a second.

    Audio is f32[n] or f32[channels, n] in [-1, 1] (of several channels the first is heard), at any rate from 1 Hz to
    384 kHz. It is cut into segments of 30 s, each by itself.
    """

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32") -> Self:
        """Load an official `glm-4-voice-tokenizer` folder, or one in the layout of the whole Whisper-VQ model.

        `device` is "cpu", "cuda", "cuda:N" or "auto"; `dtype` "float32", the definition of correct, or "bfloat16", in
        which the log-mel, the softmax and the distances to the codes stay in float32. Raises CheckpointError,
        DeviceError or InputError.
        """
        place, precision = resolve_device(device), resolve_dtype(dtype)
        config = read_speech_tokenizer_config(folder)
        with unfilled():
            encoder = SpeechEncoder(config)
        rename = partial(speech_tokenizer_name, layers=config.layers)
        fill(encoder, open_safetensors(folder), rename=rename, device=place, dtype=torch.float32)
        encoder.compute_in(precision)
        return cls(encoder.eval())

    def __init__(self, encoder: SpeechEncoder) -> None:
        config = encoder.config
        if config.pooling * FRAME_SAMPLES != SAMPLES_PER_SPEECH_TOKEN:
            raise CheckpointError(
                f"the tokenizer averages {config.pooling} frames of {FRAME_SAMPLES} samples into a token; "
                f"expected {SAMPLES_PER_SPEECH_TOKEN} samples a token."
            )
        if config.max_positions * FRAME_SAMPLES < SEGMENT_SAMPLES:
            raise CheckpointError(
                f"the tokenizer has {config.max_positions} positions; "
                f"a segment of 30 s needs {SEGMENT_SAMPLES // FRAME_SAMPLES}."
            )
        self.config = config
        self.encoder = encoder
        self.extractor = LogMelExtractor(config.mel_bins)

    def encode(self, pcm: ArrayLike, sample_rate: int) -> list[int]:
        """The speech ids of a clip, ⌈samples at 16 kHz / 1280⌉ for each segment. Raises AudioError for bad audio."""
        return self.encode_batch([(pcm, sample_rate)])[0]

    def encode_batch(self, clips: Sequence[tuple[ArrayLike, int]]) -> list[list[int]]:
        """The speech ids of several clips in one call; each comes out as it does alone.

        The official call pads all clips of a batch to the longest, which moves one clip's log-mel floor where its
        loudest moment lies in its last 25 ms; here a clip's company never matters.
        """
        requests = [self.requests_of(pcm, rate) for pcm, rate in clips]
        results = iter(self.run([request for clip in requests for request in clip]))
        return [[token for _ in clip for token in next(results).ids] for clip in requests]

    def features(self, pcm: ArrayLike, sample_rate: int) -> list[Float32Array]:
        """The log-mel of each segment: f32[mel_bins, frames], padding frames included.

        All segments of a clip have the frames of its longest, as in the official call.
        """
        return [np.ascontiguousarray(frames.read(0, frames.ready).T) for frames in self._log_mel(pcm, sample_rate)]

    def hidden(self, pcm: ArrayLike, sample_rate: int) -> Float32Array:
        """The vectors before quantisation, all segments joined: f32[tokens, d_model]."""
        return np.concatenate([result.hidden.cpu().numpy() for result in self.run(self.requests_of(pcm, sample_rate))])

    def requests_of(self, pcm: ArrayLike, sample_rate: int) -> list[EncodeRequest]:
        """What a whole clip needs encoded, one request a segment."""
        return [whole_segment_request(frames) for frames in self._log_mel(pcm, sample_rate)]

    @torch.inference_mode()
    def run(self, requests: Sequence[EncodeRequest]) -> list[EncodeResult]:
        """Encode requests, of one dialogue or many, in as few forwards as memory allows; answers in their order."""
        results: list[EncodeResult] = []
        pack: list[EncodeRequest] = []
        frames = 0
        for request in requests:
            if pack and frames + request.span.frames > FRAMES_AT_ONCE:
                results += self._forward(pack)
                pack, frames = [], 0
            pack.append(request)
            frames += request.span.frames
        return results + (self._forward(pack) if pack else [])

    def _forward(self, requests: Sequence[EncodeRequest]) -> list[EncodeResult]:
        weight = self.encoder.conv1.weight
        spans = [request.span for request in requests]
        features = torch.from_numpy(np.concatenate([request.features for request in requests]))
        hidden, caches = self.encoder(features.to(weight.device, weight.dtype), spans)
        ids: list[int] = self.encoder.codebook.nearest(hidden).tolist()
        results, start = [], 0
        for span, cache in zip(spans, caches, strict=True):
            stop = start + span.frames // self.config.pooling
            results.append(EncodeResult(ids[start:stop], hidden[start:stop], cache))
            start = stop
        return results

    def _log_mel(self, pcm: ArrayLike, sample_rate: int) -> list[StreamingLogMel]:
        return whole_log_mel(self.extractor, resample(check_audio(pcm), check_rate(sample_rate), MODEL_INPUT_RATE))
