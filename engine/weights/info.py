"""What a model folder holds, told from its configs and the headers of its weights: no weights are loaded."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from antiphon.engine.errors import CheckpointError
from antiphon.engine.think.kv_cache import bytes_per_token
from antiphon.engine.units import MODEL_INPUT_RATE, SPEECH_TOKEN_RATE
from antiphon.engine.weights.fill import Rename
from antiphon.engine.weights.folders import (
    DECODER_FOLDER,
    LANGUAGE_MODEL_FOLDER,
    TOKENIZER_FOLDER,
    file_in,
    read_json,
)
from antiphon.engine.weights.names import rename_flow, rename_language_model, speech_tokenizer_name
from antiphon.engine.weights.provenance import is_random
from antiphon.engine.weights.read_configs import (
    read_decoder_config,
    read_language_model_config,
    read_speech_tokenizer_config,
)
from antiphon.engine.weights.reader import TensorSource, open_pickle, open_safetensors

_PARTS: Final = (TOKENIZER_FOLDER, LANGUAGE_MODEL_FOLDER, DECODER_FOLDER)
_TEXT_FILES: Final = ("tokenizer.model", "tokenizer_config.json")


@dataclass(frozen=True)
class WeightsInfo:
    """The tensors of one or more files."""

    parameters: int  # numbers in those tensors that the model takes; weight norm's two parts are counted apart
    bytes: int  # of the files
    dtypes: tuple[str, ...]

    @classmethod
    def of(cls, source: TensorSource, rename: Rename) -> "WeightsInfo":
        """Those tensors of `source` that `rename` has a name for."""
        specs = [source.spec(name) for name in source.names()]
        used = [source.spec(name) for name in source.names() if rename(name) is not None]
        return cls(
            parameters=sum(spec.elements for spec in used),
            bytes=sum(file.stat().st_size for file in {spec.file for spec in specs}),
            dtypes=tuple(sorted({str(spec.dtype).removeprefix("torch.") for spec in used})),
        )


@dataclass(frozen=True)
class SpeechTokenizerInfo:
    """A glm-4-voice-tokenizer folder."""

    weights: WeightsInfo
    layers: int
    width: int
    codebook: int
    tokens_per_second: float
    sample_rate: int  # Hz, of what it hears

    def lines(self) -> list[str]:
        """For people."""
        heard = f"{self.codebook:,} codes, {self.tokens_per_second:g} a second of {self.sample_rate:,} Hz audio"
        return [_weights_line("speech tokenizer", self.weights), f"  {self.layers} layers of {self.width}; {heard}"]


@dataclass(frozen=True)
class LanguageModelInfo:
    """A glm-4-voice-9b folder."""

    weights: WeightsInfo
    layers: int
    width: int
    vocabulary: int  # padded
    context: int  # positions
    kv_bytes_per_token: int  # keys and values of all layers in the dtype of the file
    text_files: bool  # whether the text tokenizer's files are there

    def lines(self) -> list[str]:
        """For people."""
        text = "with" if self.text_files else "without"
        return [
            _weights_line("language model", self.weights),
            f"  {self.layers} layers of {self.width}; vocabulary {self.vocabulary:,}; context {self.context:,} tokens",
            f"  KV cache {self.kv_bytes_per_token:,} bytes a token; {text} the text tokenizer's files",
        ]


@dataclass(frozen=True)
class DecoderInfo:
    """A glm-4-voice-decoder folder."""

    flow: WeightsInfo
    vocoder: WeightsInfo
    codebook: int
    mel_bins: int
    sample_rate: int  # Hz, of what it speaks

    def lines(self) -> list[str]:
        """For people."""
        return [
            _weights_line("flow", self.flow),
            _weights_line("vocoder", self.vocoder),
            f"  {self.codebook:,} codes to {self.mel_bins} mel bins to {self.sample_rate:,} Hz audio",
        ]


@dataclass(frozen=True)
class ModelInfo:
    """A model folder; a part is None where its folder is not there."""

    folder: str
    random_weights: bool
    speech_tokenizer: SpeechTokenizerInfo | None
    language_model: LanguageModelInfo | None
    decoder: DecoderInfo | None

    @property
    def weights(self) -> list[WeightsInfo]:
        """Of all parts that are there."""
        tokenizer, lm, decoder = self.speech_tokenizer, self.language_model, self.decoder
        single = [part.weights for part in (tokenizer, lm) if part is not None]
        return single if decoder is None else [*single, decoder.flow, decoder.vocoder]

    @property
    def parameters(self) -> int:
        return sum(weights.parameters for weights in self.weights)

    @property
    def bytes(self) -> int:
        return sum(weights.bytes for weights in self.weights)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "parameters": self.parameters, "bytes": self.bytes}

    def to_text(self) -> str:
        """As lines for people."""
        random = "; random weights: what it says means nothing" if self.random_weights else ""
        lines = [f"{self.folder}: {self.parameters:,} parameters, {self.bytes:,} bytes{random}"]
        for part in (self.speech_tokenizer, self.language_model, self.decoder):
            lines += [] if part is None else part.lines()
        return "\n".join(lines)


def describe(folder: Path | str) -> ModelInfo:
    """What a model folder, or one of the three official folders, holds.

    Raises CheckpointError when it is neither, or when a config or a file's header cannot be used.
    """
    folder = Path(folder)
    parts = {name: folder / name for name in _PARTS if (folder / name).is_dir()} or {_kind(folder): folder}
    tokenizer, lm, decoder = (parts.get(name) for name in _PARTS)
    return ModelInfo(
        str(folder),
        is_random(folder),
        None if tokenizer is None else _describe_speech_tokenizer(tokenizer),
        None if lm is None else _describe_language_model(lm),
        None if decoder is None else _describe_decoder(decoder),
    )


def _kind(folder: Path) -> str:
    """Which of the official folders this is."""
    if (folder / "config.yaml").exists():
        return DECODER_FOLDER
    if (folder / "config.json").exists():
        config = read_json(file_in(folder, "config.json"))
        if config.get("model_type") == "chatglm":
            return LANGUAGE_MODEL_FOLDER
        if "quantize_vocab_size" in config:
            return TOKENIZER_FOLDER
    raise CheckpointError(
        f"{folder} is no model folder; expected {', '.join(_PARTS)} inside it, or one of these three itself."
    )


def _describe_speech_tokenizer(folder: Path) -> SpeechTokenizerInfo:
    config = read_speech_tokenizer_config(folder)
    return SpeechTokenizerInfo(
        WeightsInfo.of(open_safetensors(folder), partial(speech_tokenizer_name, layers=config.layers)),
        config.layers,
        config.d_model,
        config.codebook_size,
        float(SPEECH_TOKEN_RATE),
        MODEL_INPUT_RATE,
    )


def _describe_language_model(folder: Path) -> LanguageModelInfo:
    config = read_language_model_config(folder)
    source = open_safetensors(folder)
    name = next((name for name in source.names() if rename_language_model(name) is not None), None)
    if name is None:
        raise CheckpointError(f"{folder} holds no weights; expected those of the language model.")
    return LanguageModelInfo(
        WeightsInfo.of(source, rename_language_model),
        config.layers,
        config.hidden,
        config.vocab_size,
        config.context,
        bytes_per_token(config, source.spec(name).dtype),
        all((folder / file).is_file() for file in _TEXT_FILES),
    )


def _describe_decoder(folder: Path) -> DecoderInfo:
    config = read_decoder_config(folder)
    return DecoderInfo(
        WeightsInfo.of(open_pickle(folder / "flow.pt"), rename_flow),
        WeightsInfo.of(open_pickle(folder / "hift.pt"), lambda name: name),
        config.flow.vocab_size,
        config.flow.mel_bins,
        config.vocoder.sample_rate,
    )


def _weights_line(what: str, weights: WeightsInfo) -> str:
    return f"{what}: {weights.parameters:,} parameters, {', '.join(weights.dtypes)}, {weights.bytes:,} bytes"
