"""What the next LM forward computes, asked of the scheduler, which knows dialogues as ids and numbers only."""

from collections.abc import Mapping

from antiphon.engine.config import EngineConfig
from antiphon.engine.dialogue import Dialogue
from antiphon.scheduler.pages import PagePool
from antiphon.scheduler.planning import IdleKV, LMRow, LMWork, plan_lm


def plan_forward(
    answering: Mapping[int, Dialogue],  # by number, those that want the LM, in order of arrival
    others: Mapping[int, Dialogue],  # by number
    pool: PagePool,
    config: EngineConfig,
) -> tuple[LMRow, ...]:
    """The rows of the next forward. KV that has to give way for them is dropped."""
    listening = [dialogue for dialogue in others.values() if dialogue.ahead_due]
    if not answering and not listening:
        return ()
    idle = sorted(others.values(), key=lambda dialogue: dialogue.last_active)
    plan = plan_lm(
        [
            LMWork(number, dialogue.sequence.computed, dialogue.sequence.uncomputed)
            for number, dialogue in answering.items()
        ],
        [IdleKV(dialogue.number, dialogue.sequence.computed, dialogue.ahead) for dialogue in idle],
        [LMWork(dialogue.number, dialogue.sequence.computed, dialogue.ahead_due) for dialogue in listening],
        free_pages=pool.free_pages,
        page_size=config.page_size,
        batch_tokens=config.batch_tokens,
    )
    for number in plan.dropped:
        (answering.get(number) or others[number]).forget_computed()
    for number, pages in plan.trimmed:
        others[number].forget_computed(keep=pages * config.page_size)
    return plan.rows
