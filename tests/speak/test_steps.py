"""A chunk's work in steps: whoever joins or leaves a pack, each solve comes out as it does alone."""

import numpy as np
import pytest
from compare import assert_close
from goldens import golden
from tolerances import TOLERANCE

from antiphon.engine.errors import InputError
from antiphon.engine.speak.chunks import ChunkJob, ChunkResult, Solving
from antiphon.engine.speak.decoder import SpeechDecoder


@pytest.fixture(scope="module")
def decoder() -> SpeechDecoder:
    return SpeechDecoder.load(golden("decoder"))


def _job(decoder: SpeechDecoder, count: int, seed: int) -> ChunkJob:
    """A second chunk, so that there is a prompt and a seam."""
    tokens = np.random.default_rng(seed).integers(0, 512, count + 6).tolist()
    stream = decoder.stream("reference", schedule=(6, count))
    stream.push(tokens)
    stream.feed_text()
    job = stream.next_job
    assert job is not None
    return job


def test_joining_a_running_solve_equals_running_alone(decoder: SpeechDecoder) -> None:
    jobs = [_job(decoder, count, seed) for seed, count in enumerate((7, 12, 5))]
    joins = {0: 0, 3: 1, 9: 2}  # at which round each job joins
    running: list[Solving] = []
    results: dict[int, ChunkResult] = {}
    for round_ in range(20):
        if round_ in joins:
            running += decoder.begin([jobs[joins[round_]]])
        running = decoder.advance(running)
        for result in decoder.finish([solving for solving in running if solving.is_done]):
            results[jobs.index(result.job)] = result
        running = [solving for solving in running if not solving.is_done]
    assert running == [] and sorted(results) == [0, 1, 2]
    for i, job in enumerate(jobs):
        [alone] = decoder.run([job])
        assert_close(results[i].flow_mel, alone.flow_mel, TOLERANCE["mel"], f"mel of job {i}")
        assert_close(results[i].wave, alone.wave, TOLERANCE["wave-in-company"], f"wave of job {i}")


def test_a_solving_says_what_it_costs_and_whether_it_is_done(decoder: SpeechDecoder) -> None:
    [begun] = decoder.begin([_job(decoder, 7, 0)])
    assert begun.frames == 89 and not begun.is_done  # 13 tokens
    with pytest.raises(InputError, match="chunk 1 stands at Euler step 0; advance it until it is done"):
        decoder.finish([begun])
    running = [begun]
    for _ in range(10):
        running = decoder.advance(running)
    assert running[0].is_done and not begun.is_done
    assert decoder.advance(running)[0] is running[0]
    assert decoder.begin([]) == decoder.advance([]) == decoder.finish([]) == []
