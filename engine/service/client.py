"""`antiphon.Client`: calls to a server, from asyncio.

    async with antiphon.Client("localhost:50051") as client:
        async with client.call(CallConfig(input_audio=MULAW_8K, output_audio=MULAW_8K)) as call:
            await call.push_audio(mulaw_bytes)
            await call.commit()
            answer = await call.answer()

What a call is and how it goes: docs/calling.md and docs/protocol.md.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc
import grpc.aio

from antiphon.engine.errors import InputError, SessionClosedError
from antiphon.engine.service.client_call import Call, Stream
from antiphon.engine.service.client_config import (
    ALAW_8K,
    MULAW_8K,
    AudioEncoding,
    AudioFormat,
    CallConfig,
    Sampling,
    TurnDetection,
    config_to_wire,
    format_to_wire,
    linear16,
)
from antiphon.engine.service.client_errors import error_of_call
from antiphon.engine.service.client_events import (
    Answer,
    Audio,
    Event,
    Limits,
    ModelInfo,
    collect,
    event_of_wire,
    model_info_of_wire,
)
from antiphon.engine.types import ArrayLike
from antiphon.v1 import (
    audio_pb2,
    dialogue_pb2,
    dialogue_pb2_grpc,
    model_info_pb2,
    speech_tokenizer_pb2,
    speech_tokenizer_pb2_grpc,
)

__all__ = [
    "ALAW_8K",
    "MULAW_8K",
    "Answer",
    "Audio",
    "AudioEncoding",
    "AudioFormat",
    "Call",
    "CallConfig",
    "Client",
    "Limits",
    "ModelInfo",
    "Sampling",
    "Tls",
    "TurnDetection",
    "collect",
    "linear16",
]

_OPEN_TIMEOUT: Final = 20.0  # seconds in which a call has to open
_CHANNEL_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 10_000),  # a line that died in silence is noticed after 20 s
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),  # 0: any number; a call may listen for long
    ("grpc.initial_reconnect_backoff_ms", 100),  # the call's own delays decide, not gRPC's
    ("grpc.min_reconnect_backoff_ms", 2_000),  # this is how long one connection attempt may take
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True)
class Tls:
    """An encrypted line. All in PEM."""

    roots: bytes | None = None  # certificates to trust; None: the system's
    certificate: bytes | None = None  # the client's own, where the server asks for one
    key: bytes | None = None  # its private key
    server_name: str | None = None  # the name in the server's certificate, where it is not the target's

    @classmethod
    def read(
        cls,
        roots: Path | str | None = None,
        certificate: Path | str | None = None,
        key: Path | str | None = None,
        server_name: str | None = None,
    ) -> Self:
        """From files. Raises InputError for a certificate without its key, or a file that cannot be read."""
        if (certificate is None) != (key is None):
            raise InputError("a client's certificate goes with its key; one of the two is missing.")
        try:
            read = [None if path is None else Path(path).read_bytes() for path in (roots, certificate, key)]
        except OSError as error:
            raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from error
        return cls(read[0], read[1], read[2], server_name)


class Client:
    """A connection to one server, used as `async with Client(target) as client`; it carries any number of calls.

    A failed call raises one of `antiphon.errors.CallError`'s kinds.
    """

    def __init__(
        self,
        target: str,
        api_key: str | None = None,
        tls: Tls | bool | None = None,
        open_timeout: float = _OPEN_TIMEOUT,
    ) -> None:
        """`target` is HOST:PORT. `tls` True is `Tls()`; without it the line, a key on it included, is open to read."""
        self.target = target
        self._tls = Tls() if tls is True else tls or None
        self._metadata = () if api_key is None else (("authorization", f"Bearer {api_key}"),)
        self._open_timeout = open_timeout
        self._channel: grpc.aio.Channel | None = None
        self._native_format: AudioFormat | None = None

    async def __aenter__(self) -> Self:
        self._channel = _open_channel(self.target, self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def call(self, config: CallConfig | None = None) -> Call:
        """A live dialogue, to be entered with `async with`, which opens it."""
        return Call(self._open_stream, config or CallConfig(), self._open_timeout)

    async def respond(self, turn: str | ArrayLike | bytes, config: CallConfig | None = None) -> AsyncIterator[Event]:
        """One turn, written (str) or spoken (as `Call.push_audio`), and its answer's events as they are made.

        `turn_detection` and `resume_window` are a live call's and stay unset.
        """
        config = config or CallConfig()
        request = dialogue_pb2.RespondRequest(config=config_to_wire(config))
        if isinstance(turn, str):
            request.text = turn
        elif config.input_audio is None:
            raise InputError("this is a spoken turn: set CallConfig.input_audio.")
        else:
            request.audio = config.input_audio.encode(turn)
        output = config.output_audio or await self._native()
        call = dialogue_pb2_grpc.DialogueServiceStub(self._open()).Respond(request, metadata=self._metadata)
        with _our_errors(call):
            async for response in call:
                event = event_of_wire(response, output)
                if event is not None:
                    yield event

    async def answer(self, turn: str | ArrayLike | bytes, config: CallConfig | None = None) -> Answer:
        """As `respond`, the whole answer at once."""
        config = config or CallConfig()
        output = config.output_audio or await self._native()
        return await collect(self.respond(turn, config), output)

    async def tokenize(self, audio: ArrayLike | bytes, audio_format: AudioFormat) -> list[int]:
        """Speech tokens of a clip, 12.5 a second; `audio` as in `Call.push_audio`."""
        request = speech_tokenizer_pb2.TokenizeRequest(
            audio=audio_format.encode(audio), audio_format=format_to_wire(audio_format)
        )
        stub = speech_tokenizer_pb2_grpc.SpeechTokenizerServiceStub(self._open())
        with _our_errors():
            response = await stub.Tokenize(request, metadata=self._metadata)
        return list(response.tokens.ids)

    async def detokenize(self, tokens: Sequence[int], output_audio: AudioFormat | None = None) -> AsyncIterator[Audio]:
        """Speech tokens spoken, piece by piece, as they are made."""
        output = output_audio or await self._native()
        request = speech_tokenizer_pb2.DetokenizeRequest(
            tokens=audio_pb2.SpeechTokens(ids=tokens), output_audio=format_to_wire(output)
        )
        stub = speech_tokenizer_pb2_grpc.SpeechTokenizerServiceStub(self._open())
        call = stub.Detokenize(request, metadata=self._metadata)
        with _our_errors(call):
            async for response in call:
                yield Audio(response.audio, output, response.sample_offset)

    async def model_info(self) -> ModelInfo:
        """What is served, and within which limits."""
        stub = dialogue_pb2_grpc.DialogueServiceStub(self._open())
        with _our_errors():
            response = await stub.GetModelInfo(model_info_pb2.GetModelInfoRequest(), metadata=self._metadata)
        return model_info_of_wire(response)

    async def _native(self) -> AudioFormat:
        """The format of audio for which none was asked."""
        if self._native_format is None:
            self._native_format = linear16((await self.model_info()).native_sample_rate)
        return self._native_format

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise SessionClosedError("the client is closed; use it within `async with Client(…)`.")
        return self._channel

    def _open_stream(self) -> Stream:
        stream: Stream = dialogue_pb2_grpc.DialogueServiceStub(self._open()).Converse(metadata=self._metadata)
        return stream


def _open_channel(target: str, tls: Tls | None) -> grpc.aio.Channel:
    options: list[tuple[str, str | int]] = list(_CHANNEL_OPTIONS)
    if tls is None:
        return grpc.aio.insecure_channel(target, options, grpc.Compression.NoCompression)
    if tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    credentials = grpc.ssl_channel_credentials(tls.roots, tls.key, tls.certificate)
    return grpc.aio.secure_channel(target, credentials, options, grpc.Compression.NoCompression)


@contextlib.contextmanager
def _our_errors(call: grpc.aio.RpcContext | None = None) -> Iterator[None]:
    """Errors of gRPC come out as ours, and a `call` that is left early is cancelled."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_of_call(error) from None
    finally:
        if call is not None:
            call.cancel()
