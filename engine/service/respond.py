"""Respond: one turn in, its answer streamed out as fast as it is made."""

from collections.abc import Iterator
from dataclasses import replace

from antiphon.engine.clock import Clock
from antiphon.engine.events import (
    AudioOutput,
    FinishReason,
    ResponseCompleted,
    ResponseStarted,
    TextDelta,
    TurnsForgotten,
)
from antiphon.engine.service import wire_events
from antiphon.engine.service.convert import DialogueSettings, check_text, dialogue_settings
from antiphon.engine.service.endpoints import AnswerFailedError, Call
from antiphon.engine.service.host import Host
from antiphon.engine.service.pacing import Pacer, Packet
from antiphon.engine.service.playback import Playback
from antiphon.engine.service.refusals import FieldViolation, InvalidRequestError
from antiphon.engine.service.wire_audio import WaveOut, whole_audio
from antiphon.engine.session import Session
from antiphon.engine.timeline import WaveSample, wire_sample_of
from antiphon.v1 import events_pb2
from antiphon.v1.dialogue_pb2 import RespondRequest, RespondResponse


async def respond(call: Call[RespondRequest, RespondResponse], host: Host) -> None:
    """Answer the call's one turn. Raises RefusalError, AntiphonError as the engine does, AnswerFailedError."""
    with host.door.enter(host.engine.occupancies) as entering:
        request = await call.read_one(host.settings.config_timeout)
        begun = host.clock.now()
        kind = request.WhichOneof("turn")
        if kind is None:
            raise InvalidRequestError([FieldViolation("turn", "absent; expected text or audio.")])
        settings = await dialogue_settings(request.config, host, live=False)
        if kind == "text":
            check_text(request.text, "text", host)
        elif settings.input is None:
            raise InvalidRequestError([FieldViolation("config.input_audio", "absent; say what the audio is.")])
        with await host.shared_quotas.dialogue(call.caller.key):
            tenant = call.caller.key or ""
            async with host.engine.session(replace(settings.session, tenant=tenant), checked=True) as session:
                entering.release()
                if settings.input is not None and kind == "audio":
                    samples = await whole_audio(request.audio, settings.input, host, call.caller)
                    await session.push_audio(samples, settings.input.rate)
                else:
                    await session.push_text(request.text)
                await _send_answer(call, session, settings, host, begun, await session.commit())


async def _send_answer(
    call: Call[RespondRequest, RespondResponse],
    session: Session,
    settings: DialogueSettings,
    host: Host,
    begun: float,  # when the request was there, by the host's clock
    response_id: str,
) -> None:
    answer = _Answer(response_id, settings, host.clock)
    async for event in session.events():
        match event:
            case ResponseStarted():
                started = events_pb2.ResponseStarted(response_id=response_id, turn_index=event.turn_index)
                await call.send(RespondResponse(response_started=started))
            case TurnsForgotten():
                await call.send(RespondResponse(turns_forgotten=wire_events.turns_forgotten(response_id, event)))
            case TextDelta() if settings.text_deltas:
                offset = wire_sample_of(WaveSample(event.sample_offset), settings.output.rate)
                delta = events_pb2.TextDelta(response_id=response_id, text=event.text, sample_offset=offset)
                await call.send(RespondResponse(text_delta=delta))
            case AudioOutput():
                for output in answer.more(event):
                    await call.send(RespondResponse(audio=output))
            case ResponseCompleted():
                if event.finish_reason is FinishReason.ERROR:
                    assert event.failure is not None, "an answer fails for a reason"
                    raise AnswerFailedError(event.failure)
                for output in answer.rest():
                    await call.send(RespondResponse(audio=output))
                await call.send(RespondResponse(response_completed=answer.completed(event, host, settings, begun)))
                return


class _Answer:
    """An answer's audio on its way into packets."""

    def __init__(self, response_id: str, settings: DialogueSettings, clock: Clock) -> None:
        self._response_id = response_id
        self._format = settings.output
        self._clock = clock
        self._wave_out = WaveOut(settings.output)
        rate = settings.output.rate
        self._pacer = Pacer(Playback(response_id, rate), rate, settings.packet, max_lead=None)
        self._first_audio: float | None = None  # when it was given out, by the clock

    def more(self, event: AudioOutput) -> Iterator[events_pb2.AudioOutput]:
        """The packets that the event fills."""
        self._pacer.push(self._wave_out.push(event.samples))
        yield from self._packets()

    def rest(self) -> Iterator[events_pb2.AudioOutput]:
        """The last packets."""
        self._pacer.push(self._wave_out.finish())
        self._pacer.finish()
        yield from self._packets()

    def completed(
        self, event: ResponseCompleted, host: Host, settings: DialogueSettings, begun: float
    ) -> events_pb2.ResponseCompleted:
        """The end."""
        times = wire_events.AnswerTimes(
            turn_detection=None,
            first_audio=None if self._first_audio is None else self._first_audio - begun,
            total=self._clock.now() - begun,
        )
        ids = wire_events.ModelIds(host.codec_id, host.vocabulary_id) if settings.turn_history else None
        return wire_events.response_completed(self._response_id, event, times, ids).response_completed

    def _packets(self) -> Iterator[events_pb2.AudioOutput]:
        while (packet := self._take()) is not None:
            yield events_pb2.AudioOutput(
                response_id=self._response_id,
                data=self._format.encode(packet.samples),
                sample_offset=packet.sample_offset,
            )

    def _take(self) -> Packet | None:
        packet = self._pacer.take(now := self._clock.now())
        if packet is not None and self._first_audio is None:
            self._first_audio = now
        return packet
