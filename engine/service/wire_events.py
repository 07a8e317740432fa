"""What a dialogue tells its client, as messages of the wire."""

from collections.abc import Sequence
from dataclasses import dataclass

from google.rpc import status_pb2

from antiphon.engine.events import FinishReason, InterruptionReason, ResponseCompleted, TurnsForgotten, Usage
from antiphon.engine.hear.turn_taking import EndReason, SpeechStarted
from antiphon.engine.history import HistoryItem
from antiphon.engine.service.convert import duration
from antiphon.engine.service.status import status_of_failure
from antiphon.v1 import audio_pb2, events_pb2, session_pb2
from antiphon.v1.dialogue_pb2 import ConverseResponse

_ROLES = {"user": session_pb2.ROLE_USER, "assistant": session_pb2.ROLE_ASSISTANT}


@dataclass(frozen=True)
class ModelIds:
    """The names under which a server's ids go."""

    codec_id: str
    vocabulary_id: str


@dataclass(frozen=True)
class TurnSpan:
    """A turn of the caller that is complete. Positions are input samples."""

    reason: EndReason
    start: int
    end: int
    speech_end: int | None = None  # where the pause that ended it began

    def detection_seconds(self, rate: int | None) -> float | None:
        """From the end of the speech to the end of the turn, in the time of the caller's audio at `rate` Hz."""
        return None if self.speech_end is None or rate is None else (self.end - self.speech_end) / rate


@dataclass(frozen=True)
class AnswerTimes:
    """Seconds from the end of the turn, as the service saw it; None: it did not happen."""

    turn_detection: float | None
    first_audio: float | None
    total: float


def response_of(event: ConverseResponse) -> str | None:
    """The id of the answer whose text or audio `event` brings; None for all other events."""
    match event.WhichOneof("response"):
        case "text_delta":
            return event.text_delta.response_id
        case "audio":
            return event.audio.response_id
        case "audio_completed":
            return event.audio_completed.response_id
        case _:
            return None


def error_event(status: status_pb2.Status) -> ConverseResponse:
    """A request was refused."""
    return ConverseResponse(error=status)


def speech_started(decision: SpeechStarted) -> ConverseResponse:
    """The caller has begun to speak."""
    return ConverseResponse(
        speech_started=events_pb2.SpeechStarted(
            speech_sample=decision.at, start_sample=decision.turn_start, probability=decision.probability
        )
    )


def turn_ended(response_id: str, span: TurnSpan) -> ConverseResponse:
    """The caller's turn is over."""
    return ConverseResponse(
        turn_ended=events_pb2.TurnEnded(
            response_id=response_id,
            reason=f"REASON_{span.reason.name}",
            start_sample=span.start,
            end_sample=span.end,
            speech_end_sample=span.speech_end,
        )
    )


def idle_timeout(at: int) -> ConverseResponse:
    """Nobody has spoken for a while."""
    return ConverseResponse(idle_timeout=events_pb2.IdleTimeout(input_sample=at))


def response_started(response_id: str, turn_index: int) -> ConverseResponse:
    """An answer begins."""
    return ConverseResponse(response_started=events_pb2.ResponseStarted(response_id=response_id, turn_index=turn_index))


def turns_forgotten(response_id: str, event: TurnsForgotten) -> events_pb2.TurnsForgotten:
    """The model has forgotten the beginning of the dialogue."""
    return events_pb2.TurnsForgotten(response_id=response_id, turns=event.turns, turns_left=event.turns_left)


def text_delta(response_id: str, text: str, sample_offset: int) -> ConverseResponse:
    """More of an answer's text."""
    return ConverseResponse(
        text_delta=events_pb2.TextDelta(response_id=response_id, text=text, sample_offset=sample_offset)
    )


def audio_output(response_id: str, data: bytes, sample_offset: int) -> ConverseResponse:
    """More of an answer's audio."""
    return ConverseResponse(
        audio=events_pb2.AudioOutput(response_id=response_id, data=data, sample_offset=sample_offset)
    )


def audio_completed(response_id: str, sample_count: int) -> ConverseResponse:
    """All of an answer's audio was sent."""
    return ConverseResponse(
        audio_completed=events_pb2.AudioCompleted(response_id=response_id, sample_count=sample_count)
    )


def interrupted(
    response_id: str, reason: InterruptionReason, heard_samples: int, kept_tokens: int, estimated: bool
) -> ConverseResponse:
    """An answer was cut."""
    return ConverseResponse(
        interrupted=events_pb2.Interrupted(
            response_id=response_id,
            reason=f"REASON_{reason.name}",
            heard_samples=heard_samples,
            kept_tokens=kept_tokens,
            estimated=estimated,
        )
    )


def response_completed(
    response_id: str, event: ResponseCompleted, times: AnswerTimes, history_ids: ModelIds | None
) -> ConverseResponse:
    """An answer is over. `history_ids`: tell what the turn added to the dialogue; None: the client did not ask."""
    failure = event.failure
    return ConverseResponse(
        response_completed=events_pb2.ResponseCompleted(
            response_id=response_id,
            finish_reason=f"FINISH_REASON_{event.finish_reason.name}",
            usage=usage_message(event.usage),
            timing=timing_message(event, times),
            history=[] if history_ids is None else history_messages(event.history, history_ids),
            error=None
            if event.finish_reason is not FinishReason.ERROR or failure is None
            else status_of_failure(failure),
        )
    )


def usage_message(usage: Usage) -> events_pb2.Usage:
    """What a turn was made of."""
    return events_pb2.Usage(
        input_tokens=usage.input_tokens,
        input_audio_tokens=usage.input_audio_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        output_text_tokens=usage.output_text_tokens,
        output_audio_tokens=usage.output_audio_tokens,
        input_audio_duration=duration(usage.input_audio_seconds),
        output_audio_duration=duration(usage.output_audio_seconds),
    )


def timing_message(event: ResponseCompleted, times: AnswerTimes) -> events_pb2.Timing:
    """How long a turn took: the model's first id by the engine's clock, all else by the service's."""
    first_token = event.timing.first_token
    return events_pb2.Timing(
        turn_detection=None if times.turn_detection is None else duration(times.turn_detection),
        first_token=None if first_token is None else duration(first_token),
        first_audio=None if times.first_audio is None else duration(times.first_audio),
        total=duration(times.total),
    )


def history_messages(items: Sequence[HistoryItem], ids: ModelIds) -> list[session_pb2.HistoryItem]:
    """What a client gives back as SessionConfig.history."""
    return [_history_item(item, ids) for item in items]


def _history_item(item: HistoryItem, ids: ModelIds) -> session_pb2.HistoryItem:
    role = _ROLES[item.role]
    if item.text is not None:
        return session_pb2.HistoryItem(role=role, text=item.text)
    if item.speech is not None:
        speech = audio_pb2.SpeechTokens(ids=item.speech, codec_id=ids.codec_id)
        return session_pb2.HistoryItem(role=role, speech_tokens=speech)
    tokens = audio_pb2.InterleavedTokens(ids=item.ids or (), vocabulary_id=ids.vocabulary_id)
    return session_pb2.HistoryItem(role=role, interleaved_tokens=tokens)
