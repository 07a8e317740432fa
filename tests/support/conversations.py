"""Converse calls without gRPC: the service's own side of a call, driven by hand over a real embedded engine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import numpy as np
from goldens import golden

import antiphon
from antiphon.engine.clock import Clock, MonotonicClock
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.hear.voice_activity import VoiceActivityModel
from antiphon.engine.service.converse import converse
from antiphon.engine.service.door import Door
from antiphon.engine.service.drain import Drain
from antiphon.engine.service.host import Caller, ClientGoneError, Host
from antiphon.engine.service.quotas import OwnQuotas, Quotas
from antiphon.engine.service.resume import ResumableDialogues
from antiphon.engine.service.settings import ServiceSettings
from antiphon.engine.service.voice_activity import VoiceActivityService
from antiphon.v1 import audio_pb2, dialogue_pb2, session_pb2

LINEAR16, MULAW = audio_pb2.AUDIO_ENCODING_LINEAR16, audio_pb2.AUDIO_ENCODING_MULAW
SERVER_VAD = session_pb2.TURN_DETECTION_MODE_SERVER_VAD
PATIENCE = 120.0  # seconds; only a test that fails waits so long


def host_of(engine: antiphon.Engine, clock: Clock | None = None, **settings: Any) -> Host:
    """A server's belongings around an engine. Answers go out at once and audio comes at any speed, unless said."""
    limits = {"max_output_lead": 1e6, "max_vad_input_speed": 1e4, "max_vad_input_burst": 1e4, "max_utilisation": 0.0}
    limits |= settings
    chosen = ServiceSettings(**limits)
    clock = clock or MonotonicClock()
    quotas = Quotas(chosen.max_calls, chosen.max_dialogues_per_key, chosen.max_audio_per_minute, clock)
    return Host(
        engine=engine,
        settings=chosen,
        clock=clock,
        drain=Drain(clock),
        keys=None,
        door=Door(chosen.max_utilisation),
        quotas=quotas,
        shared_quotas=OwnQuotas(quotas),
        voice_activity=VoiceActivityService(VoiceActivityModel.load()),
        dialogues=ResumableDialogues(),
        model="tiny",
        codec_id="codec",
        vocabulary_id="vocabulary",
        ready=True,
    )


def config(rate: int | None = 16_000, encoding: int = LINEAR16, **more: Any) -> session_pb2.SessionConfig:
    """Greedy answers of at most 60 ids, and everything told. `rate` None: no audio comes."""
    sampling = session_pb2.Sampling(temperature=0.0, max_output_tokens=more.pop("max_output_tokens", 60))
    given = {"enable_turn_history": True, "enable_text_deltas": True, "sampling": sampling} | more
    if rate is not None:
        given["input_audio"] = audio_pb2.AudioFormat(encoding=encoding, sample_rate_hertz=rate)
    return session_pb2.SessionConfig(**given)


class Call:
    """One call: `async with Call(host) as call`. Leaving it hangs up, if it still goes on."""

    def __init__(self, host: Host, caller: Caller | None = None) -> None:
        self.host = host
        self.received: list[dialogue_pb2.ConverseResponse] = []
        self.reading = asyncio.Event()  # cleared: the client does not read
        self.reading.set()
        self._caller = caller or Caller(None, "test")
        self._requests: asyncio.Queue[dialogue_pb2.ConverseRequest | BaseException | None] = asyncio.Queue()
        self._news = asyncio.Event()
        self._seen = 0

    async def __aenter__(self) -> "Call":
        self.task = asyncio.create_task(converse(self._read(), self._send, self.host, self._caller))
        return self

    async def __aexit__(self, *error: object) -> None:
        self.hang_up()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.exception()

    def ask(self, **request: Any) -> None:
        self._requests.put_nowait(dialogue_pb2.ConverseRequest(**request))

    def ask_raw(self, request: dialogue_pb2.ConverseRequest) -> None:
        self._requests.put_nowait(request)

    def hear(self, data: bytes, piece: int = 32_000) -> None:
        for start in range(0, len(data), piece):
            self.ask(audio=dialogue_pb2.AudioInput(data=data[start : start + piece]))

    def end_side(self) -> None:
        self._requests.put_nowait(None)

    def hang_up(self) -> None:
        self._requests.put_nowait(ClientGoneError())

    async def event(self, kind: str) -> Any:
        """The next event of this kind; what came before it is passed over."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while self._seen < len(self.received):
                    event = self.received[self._seen]
                    self._seen += 1
                    if event.WhichOneof("response") == kind:
                        return getattr(event, kind)
                self._news.clear()
                if self.task.done():
                    self.task.result()
                    raise AssertionError(f"the call ended without {kind}: {self.kinds}")
                news = asyncio.create_task(self._news.wait())
                await asyncio.wait([news, self.task], return_when=asyncio.FIRST_COMPLETED)
                news.cancel()

    async def end(self) -> None:
        """Wait until the call has ended; raises what it ended with."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([self.task])
        self.task.result()

    def all(self, kind: str) -> list[Any]:
        return [getattr(event, kind) for event in self.received if event.WhichOneof("response") == kind]

    @property
    def kinds(self) -> list[str]:
        """The events so far, runs of one kind as one."""
        kinds = [event.WhichOneof("response") or "" for event in self.received]
        return [kind for kind, before in zip(kinds, ["", *kinds], strict=False) if kind != before]

    def audio(self, response_id: str | None = None) -> bytes:
        return b"".join(one.data for one in self.all("audio") if response_id in (None, one.response_id))

    async def _read(self) -> AsyncIterator[dialogue_pb2.ConverseRequest]:
        while (request := await self._requests.get()) is not None:
            if isinstance(request, BaseException):
                raise request
            yield request

    async def _send(self, event: dialogue_pb2.ConverseResponse) -> None:
        await self.reading.wait()
        kept = dialogue_pb2.ConverseResponse()
        kept.CopyFrom(event)
        self.received.append(kept)
        self._news.set()


def pcm16(pcm: np.ndarray) -> bytes:
    """f32[n] as LINEAR16."""
    return np.clip(np.rint(pcm * 32_768), -32_768, 32_767).astype("<i2").tobytes()


def ids_of(items: Iterable[session_pb2.HistoryItem]) -> list[list[int]]:
    """The ids of history items, speech codes or interleaved."""
    return [list(item.speech_tokens.ids or item.interleaved_tokens.ids) for item in items]


Test = Callable[[Host], Awaitable[None]]


def run(engine: antiphon.Engine, test: Test, **settings: float) -> None:
    """Run a test, after which everything it took has to be given back."""

    async def checked() -> None:
        before = engine.stats
        host = host_of(engine, **settings)
        tasks = asyncio.all_tasks()
        await test(host)
        await host.dialogues.close()
        await host.voice_activity.close()
        assert asyncio.all_tasks() == tasks
        after = engine.stats
        assert (after.dialogues, after.turns, after.free_pages) == (before.dialogues, before.turns, before.free_pages)
        assert host.quotas.dialogues.count("everyone") == 0 and len(host.dialogues) == 0

    asyncio.run(checked())


def clip(name: str) -> tuple[np.ndarray, int]:
    pcm, rate = read_audio(golden(f"speech_tokenizer/wav/{name}.wav"))
    return pcm[0], rate
