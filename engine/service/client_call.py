"""A live call: one dialogue, over as many connections as it takes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Final, Self

import grpc
import grpc.aio

from antiphon.engine.errors import (
    AntiphonError,
    CallError,
    ConnectionLostError,
    InputError,
    ServerError,
    SessionClosedError,
    UnavailableError,
)
from antiphon.engine.service.client_config import (
    AudioFormat,
    CallConfig,
    TurnDetection,
    config_to_wire,
    format_of_wire,
    turn_detection_to_wire,
)
from antiphon.engine.service.client_ending import Ending
from antiphon.engine.service.client_errors import error_of_call
from antiphon.engine.service.client_events import (
    Answer,
    Event,
    GoAway,
    GoAwayReason,
    IdleTimeout,
    RequestRefused,
    ResponseCompleted,
    ResponseStarted,
    Resumed,
    SpeechStarted,
    TurnEnded,
    TurnEndReason,
    collect,
    event_of_wire,
)
from antiphon.engine.service.client_outbox import Outbox
from antiphon.engine.types import ArrayLike
from antiphon.v1 import dialogue_pb2, events_pb2

MESSAGE_BYTES: Final = 32_000  # of audio in one message, at most: half the contract's own limit
UNREAD_EVENTS: Final = 1_024  # kept for a reader; beyond, the call's flow control holds the server back
FIRST_DELAY: Final = 0.05  # seconds before the line is tried again; doubled each time
LONGEST_DELAY: Final = 2.0  # seconds
LEAVE_TIMEOUT: Final = 1.0  # seconds in which the server may confirm that a dialogue is over

Stream = grpc.aio.StreamStreamCall[dialogue_pb2.ConverseRequest, dialogue_pb2.ConverseResponse]


class Call:
    """A spoken dialogue with a server, opened with `async with client.call(config) as call`.

    Push audio or text, read `events()`. Leaving the block hangs up; `finish()` before it lets the answers come to
    their end. With `CallConfig.resume_window` a broken line is taken up again, and nothing is heard or said twice.
    """

    def __init__(self, open_stream: Callable[[], Stream], config: CallConfig, open_timeout: float) -> None:
        self.config = config
        self.session_id = ""  # the dialogue's name, in the server's logs too
        self.output_format: AudioFormat | None = None  # of the answers, once the call is open
        self._open_stream = open_stream
        self._open_timeout = open_timeout
        self._opening = config_to_wire(config)
        self._outbox = Outbox(keeps=config.resume_window > 0)
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._opened: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = False
        self._failure: AntiphonError | None = None
        self._finishing = False
        self._resume_token = ""
        self._resume_window = 0.0
        self._last_sequence = 0
        self._was_open = False  # the connection at hand, or just lost, had carried the dialogue
        self._is_connected = False
        self._leaving = False  # nobody wants to know any more
        self._probes = 0  # messages without a request, sent to learn that what was missed has come
        self._probe_told = asyncio.Event()
        self._response_id = ""  # of the answer under way; empty: none is

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise SessionClosedError("a call is entered once; open another with client.call().")
        self._opened = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name="antiphon-call")
        try:
            await asyncio.shield(self._opened)
        except BaseException:
            await self.hang_up()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    # What the caller says

    async def push_audio(self, audio: ArrayLike | bytes) -> None:
        """More of the caller's audio: f32[n] in [-1, 1] or int16[n] at the input format's rate, or bytes in it.

        Raises AudioError when it is no audio, InputError without `CallConfig.input_audio`. Waits while the line is
        slower than the caller.
        """
        audio_format = self.config.input_audio
        if audio_format is None:
            raise InputError("this call takes no audio: set CallConfig.input_audio.")
        data = audio_format.encode(audio)
        piece = MESSAGE_BYTES - MESSAGE_BYTES % audio_format.sample_bytes
        for start in range(0, len(data), piece):
            part = data[start : start + piece]
            request = dialogue_pb2.ConverseRequest(audio=dialogue_pb2.AudioInput(data=part))
            await self._put(request, len(part) // audio_format.sample_bytes)

    async def push_text(self, text: str) -> None:
        """A whole turn in writing, answered at once: no commit follows."""
        await self._put(dialogue_pb2.ConverseRequest(text=dialogue_pb2.TextInput(text=text)))

    async def commit(self) -> None:
        """The caller's turn is over: answer it. With nothing to answer, RequestRefused comes."""
        await self._put(dialogue_pb2.ConverseRequest(commit_input=dialogue_pb2.CommitInput()))

    async def clear(self) -> None:
        """Forget the caller's turn so far."""
        await self._put(dialogue_pb2.ConverseRequest(clear_input=dialogue_pb2.ClearInput()))

    async def cancel(self, response_id: str = "") -> None:
        """Stop this answer, or the one under way; the turns that wait behind it are dropped."""
        cancel = dialogue_pb2.CancelResponse(response_id=response_id or self._response_id)
        await self._put(dialogue_pb2.ConverseRequest(cancel_response=cancel))

    async def report_playback(self, played_samples: int, response_id: str = "", stopped: bool = False) -> None:
        """How many output samples of an answer, by default the one under way, were played.

        `stopped`: nothing of it will be played past here. That cuts it, unless it is its end.
        """
        played = dialogue_pb2.PlaybackUpdate(
            response_id=response_id or self._response_id, played_samples=played_samples, stopped=stopped
        )
        await self._put(dialogue_pb2.ConverseRequest(playback_update=played))

    async def update(self, turn_detection: TurnDetection) -> None:
        """Other settings of turn detection from the next audio on; what is None in it stays as it is."""
        update = dialogue_pb2.ConfigUpdate(turn_detection=turn_detection_to_wire(turn_detection))
        update.turn_detection.ClearField("mode")  # it cannot change
        await self._put(dialogue_pb2.ConverseRequest(config_update=update))

    async def finish(self) -> None:
        """The caller has nothing more to say. What was said is still answered; then `events()` ends."""
        self._finishing = True
        self._outbox.finish()

    async def hang_up(self) -> None:
        """End the call now, and the dialogue with it. Doing so twice does nothing."""
        if self._task is not None:
            if self._is_connected and self._resume_token:
                await self._take_leave(self._task)
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled() and (fault := self._task.exception()) is not None:
                raise fault

    # What the server says

    async def events(self) -> AsyncIterator[Event]:
        """Events as they come, until the call is over. May be entered again: it goes on where it stopped.

        Raises CallError when the call failed. Whoever stops reading holds the server back, until it ends the call.
        """
        while (event := await self._events.get()) is not None:
            if self._events.qsize() < UNREAD_EVENTS:
                self._room.set()
            yield event
        self._events.put_nowait(None)
        if self._failure is not None:
            raise self._failure

    async def answer(self) -> Answer:
        """The next answer, to its end. Raises CallError when the call fails or refuses a request before."""
        assert self.output_format is not None, "a call is read once it is open"
        return await collect(self.events(), self.output_format)

    # How it is carried

    async def _put(self, request: dialogue_pb2.ConverseRequest, samples: int = 0) -> None:
        self._check_talking()
        await self._outbox.put(request, samples)
        self._check_talking()

    async def _take_leave(self, task: asyncio.Task[None]) -> None:
        """End the dialogue in good order. Of a call that is merely cancelled the server would wait for a resume."""
        self._leaving = True
        self._room.set()
        self._outbox.drop_unsent()
        await self._outbox.put(dialogue_pb2.ConverseRequest(clear_input=dialogue_pb2.ClearInput()))
        await self._outbox.put(dialogue_pb2.ConverseRequest(cancel_response=dialogue_pb2.CancelResponse()))
        self._outbox.finish()
        await asyncio.wait([task], timeout=LEAVE_TIMEOUT)

    def _check_talking(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._over or self._finishing or self._task is None:
            raise SessionClosedError("the call is not open; it takes nothing more.")

    async def _run(self) -> None:
        failure: AntiphonError | None = None
        try:
            failure = await self._carry_on()
        except AntiphonError as error:
            failure = error
        finally:
            self._end(failure)

    def _end(self, failure: AntiphonError | None) -> None:
        self._over = True
        self._failure = failure
        self._outbox.release()
        self._events.put_nowait(None)
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(failure or SessionClosedError("the call ended before it was open."))

    async def _carry_on(self) -> CallError | None:
        """Carry the dialogue to its end, over one connection after the other. Returns why it failed."""
        request = dialogue_pb2.ConverseRequest(config=self._opening)
        clock = asyncio.get_running_loop().time
        attempts, give_up_at = 0, 0.0
        while (failure := await self._carry(request)) is not None:
            if self._was_open:
                self._was_open = False
                attempts, give_up_at = 0, clock() + self._resume_window
            delay = min(FIRST_DELAY * 2**attempts, LONGEST_DELAY)
            if not self._may_resume(failure) or clock() + delay > give_up_at:
                break
            attempts += 1
            await asyncio.sleep(delay)
            request = dialogue_pb2.ConverseRequest(
                resume=dialogue_pb2.Resume(
                    session_id=self.session_id,
                    resume_token=self._resume_token,
                    last_event_sequence=self._last_sequence,
                )
            )
        return failure

    def _may_resume(self, failure: CallError) -> bool:
        """Whether it is worth another try: the line broke, or the server warms up, or drains and has said how."""
        unavailable = isinstance(failure, UnavailableError) and failure.reason != "ENGINE_LOST"
        return bool(self._resume_token) and unavailable

    async def _carry(self, opening: dialogue_pb2.ConverseRequest) -> CallError | None:
        """Carry the dialogue over one connection. Returns why that failed; None: the dialogue is over."""
        stream = self._open_stream()
        ending = Ending(stream)
        writer: asyncio.Task[None] | None = None
        try:
            responses = aiter(stream)
            async with asyncio.timeout(self._open_timeout):
                await stream.write(opening)
                first = await anext(responses, None)
            if first is None or not first.HasField("session_started"):
                return ServerError("the server did not begin with SessionStarted.", code="UNKNOWN")
            resumed_at = self._accept(first.session_started)
            self._is_connected = True
            writer = asyncio.create_task(self._write(stream, resumed_at), name="antiphon-call-writer")
            async for response in responses:
                self._receive(response)
                await self._room.wait()
            return None
        except grpc.aio.AioRpcError as error:
            return error_of_call(await ending.error() or error)
        except TimeoutError:
            return ConnectionLostError(f"no answer came within {self._open_timeout:g} s.", code="DEADLINE_EXCEEDED")
        finally:
            self._is_connected = False
            stream.cancel()
            if writer is not None:
                writer.cancel()
                await asyncio.wait([writer])

    def _accept(self, started: events_pb2.SessionStarted) -> int | None:
        """The dialogue is open. Returns the input sample it goes on from, or None where it begins."""
        resumed = bool(self.session_id)
        self._was_open = True
        self._resume_token = started.resume_token
        self._resume_window = min(self.config.resume_window, started.config.resume_window.ToTimedelta().total_seconds())
        if resumed:
            self._outbox.resume_at(started.next_input_sample)
            return started.next_input_sample
        self.session_id = started.session_id
        self.output_format = format_of_wire(started.config.output_audio)
        assert self._opened is not None
        self._opened.set_result(None)
        return None

    async def _write(self, stream: Stream, resumed_at: int | None) -> None:
        try:
            if resumed_at is not None:
                if self._outbox.is_uncertain:
                    await self._await_missed_events(stream)
                lost = self._outbox.send_again(resumed_at)
                self._events.put_nowait(Resumed(resumed_at, lost))
            while (request := await self._outbox.take()) is not None:
                await stream.write(request)
            await stream.done_writing()
        except (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            return  # the line broke under it: the reader learns why

    async def _await_missed_events(self, stream: Stream) -> None:
        """Wait until all has come that the server told before. What it refuses now, it refuses after that: a message
        without a request, which changes nothing."""
        self._probes += 1
        self._probe_told.clear()
        await stream.write(dialogue_pb2.ConverseRequest())
        await self._probe_told.wait()

    def _receive(self, response: dialogue_pb2.ConverseResponse) -> None:
        if response.event_sequence:
            if response.event_sequence <= self._last_sequence:
                return
            self._last_sequence = response.event_sequence
        assert self.output_format is not None
        event = event_of_wire(response, self.output_format)
        match event:
            case None:
                return
            case RequestRefused() if self._probes and event.error.reason == "REQUEST_UNKNOWN":
                self._probes -= 1
                self._probe_told.set()
                return
            case RequestRefused(request="commit_input" | "text"):
                self._outbox.turn_received()
            case TurnEnded():
                if event.reason is TurnEndReason.COMMITTED:
                    self._outbox.turn_received()
                self._outbox.audio_received(event.end_sample)
            case SpeechStarted():
                self._outbox.audio_received(event.speech_sample)
            case IdleTimeout():
                self._outbox.audio_received(event.input_sample)
            case ResponseStarted():
                self._response_id = event.response_id
            case ResponseCompleted() if event.response_id == self._response_id:
                self._response_id = ""
            case GoAway(reason=GoAwayReason.DRAINING):
                self._resume_token = response.go_away.resume_token
        self._events.put_nowait(event)
        if self._events.qsize() >= UNREAD_EVENTS and not self._leaving:
            self._room.clear()
