"""Which chunks start and which running solves advance, and what the vocoder takes next.

1. Everything goes by due time, within a bounded number of seconds, and of frames in one solve; the first in order goes
   whatever it costs. An answer that has run dry is due again only some time later: what is broken already must not
   break the others.
2. A row whose single Euler step is longer than the bound (a long row) is passed over while some turn waits for its
   first chunk, until it has been passed over for as long as its step takes; then it may have one.
3. Chosen rows do as many Euler steps in one go as fit into the time, and none beyond the end of a solve: rows join in
   between.
"""

from collections.abc import Sequence
from math import inf

from antiphon.scheduler.reference.dialogue import Chunk, Dialogue
from antiphon.scheduler.reference.lm import Key, affordable
from antiphon.scheduler.reference.within import within
from antiphon.scheduler.settings import Costs, Settings


def chunk_of(dialogue: Dialogue) -> Chunk:
    """Its chunk, which it has."""
    assert dialogue.chunk is not None, "only dialogues with a chunk are asked"
    return dialogue.chunk


def plan_solves(
    dialogues: Sequence[Dialogue], settings: Settings, costs: Costs, now: float, key: Key
) -> tuple[list[Dialogue], int]:
    """The rows of the next Euler steps, and how many steps they do in one go."""
    waiting = []
    for dialogue in dialogues:
        if (chunk := dialogue.chunk) is not None:
            chunk.planned = 0
            paused = chunk.steps == 0 and dialogue.chunk_paused(now, settings)
            if chunk.steps < settings.solve_steps and not paused:
                waiting.append(dialogue)
    first_chunk_waits = any(not dialogue.playback.started for dialogue in waiting)

    def passed_over(dialogue: Dialogue) -> bool:
        cost = dialogue.step_cost(costs)
        is_long = cost > settings.solve_seconds and dialogue.playback.started
        return first_chunk_waits and is_long and chunk_of(dialogue).passed < cost

    ordered = sorted(waiting, key=lambda dialogue: key(dialogue, now))
    rows, seconds = within(
        settings.solve_seconds,
        settings.max_solves,
        [dialogue for dialogue in ordered if not passed_over(dialogue)],
        lambda dialogue: dialogue.step_cost(costs),
        lambda dialogue: chunk_of(dialogue).solve_frames,
        settings.max_solve_frames,
    )
    if not rows:
        return rows, 0
    left = min(settings.solve_steps - chunk_of(dialogue).steps for dialogue in rows)
    repeats = max(1, affordable(settings.solve_seconds, seconds, min(left, settings.max_repeats)))
    for dialogue in waiting:
        chunk = chunk_of(dialogue)
        if dialogue in rows:
            chunk.planned, chunk.passed = repeats, 0.0
        elif passed_over(dialogue):
            chunk.passed += seconds * repeats
    return rows, repeats


def plan_vocodes(
    dialogues: Sequence[Dialogue], settings: Settings, costs: Costs, now: float, key: Key
) -> list[Dialogue]:
    """Whose solved chunk becomes audio now."""
    solved = []
    for dialogue in dialogues:
        if dialogue.chunk is not None:
            dialogue.chunk.vocoding = False
            if dialogue.chunk.steps == settings.solve_steps:
                solved.append(dialogue)
    rows, _ = within(
        settings.vocode_seconds,
        settings.max_solves,
        sorted(solved, key=lambda dialogue: key(dialogue, now)),
        lambda dialogue: costs.vocode_frame * chunk_of(dialogue).wave_frames,
    )
    for dialogue in rows:
        chunk_of(dialogue).vocoding = True
    return rows


def paused(dialogues: Sequence[Dialogue], settings: Settings, now: float) -> tuple[list[Dialogue], float]:
    """Who has work and waits with it, and the moment at which the first of them goes on by itself."""
    resting: list[Dialogue] = []
    wake = inf
    for dialogue in dialogues:
        chunk_waits = dialogue.chunk is not None and dialogue.chunk.steps == 0
        lm = dialogue.wants_lm and dialogue.lm_paused(now, settings)
        chunk = chunk_waits and dialogue.chunk_paused(now, settings)
        if lm or chunk:
            resting.append(dialogue)
        if not dialogue.has_backlog(settings):
            wake = min(wake, dialogue.lm_wakes(settings) if lm else inf)
            wake = min(wake, dialogue.chunk_wakes(settings) if chunk else inf)
    return resting, wake
