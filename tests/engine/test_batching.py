"""Work of one kind is one packed forward, whoever it belongs to."""

import numpy as np
import pytest
from loops import Bench, Parts, tiny_parts
from torch import nn

import antiphon
from antiphon.engine.messages import Commit, PushAudio
from antiphon.events import AudioOutput, ResponseCompleted

STAGES = ("hear", "lm", "flow", "vocoder")


@pytest.fixture(scope="module")
def parts() -> Parts:
    return tiny_parts()


def speech(name: str) -> PushAudio:
    noise = np.random.default_rng(len(name)).normal(scale=0.05, size=8_000)
    return PushAudio(name, noise.astype(np.float32), 16_000)


def forwards(parts: Parts, callers: int) -> dict[str, list[int]]:
    """The rows of each forward of each stage, where so many callers speak and are answered at once."""
    tokenizer, lm, decoder = parts
    rows: dict[str, list[int]] = {stage: [] for stage in STAGES}

    def count(stage: str, module: nn.Module) -> object:
        def hook(_: nn.Module, inputs: tuple[object, ...], __: object) -> None:
            match stage:
                case "hear":
                    n = len(inputs[1])  # type: ignore[arg-type]  # spans
                case "lm":
                    n = len(inputs[1].context_lens)  # type: ignore[attr-defined]
                case "flow":
                    n = len(inputs[1]) // 2  # type: ignore[arg-type]  # what the time adds; each has its guidance
                case _:
                    n = len(inputs[1]) - 1  # type: ignore[arg-type]  # cu_seqlens
            rows[stage].append(n)

        return module.register_forward_hook(hook)

    middle = decoder.flow.estimator.mid_blocks[0]  # each step and each wave goes through these once
    modules = (tokenizer.encoder, lm.model, middle, decoder.vocoder.conv_post)
    handles = [count(stage, module) for stage, module in zip(STAGES, modules, strict=True)]
    bench = Bench(parts, antiphon.EngineConfig(batch_tokens=32_768))
    try:
        for n in range(callers):
            bench.open(f"caller {n}", max_new_tokens=40)
            bench.loop.submit(speech(f"caller {n}"))
            bench.loop.submit(Commit(f"caller {n}", f"caller {n}.0"))
        bench.run()
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]
    for n in range(callers):
        assert bench.events(f"caller {n}", AudioOutput) and bench.events(f"caller {n}", ResponseCompleted)
    return rows


def test_rows_of_one_stage_are_one_forward_at_1_8_and_32(parts: Parts) -> None:
    alone = forwards(parts, 1)
    assert len(alone["hear"]) == 1 and len(alone["lm"]) == 40, "one prompt's last row chooses the first id"
    assert len(alone["flow"]) % 10 == 0 and len(alone["flow"]) // 10 == len(alone["vocoder"]) > 0
    for callers in (8, 32):
        together = forwards(parts, callers)
        for stage in STAGES:
            assert together[stage] == [callers] * len(alone[stage]), stage
