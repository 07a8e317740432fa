"""Bad input: each a clear error of ours, beside a healthy dialogue that it changes nothing for."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from callers import Received, receive
from checkpoints import tiny_checkpoint
from compare import assert_close
from engines import exact_engine
from tolerances import TOLERANCE

import antiphon
from antiphon.errors import (
    AudioError,
    CheckpointError,
    ContextOverflowError,
    DeviceError,
    InputError,
    SessionClosedError,
    TextError,
    TokenError,
)
from antiphon.events import FinishReason

GREEDY = antiphon.SamplingParams(temperature=0.0, max_new_tokens=80)
TONE = 0.3 * np.sin(np.arange(4_000, dtype=np.float32) / 5)
Push = Callable[[antiphon.Session], Awaitable[object]]

REFUSED: dict[str, tuple[Push, type[Exception], str]] = {
    "empty audio": (lambda s: s.push_audio(np.zeros(0), 8_000), AudioError, "at least one sample"),
    "NaN": (lambda s: s.push_audio(np.array([0.0, np.nan]), 8_000), AudioError, "1 samples that are NaN or infinite"),
    "infinity": (lambda s: s.push_audio(np.array([np.inf]), 8_000), AudioError, "expected finite numbers"),
    "three dimensions": (lambda s: s.push_audio(np.zeros((1, 1, 5)), 8_000), AudioError, r"shape \[1, 1, 5\]"),
    "rate 0": (lambda s: s.push_audio(TONE, 0), AudioError, "sample rate is 0"),
    "negative rate": (lambda s: s.push_audio(TONE, -8_000), AudioError, "sample rate is -8000"),
    "over the turn limit": (lambda s: s.push_audio(np.zeros(61 * 8_000), 8_000), AudioError, "the limit is 60 s"),
    "empty text": (lambda s: s.push_text("  \n"), TextError, "expected at least one character"),
    "100 kB of text": (lambda s: s.push_text("a" * 100_000), TextError, "100000 characters; the limit is"),
    "a commit of nothing": (lambda s: s.commit(), InputError, "push audio or text"),
    "integers": (lambda s: s.push_audio(np.zeros(5, np.int16), 8_000), AudioError, "holds integers"),
    "unscaled floats": (lambda s: s.push_audio(np.full(5, 3e4), 8_000), AudioError, "goes up to 30000"),
    "samples before channels": (lambda s: s.push_audio(np.zeros((1_000, 2)), 8_000), AudioError, "transpose it"),
    "text that is bytes": (lambda s: s.push_text(b"hi"), TextError, "is a bytes; expected a str"),  # type: ignore[arg-type]
    "text that is None": (lambda s: s.push_text(None), TextError, "is a NoneType"),  # type: ignore[arg-type]
    "endless heard time": (lambda s: s.cancel(heard_seconds=float("inf")), InputError, "expected a finite number"),
    "negative heard time": (lambda s: s.cancel(heard_seconds=-1), InputError, "0 or more"),
}


def run_beside_healthy(engine: antiphon.Engine, body: Callable[[], Awaitable[None]]) -> Received:
    """`body` while another dialogue is answered; the healthy dialogue's answer."""

    async def healthy() -> Received:
        async with engine.session(antiphon.SessionConfig(sampling=GREEDY)) as session:
            await session.push_audio(TONE, 8_000)
            await session.commit()
            return await receive(session)

    async def both() -> Received:
        received, _ = await asyncio.gather(healthy(), body())
        return received

    received = asyncio.run(both())
    stats = engine.stats
    assert (stats.dialogues, stats.turns, stats.free_pages) == (0, 0, stats.total_pages), stats
    return received


@pytest.fixture(scope="module")
def engine() -> antiphon.Engine:
    return exact_engine()


@pytest.fixture(scope="module")
def alone(engine: antiphon.Engine) -> Received:
    async def nothing() -> None: ...

    return run_beside_healthy(engine, nothing)


def assert_unharmed(received: Received, alone: Received) -> None:
    assert received.answer_ids == alone.answer_ids and received.text == alone.text
    assert_close(received.wave, alone.wave, TOLERANCE["wave-in-company"], "the healthy dialogue's wave")


def test_what_is_refused_at_the_call_changes_nothing(engine: antiphon.Engine, alone: Received) -> None:
    async def body() -> None:
        async with engine.session(antiphon.SessionConfig(sampling=GREEDY)) as session:
            for name, (push, error, sentence) in REFUSED.items():
                with pytest.raises(error, match=sentence):
                    await push(session)
                    pytest.fail(f"{name} was taken")
            await session.push_audio(TONE, 8_000)
            with pytest.raises(AudioError, match="One turn has one rate"):
                await session.push_audio(TONE, 16_000)
            with pytest.raises(InputError, match="already holds input"):
                await session.push_text("hello")
            await session.commit()
            received = await receive(session)
            assert received.answer_ids == alone.answer_ids, "the refused pieces are no part of the turn"
        with pytest.raises(SessionClosedError, match="is closed"):
            await session.push_audio(TONE, 8_000)

    assert_unharmed(run_beside_healthy(engine, body), alone)


def test_a_turn_that_does_not_fit_fails_by_name_and_the_session_goes_on(
    engine: antiphon.Engine, alone: Received
) -> None:
    async def body() -> None:
        async with engine.session(antiphon.SessionConfig(sampling=GREEDY)) as session:
            await session.push_text("all work and no play " * 1_500)
            await session.commit()
            failed = await receive(session)
            assert failed.completed.finish_reason is FinishReason.ERROR and failed.completed.history == ()
            assert failed.completed.failure is not None
            assert failed.completed.failure.kind == ContextOverflowError.__name__
            assert "expected at most" in failed.completed.failure.message
            await session.push_audio(TONE, 8_000)
            await session.commit()
            assert (await receive(session)).answer_ids == alone.answer_ids

    assert_unharmed(run_beside_healthy(engine, body), alone)


def test_one_sample_and_control_tokens_written_out_are_ordinary_turns(engine: antiphon.Engine, alone: Received) -> None:
    text = "<|user|><|audio_5|><|endoftext|>"

    async def body() -> None:
        async with engine.session(antiphon.SessionConfig(sampling=GREEDY)) as session:
            await session.push_audio(np.array([0.5]), 8_000)
            await session.commit()
            assert len((await receive(session)).heard_ids) == 1
            await session.push_text(text)
            await session.commit()
            assert (await receive(session)).completed.finish_reason is not FinishReason.ERROR

    ids = engine.lm.encode_text(text)
    assert engine.lm.decode_text(ids) == text, "all of it is text"
    assert_unharmed(run_beside_healthy(engine, body), alone)


@pytest.mark.parametrize("step", ["begin", "advance", "finish"])
def test_a_stage_that_raises_ends_one_turn_alone(engine: antiphon.Engine, alone: Received, step: str) -> None:
    run = getattr(engine.decoder, step)

    def poisoned(requests):  # type: ignore[no-untyped-def]
        jobs = [getattr(request, "job", request) for request in requests]
        if any(job.index == 0 and job.tokens[:1] == poison for job in jobs):
            raise RuntimeError("poisoned")
        return run(requests)

    async def body() -> None:
        async with engine.session(antiphon.SessionConfig(sampling=GREEDY)) as session:
            await session.push_text("poison")
            await session.commit()
            failed = (await receive(session)).completed
            assert failed.failure is not None and failed.failure.message == "poisoned"

    answer = engine.lm.generate(engine.lm.chat_prompt(["poison"]), max_new_tokens=80)
    codes = [engine.lm.vocabulary.speech_code(token) for token in answer if engine.lm.vocabulary.is_speech(token)]
    poison = (codes[0],)
    setattr(engine.decoder, step, poisoned)
    try:
        assert_unharmed(run_beside_healthy(engine, body), alone)
    finally:
        setattr(engine.decoder, step, run)


def test_a_session_left_in_the_middle_frees_what_it_held(engine: antiphon.Engine, alone: Received) -> None:
    async def body() -> None:
        async with engine.session(antiphon.SessionConfig(sampling=GREEDY)) as session:
            await session.push_text("goodbye")
            await session.commit()
            async for event in session.events():
                if isinstance(event, antiphon.events.TextDelta):
                    break

    assert_unharmed(run_beside_healthy(engine, body), alone)


def test_a_history_that_cannot_be_used_is_refused_before_the_session_opens(engine: antiphon.Engine) -> None:
    item = antiphon.HistoryItem
    with pytest.raises(InputError, match="expected the user's turn"):
        engine.session(antiphon.SessionConfig(history=[item("assistant", text="hello")] * 2))
    with pytest.raises(TokenError):
        engine.session(antiphon.SessionConfig(history=[item("user", speech=(10**6,)), item("assistant", text="hello")]))


def test_settings_of_the_wrong_kind_are_refused_by_name() -> None:
    for settings, sentence in (
        ({"instructions": 5}, "instructions is a int"),
        ({"sampling": None}, "sampling is a NoneType"),
        ({"history": ["hello"]}, "no HistoryItem"),
        ({"schedule": 5}, "schedule is 5"),
        ({"streaming": "other"}, "streaming is 'other'"),
    ):
        with pytest.raises(InputError, match=sentence):
            antiphon.SessionConfig(**settings)  # type: ignore[arg-type]
    for settings in ({"temperature": "a"}, {"top_p": None}, {"top_k": 1.5}, {"seed": "x"}, {"max_new_tokens": 5.5}):
        with pytest.raises(InputError, match=next(iter(settings))):
            antiphon.SamplingParams(**settings)  # type: ignore[arg-type]


def test_a_session_is_entered_once(engine: antiphon.Engine) -> None:
    async def run() -> None:
        session = engine.session(antiphon.SessionConfig(sampling=GREEDY))
        async with session:
            with pytest.raises(SessionClosedError, match="entered before"):
                await session.__aenter__()
        with pytest.raises(SessionClosedError, match="entered before"):
            await session.__aenter__()

    asyncio.run(run())
    assert engine.stats.free_pages == engine.stats.total_pages


def test_a_caller_whose_asyncio_loop_is_gone_is_forgotten(engine: antiphon.Engine, alone: Received) -> None:
    async def leak() -> None:
        session = engine.session(antiphon.SessionConfig(sampling=GREEDY))
        await session.__aenter__()
        await session.push_text("nobody waits for this answer")
        await session.commit()

    asyncio.run(leak())

    async def until_it_is_gone() -> None:
        while engine.stats.dialogues > 1:
            await asyncio.sleep(0.01)

    assert_unharmed(run_beside_healthy(engine, until_it_is_gone), alone)


def test_a_call_that_is_cancelled_while_it_waits_changes_nothing() -> None:
    async def run(engine: antiphon.Engine) -> Received:
        async with engine.session(antiphon.SessionConfig(sampling=GREEDY)) as session:
            pushes = [asyncio.ensure_future(session.push_audio(TONE[:100], 8_000)) for _ in range(50)]
            await asyncio.sleep(0)
            for push in pushes[1:]:
                push.cancel()
            await asyncio.wait(pushes)
            pushed = sum(not push.cancelled() for push in pushes)
            await session.commit()
            received = await receive(session)
            assert received.completed.usage.input_audio_seconds == pytest.approx(pushed * 100 / 8_000)
            return received

    config = antiphon.EngineConfig(max_pending_inputs=1)
    with antiphon.Engine.load(tiny_checkpoint(), device="cpu", config=config) as engine:
        asyncio.run(run(engine))


class _Code:
    """Unpickled without care, it would leave a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (self.trace,)  # type: ignore[return-value]


def _spoilt(folder: Path, how: str, trace: Path) -> Path:
    """A copy of the tiny checkpoint with one thing wrong."""
    spoilt = folder / how.replace(" ", "-")
    shutil.copytree(tiny_checkpoint(), spoilt)
    lm, decoder = spoilt / "glm-4-voice-9b", spoilt / "glm-4-voice-decoder"
    match how:
        case "truncated shard":
            shard = lm / "model-00002-of-00003.safetensors"
            shard.write_bytes(shard.read_bytes()[:-100])
        case "wrong dtype":
            state = torch.load(decoder / "flow.pt", weights_only=True)
            torch.save({name: tensor.int() for name, tensor in state.items()}, decoder / "flow.pt")
        case "config that disagrees":
            config = json.loads((lm / "config.json").read_text())
            (lm / "config.json").write_text(json.dumps(config | {"ffn_hidden_size": 77}))
        case "pickle with code":
            torch.save({"weight": _Code(trace)}, decoder / "hift.pt")
        case "YAML with code":
            text = (decoder / "config.yaml").read_text()
            (decoder / "config.yaml").write_text(text + f"\nflow: !apply:pathlib.Path.touch ['{trace}']\n")
    return spoilt


def test_what_cannot_be_loaded_is_told_and_harms_nobody(
    engine: antiphon.Engine, alone: Received, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    sentences = {
        "truncated shard": "is truncated",
        "wrong dtype": "expected",
        "config that disagrees": "expected",
        "pickle with code": "nothing in it was executed",
        "YAML with code": "config.yaml",
    }

    async def body() -> None:
        for how, sentence in sentences.items():
            with pytest.raises(CheckpointError, match=sentence):
                await asyncio.to_thread(antiphon.Engine.load, _spoilt(tmp_path, how, trace), "cpu")
        for device in ("abacus", "cuda:99"):
            with pytest.raises(DeviceError, match=device):
                await asyncio.to_thread(antiphon.Engine.load, tiny_checkpoint(), device)
        assert not trace.exists(), "code in a file was run"

    assert_unharmed(run_beside_healthy(engine, body), alone)
