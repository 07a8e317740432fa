"""Measured forwards: what is planned with, and what a dialogue takes of the machine."""

from collections.abc import Sequence
from typing import Any

import pytest
from loops import Bench, Parts, tiny_parts
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import antiphon
from antiphon.engine.messages import Commit, PushText
from antiphon.engine.meter import Meter, squared_share
from antiphon.engine.speak.chunks import Solving
from antiphon.engine.think.runner import Row
from antiphon.events import AudioOutput, ResponseCompleted
from antiphon.scheduler.settings import Costs


class Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts those of matrix products, convolutions and attention."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self:  # a linear layer is a product only when it is taken apart
            result = func.decompose(*args, **(kwargs or {}))
        if result is not NotImplemented:
            return result
        result = func(*args, **(kwargs or {}))
        if "scaled_dot_product" in str(func):  # on the CPU torch does not count it
            (batch, heads, rows, width), columns = args[0].shape, args[1].shape[2]
            self.total += 4 * batch * heads * rows * columns * width
        elif (count := flop_registry.get(func._overloadpacket)) is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


@pytest.fixture(scope="module")
def parts() -> Parts:
    return tiny_parts()


def test_a_first_forward_tells_nothing_and_standing_clocks_limit_nothing() -> None:
    meter = Meter(squared_share=0.01)
    for seconds in (5.0, 0.0, 0.0):
        meter.lm(4, 0, seconds)
        meter.lm(0, 100, seconds)
        meter.solve([100], seconds)
        meter.vocode([(100, 80)], seconds)
        meter.encode(50, seconds)
    assert meter.costs == Costs() and meter.load == 0.0


def test_costs_are_told_apart_by_stage_and_make_up_the_load_of_a_dialogue() -> None:
    meter = Meter(squared_share=0.01)
    for batch in [1, 2, 4, 3] * 30:
        meter.lm(batch, 0, 0.03 + 0.001 * batch)  # most of an LM forward reads the weights, for however many rows
        meter.lm(batch, 500, 0.03 + 0.001 * batch + 500 * 1e-4)
        meter.solve([100, 200], 1e-5 * (300 + 0.01 * 50_000))
        meter.vocode([(100, 86)], 86 * 1e-4)
        meter.encode(100, 0.02)
    costs = meter.costs
    assert costs.lm_row == pytest.approx(0.001, rel=0.05), "what one more row adds"
    assert costs.prefill_token == pytest.approx(1e-4, rel=0.05)
    assert (costs.solve_frame, costs.solve_frame_squared) == pytest.approx((1e-5, 1e-7))
    assert costs.encode_frame == pytest.approx(2e-4)
    flow = 10 * 200 * 1e-5 * 86.13 / 86  # of a second of answer: ten steps of 100 frames, 200 units, make 86 frames
    answer = flow + 86.13 * 1e-4 + 18.75 * 0.0135  # an LM row as of such batches: 30 ms for 1 to 4 of them
    assert meter.load == pytest.approx(0.5 * answer + 0.5 * (12.5 * 1e-4 + 50 * 2e-4), rel=0.2)


def test_the_share_of_attention_is_what_is_counted(parts: Parts) -> None:
    decoder = parts[2]

    def step(tokens: int) -> tuple[int, int]:
        """(frames, FLOPs) of an Euler step."""
        stream = decoder.stream("reference", schedule=(tokens,))
        stream.feed(range(tokens + 1))
        job = stream.next_job
        assert job is not None
        begun = decoder.begin([job])
        with Flops() as counter:  # type: ignore[no-untyped-call]
            decoder.advance(begun)
        return job.flow_frames, counter.total

    (short, few), (long, many) = step(25), step(100)
    squared = (many / long - few / short) / (long - short)
    linear = few / short - squared * short
    assert squared_share(decoder.flow.estimator) == pytest.approx(squared / linear, rel=0.1)


def test_a_long_prompt_is_cut_to_what_the_others_can_wait_for(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(parts, antiphon.EngineConfig(lm_seconds=0.1, page_size=16))
    step = bench.loop._runner.step
    forwards: list[list[int]] = []

    def timed(rows: Sequence[Row]) -> list[int | None]:
        begins = bench.loop._runner.buffers.cu_seqlens[: len(rows) + 1]
        forwards.append([int(end - begin) for begin, end in zip(begins[:-1], begins[1:], strict=True)])
        bench.clock.advance(1e-3 * sum(forwards[-1]))
        return step(rows)

    monkeypatch.setattr(bench.loop._runner, "step", timed)
    for n in range(3):  # so that a prompt's price is known
        bench.ask(f"before {n}", 1)
        bench.run()
    bench.ask("talks", 60)
    bench.until(lambda: bench.events("talks", AudioOutput))
    forwards.clear()
    bench.open("reads", 4)
    bench.loop.submit(PushText("reads", "all work and no play " * 100))
    bench.loop.submit(Commit("reads", "reads.0"))
    bench.run()
    prompt = [lengths for lengths in forwards if max(lengths) > 1]
    assert len(prompt) > 5 and all(sum(lengths) <= 101 for lengths in prompt)
    assert all(1 in lengths for lengths in prompt), "the other's ids come meanwhile"
    assert bench.events("talks", ResponseCompleted) and bench.events("reads", ResponseCompleted)


def test_a_first_chunk_does_not_wait_behind_a_long_row(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    config = antiphon.EngineConfig(solve_seconds=0.05, streaming="reference")
    bench = Bench(parts, config)
    advance = parts[2].advance
    packs: list[list[int]] = []

    def timed(solvings: Sequence[Solving]) -> list[Solving]:
        packs.append([solving.frames for solving in solvings])
        bench.clock.advance(1e-3 * sum(packs[-1]))
        return advance(solvings)

    monkeypatch.setattr(parts[2], "advance", timed)
    bench.ask("talks", 150)
    bench.until(lambda: bench.events("talks", AudioOutput))
    packs.clear()
    bench.until(lambda: packs)
    long = packs.pop()[0]
    bench.ask("asks", 60)
    bench.until(lambda: bench.events("asks", AudioOutput))
    del packs[: next(index for index, pack in enumerate(packs) if long not in pack)]
    mine = [pack for pack in packs if long not in pack]
    theirs = [pack for pack in packs if long in pack]
    assert len(mine) == 10 and all(len(pack) == 1 for pack in packs), "each goes by itself: together they are too long"
    assert long > 50 and sum(sum(pack) for pack in theirs) <= sum(sum(pack) for pack in mine)
    bench.run()
