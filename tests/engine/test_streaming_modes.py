"""Which mode an answer is spoken in, and that the default one says all of it, however it ends."""

import asyncio

import numpy as np
import pytest
from callers import Received, receive
from checkpoints import tiny_checkpoint
from compare import assert_close
from loops import Bench, tiny_parts

import antiphon
from antiphon.engine.cli import main
from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.speak.seamless_settings import SeamlessSettings
from antiphon.engine.think.sampling import SamplingParams
from antiphon.engine.timeline import mel_frames_of
from antiphon.events import AudioOutput, FinishReason


def _asked(engine: antiphon.Engine, text: str, new_ids: int, **config: object) -> Received:
    async def ask() -> Received:
        sampling = SamplingParams(temperature=0.0, max_new_tokens=new_ids, seed=7)
        async with engine.session(SessionConfig(sampling=sampling, **config)) as session:  # type: ignore[arg-type]
            await session.push_text(text)
            await session.commit()
            return await receive(session)

    return asyncio.run(ask())


def _speech_tokens(engine: antiphon.Engine, ids: list[int]) -> list[int]:
    return [engine.lm.vocabulary.speech_code(id_) for id_ in ids if engine.lm.vocabulary.is_speech(id_)]


def test_by_default_every_end_speaks_all_that_was_said() -> None:
    with antiphon.Engine.load(tiny_checkpoint(), device="cpu") as engine:
        for new_ids, reason in ((30, FinishReason.LENGTH), (10, FinishReason.LENGTH), (200, FinishReason.STOP)):
            received = _asked(engine, "hello", new_ids)
            tokens = _speech_tokens(engine, received.answer_ids)
            assert received.completed.finish_reason is reason
            assert received.wave.size == mel_frames_of(len(tokens)) * 256 and np.isfinite(received.wave).all()
        cut = _asked(engine, "hello", 30, streaming="reference")
        assert cut.wave.size < mel_frames_of(len(_speech_tokens(engine, cut.answer_ids))) * 256
        assert engine.stats.free_pages == engine.stats.total_pages


def test_an_answer_whose_lead_runs_out_speaks_what_it_has() -> None:
    parts = tiny_parts()

    def second_audio(seconds_lost: float) -> int:
        """Samples of it, when the engine loses so many seconds after the first."""
        bench = Bench(parts)
        bench.ask("caller", 150)
        while not bench.events("caller", AudioOutput):
            bench.loop.step()
        bench.clock.advance(seconds_lost)
        while len(heard := bench.events("caller", AudioOutput)) < 2:
            bench.loop.step()
        return heard[1].samples.size

    assert second_audio(0.0) == (mel_frames_of(25) - mel_frames_of(10)) * 256
    assert second_audio(0.6) < second_audio(0.0)


def test_a_clip_is_spoken_as_the_engine_speaks() -> None:
    codes = list(range(30))
    settings = SeamlessSettings(first_chunk=6, schedule=(8,), prompt_tokens=4)

    async def speak(engine: antiphon.Engine) -> np.ndarray:
        async with engine.speak(codes) as clip:
            return np.concatenate([wave async for wave in clip.waves()])

    for config in (EngineConfig(seamless=settings), EngineConfig(streaming="reference")):
        with antiphon.Engine.load(tiny_checkpoint(), device="cpu", config=config) as engine:
            spoken = asyncio.run(speak(engine))
            given = settings if config.streaming == "seamless" else None
            stream = engine.decoder.stream(config.streaming, settings=given)
            stream.feed(codes)
            assert_close(spoken, stream.finish(), 0.0, f"the clip's wave in {config.streaming} mode")


@pytest.mark.parametrize("verb", ["talk", "say", "serve"])
def test_the_command_line_names_the_modes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "--streaming {seamless,reference}" in told and "(default: seamless)" in told
