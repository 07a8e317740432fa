"""The gRPC server: it listens, warms up, serves, and drains."""

import asyncio
import logging
from contextlib import suppress
from typing import Final

import grpc

from antiphon.engine.clock import Clock, MonotonicClock
from antiphon.engine.errors import AntiphonError, InputError
from antiphon.engine.hear.voice_activity import VoiceActivityModel
from antiphon.engine.service.dialogue_servicer import DialogueServicer
from antiphon.engine.service.door import Door
from antiphon.engine.service.drain import Drain
from antiphon.engine.service.endpoints import Endpoints
from antiphon.engine.service.health import Health
from antiphon.engine.service.host import EngineHost, Host, SharedQuotas
from antiphon.engine.service.keys import ApiKeys
from antiphon.engine.service.logs import log_event
from antiphon.engine.service.quotas import OwnQuotas, Quotas
from antiphon.engine.service.reflection import reflection_endpoints
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.engine.service.resume import ResumableDialogues
from antiphon.engine.service.settings import ServiceSettings
from antiphon.engine.service.tls import TlsFiles, server_credentials
from antiphon.engine.service.tokenizer_servicer import TokenizerServicer
from antiphon.engine.service.voice_activity import VoiceActivityService

WATCH_SECONDS: Final = 1.0  # between two looks at the keys
_POLL_SECONDS: Final = 0.02  # between two looks at whether the calls have ended
_END_SECONDS: Final = 3.0  # for calls that were ended to say so
_GRACE_SECONDS: Final = 1.0  # for the transport to send what is on its way
_HANDSHAKE_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)


class Server:
    """One engine, served. Lives on one asyncio loop; `run` is its whole life."""

    def __init__(
        self,
        engine: EngineHost,
        settings: ServiceSettings,
        model: str,
        keys: ApiKeys | None = None,
        tls: TlsFiles | None = None,
        clock: Clock | None = None,
        shared_quotas: SharedQuotas | None = None,
    ) -> None:
        """`model` is its name, for people. `shared_quotas`: this is one of several servers of the engine, and they
        listen on one port. Raises CheckpointError without the voice activity network, ServerFileError for TLS files
        that cannot be used, InputError for an address that cannot be listened on."""
        clock = clock or MonotonicClock()
        quotas = Quotas(
            settings.max_calls,
            settings.max_dialogues_per_key,
            settings.max_audio_per_minute,
            clock,
            settings.max_clips,
        )
        self.host = Host(
            engine=engine,
            settings=settings,
            clock=clock,
            drain=Drain(clock),
            keys=keys,
            door=Door(settings.max_utilisation),
            quotas=quotas,
            shared_quotas=shared_quotas or OwnQuotas(quotas),
            voice_activity=VoiceActivityService(VoiceActivityModel.load()),
            dialogues=ResumableDialogues(),
            model=model,
            codec_id=engine.codec_id,
            vocabulary_id=engine.vocabulary_id,
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
            # Calls are counted by the endpoints, which say why there are too many.
            options=_options(settings, shares_port=shared_quotas is not None),
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
        helpers = [asyncio.create_task(self._attend()), asyncio.create_task(self._watch())]
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

    async def _attend(self) -> None:
        """Open the doors once the engine is warm, close them when it is lost; begin anew where it comes back."""
        engine = self.host.engine
        while True:
            begun = self.host.clock.now()
            try:
                await engine.warm_up()
            except AntiphonError as error:
                log_event(_log, logging.CRITICAL, "warm_up_failed", error)
                self._give_up()
                return
            self._open_doors(begun)
            await engine.wait_until_lost()
            self.host.ready = False
            self.health.set_serving(False)
            log_event(_log, logging.CRITICAL, "engine_lost")
            self.host.dialogues.end_waiting()
            if not engine.comes_back:
                self._give_up()
                return

    def _open_doors(self, begun: float) -> None:
        """`begun`: when the warm-up did."""
        if self.host.drain.begun.is_set():
            return
        self.host.ready = True
        self.health.set_serving(True)
        address = f"{self.host.settings.host}:{self.port}"
        log_event(_log, logging.INFO, "serving", peer=address, port=self.port, seconds=self.host.clock.now() - begun)

    async def _watch(self) -> None:
        """End what was begun with a key that is revoked, and what nobody would miss of an engine that was lost."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._endpoints.end_revoked()
            self.host.dialogues.end_lost()
            if self.host.keys is not None:
                self.host.dialogues.end_revoked(self.host.keys)

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


def _options(settings: ServiceSettings, shares_port: bool) -> list[tuple[str, int]]:
    """The transport's arguments (grpc/impl/channel_arg_names.h)."""
    return [
        ("grpc.so_reuseport", int(shares_port)),  # otherwise a port that is taken is an error
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
