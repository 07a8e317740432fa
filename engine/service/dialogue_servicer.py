"""DialogueService: Converse, Respond, GetModelInfo."""

from importlib.metadata import version
from typing import Final

from antiphon.engine.service.converse import converse
from antiphon.engine.service.convert import duration
from antiphon.engine.service.endpoints import Call, Endpoint
from antiphon.engine.service.formats import FORMATS
from antiphon.engine.service.host import Host
from antiphon.engine.service.respond import respond
from antiphon.engine.units import OUTPUT_RATE, SPEECH_TOKEN_RATE
from antiphon.v1 import dialogue_pb2, model_info_pb2
from antiphon.v1.dialogue_pb2 import ConverseRequest, ConverseResponse, RespondRequest, RespondResponse
from antiphon.v1.model_info_pb2 import GetModelInfoRequest, GetModelInfoResponse


class DialogueServicer:
    """Spoken dialogues with the engine of one host."""

    service: Final[str] = dialogue_pb2.DESCRIPTOR.services_by_name["DialogueService"].full_name

    def __init__(self, host: Host) -> None:
        self._host = host
        self._info = _model_info(host)

    def endpoints(self) -> list[Endpoint]:
        """The service's methods."""
        settings = self._host.settings
        live, single = settings.max_converse_message_bytes, settings.max_unary_message_bytes
        return [
            Endpoint(self.service, "Converse", ConverseRequest, self.converse, live),
            Endpoint(self.service, "Respond", RespondRequest, self.respond, single),
            Endpoint(self.service, "GetModelInfo", GetModelInfoRequest, self.get_model_info, single),
        ]

    async def converse(self, call: Call[ConverseRequest, ConverseResponse]) -> None:
        """A dialogue, live."""
        requests = call.requests(self._host.settings.config_timeout)
        await converse(requests, call.send, self._host, call.caller)

    async def respond(self, call: Call[RespondRequest, RespondResponse]) -> None:
        """One turn and its answer."""
        await respond(call, self._host)

    async def get_model_info(self, call: Call[GetModelInfoRequest, GetModelInfoResponse]) -> None:
        """What is served."""
        await call.read_one(self._host.settings.config_timeout)
        await call.send(self._info)


def _model_info(host: Host) -> GetModelInfoResponse:
    formats = [known.to_message() for known in FORMATS]
    return GetModelInfoResponse(
        model=host.model,
        server_version=version("antiphon"),
        codec_id=host.codec_id,
        vocabulary_id=host.vocabulary_id,
        speech_tokens_per_second=float(SPEECH_TOKEN_RATE),
        native_sample_rate_hertz=OUTPUT_RATE,
        input_formats=formats,
        output_formats=formats,
        limits=_limits(host),
    )


def _limits(host: Host) -> model_info_pb2.Limits:
    settings, engine = host.settings, host.engine.config
    return model_info_pb2.Limits(
        max_converse_message_bytes=settings.max_converse_message_bytes,
        max_unary_message_bytes=settings.max_unary_message_bytes,
        max_turn_audio=duration(engine.max_turn_seconds),
        max_text_characters=engine.max_text_characters,
        max_speech_tokens=settings.max_speech_tokens,
        max_history_items=settings.max_history_items,
        max_context_tokens=host.max_context_tokens,
        max_waiting_turns=settings.max_waiting_turns,
        max_dialogues=settings.max_dialogues_per_key,
        max_audio_per_minute=duration(settings.max_audio_per_minute),
        max_vad_input_speed=settings.max_vad_input_speed,
        max_vad_input_burst=duration(settings.max_vad_input_burst),
        max_output_lead=duration(settings.max_output_lead),
        config_timeout=duration(settings.config_timeout),
        read_timeout=duration(settings.read_timeout),
        max_session=duration(settings.max_session),
        max_resume_window=duration(settings.max_resume_window),
    )
