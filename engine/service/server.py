"""The gRPC server: it listens, warms up, serves, and drains."""

import asyncio
import logging
from contextlib import suppress
from typing import Final

import grpc
import numpy as np

from antiphon.engine.clock import Clock, MonotonicClock
from antiphon.engine.config import SessionConfig
from antiphon.engine.engine import Engine
from antiphon.engine.errors import AntiphonError, InputError
from antiphon.engine.events import ResponseCompleted
from antiphon.engine.hear.voice_activity import VoiceActivityModel
from antiphon.engine.service.dialogue_servicer import DialogueServicer
from antiphon.engine.service.drain import Drain
from antiphon.engine.service.endpoints import Endpoints
from antiphon.engine.service.health import Health
from antiphon.engine.service.host import Host
from antiphon.engine.service.keys import ApiKeys
from antiphon.engine.service.logs import log_event
from antiphon.engine.service.model_ids import codec_id, vocabulary_id
from antiphon.engine.service.quotas import Quotas
from antiphon.engine.service.reflection import reflection_endpoints
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.engine.service.resume import ResumableDialogues
from antiphon.engine.service.settings import ServiceSettings
from antiphon.engine.service.tls import TlsFiles, server_credentials
from antiphon.engine.service.tokenizer_servicer import TokenizerServicer
from antiphon.engine.service.voice_activity import VoiceActivityService
from antiphon.engine.think.sampling import SamplingParams
from antiphon.engine.units import MODEL_INPUT_RATE

WATCH_SECONDS: Final = 1.0  # between two looks at keys and engine
_POLL_SECONDS: Final = 0.02  # between two looks at whether the calls have ended
_END_SECONDS: Final = 3.0  # for calls that were ended to say so
_GRACE_SECONDS: Final = 1.0  # for the transport to send what is on its way
_HANDSHAKE_SECONDS: Final = 10.0
_WARM_UP_TOKENS: Final = 60  # the first chunk of audio is among them

_log = logging.getLogger(__name__)


class Server:
    """One engine, served. Lives on one asyncio loop; `run` is its whole life."""

    def __init__(
        self,
        engine: Engine,
        settings: ServiceSettings,
        model: str,
        keys: ApiKeys | None = None,
        tls: TlsFiles | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`model` is its name, for people. Raises CheckpointError without the voice activity network, ServerFileError
        for TLS files that cannot be used, InputError for an address that cannot be listened on."""
        clock = clock or MonotonicClock()
        self.host = Host(
            engine=engine,
            settings=settings,
            clock=clock,
            drain=Drain(clock),
            keys=keys,
            quotas=Quotas(settings.max_calls, settings.max_dialogues_per_key, settings.max_audio_per_minute, clock),
            voice_activity=VoiceActivityService(VoiceActivityModel.load()),
            dialogues=ResumableDialogues(),
            model=model,
            codec_id=codec_id(engine.tokenizer),
            vocabulary_id=vocabulary_id(engine.lm.vocabulary),
        )
        dialogues, tokenizer = DialogueServicer(self.host), TokenizerServicer(self.host)
        services = (dialogues.service, tokenizer.service)
        self.health = Health(services, settings.config_timeout)
        self._endpoints = Endpoints(
            self.host,
            [
                *dialogues.endpoints(),
                *tokenizer.endpoints(),
                *self.health.endpoints(),
                *(reflection_endpoints(services) if settings.reflection else ()),
            ],
        )
        self._grpc = grpc.aio.server(
            options=_options(settings),  # calls are counted by the endpoints, which say why there are too many
            compression=grpc.Compression.NoCompression,
        )
        self._grpc.add_generic_rpc_handlers((self._endpoints,))
        try:
            if tls is None:
                self.port = self._grpc.add_insecure_port(settings.address)
            else:
                self.port = self._grpc.add_secure_port(settings.address, server_credentials(tls, clock))
        except RuntimeError as error:
            raise InputError(
                f"{settings.address} cannot be listened on: is the port in use, or --host no address of this machine? "
                f"({error})"
            ) from error
        self.is_tls = tls is not None
        self._is_sound = True

    @property
    def n_calls(self) -> int:
        """Calls under way, health checks apart."""
        return self._endpoints.n_calls

    def stop(self) -> None:
        """Drain, then end: answers under way have `drain_timeout`. Asked again, they are ended at once."""
        drain = self.host.drain
        again = drain.begun.is_set()
        drain.begin(0.0 if again else self.host.settings.drain_timeout)
        self.health.set_serving(False)
        log_event(_log, logging.INFO, "drain_hastened" if again else "drain_begun", count=self._endpoints.n_calls)

    async def run(self) -> bool:
        """Serve until `stop`. Returns whether all was well; False: the engine failed, and no one can be served."""
        await self._grpc.start()
        helpers = [asyncio.create_task(self._warm_up()), asyncio.create_task(self._watch())]
        await self.host.drain.begun.wait()
        await self._end_calls()
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        await self._grpc.stop(_GRACE_SECONDS)
        await self.host.dialogues.close()
        await self.host.voice_activity.close()
        log_event(_log, logging.INFO, "stopped")
        return self._is_sound

    async def _warm_up(self) -> None:
        """One short turn through the whole engine, then open the doors."""
        begun = self.host.clock.now()
        try:
            await _one_turn(self.host.engine)
        except AntiphonError as error:
            log_event(_log, logging.CRITICAL, "warm_up_failed", error)
            self._give_up()
            return
        if self.host.drain.begun.is_set():
            return
        self.host.ready = True
        self.health.set_serving(True)
        address = f"{self.host.settings.host}:{self.port}"
        log_event(_log, logging.INFO, "serving", peer=address, port=self.port, seconds=self.host.clock.now() - begun)

    async def _watch(self) -> None:
        """Look after what changes by itself: keys are revoked, an engine dies."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._endpoints.end_revoked()
            if self.host.engine.fault is not None and self._is_sound:
                log_event(_log, logging.CRITICAL, "engine_lost")
                self._give_up()

    def _give_up(self) -> None:
        """There is nothing to serve with any more."""
        self._is_sound = False
        self.stop()

    async def _end_calls(self) -> None:
        """Wait until the calls have ended, as long as the drain allows; then end them."""
        drain = self.host.drain
        while self._endpoints.n_calls and drain.time_left > 0:
            await asyncio.sleep(_POLL_SECONDS)
        self._endpoints.end_all(RefusalError(Reason.DRAINING, "the server shuts down; go to another."))
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                while self._endpoints.n_calls:
                    await asyncio.sleep(_POLL_SECONDS)


async def _one_turn(engine: Engine) -> None:
    """Raises AntiphonError when it is not answered."""
    second = np.random.default_rng(0).normal(scale=0.05, size=MODEL_INPUT_RATE).astype(np.float32)
    config = SessionConfig(sampling=SamplingParams(temperature=0.0, max_new_tokens=_WARM_UP_TOKENS))
    async with engine.session(config) as session:
        await session.push_audio(second, MODEL_INPUT_RATE)
        await session.commit()
        async for event in session.events():
            if isinstance(event, ResponseCompleted):
                if event.failure is not None:
                    raise AntiphonError(f"the engine could not answer: {event.failure.kind}.")
                return


def _options(settings: ServiceSettings) -> list[tuple[str, int]]:
    """The transport's arguments (grpc/impl/channel_arg_names.h)."""
    return [
        ("grpc.so_reuseport", 0),  # a port that is taken is an error, not shared
        ("grpc.max_receive_message_length", settings.max_unary_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.compression_enabled_algorithms_bitset", 1),  # none: audio does not shrink, and bombs do not grow
        ("grpc.max_concurrent_streams", settings.max_streams_per_connection),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_connection_idle_ms", int(settings.connection_idle_timeout * 1000)),
        ("grpc.server_handshake_timeout_ms", int(_HANDSHAKE_SECONDS * 1000)),
        ("grpc.keepalive_time_ms", int(settings.keepalive_interval * 1000)),
        ("grpc.keepalive_timeout_ms", int(settings.keepalive_timeout * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", int(settings.ping_interval * 1000)),
    ]
