"""What the loop's scheduler plans within."""

from antiphon.engine.config import EngineConfig
from antiphon.engine.hear.tokenizer import FRAMES_AT_ONCE
from antiphon.engine.speak.noise import EULER_STEPS
from antiphon.scheduler.settings import Settings, pages_for


def planner_settings(config: EngineConfig, context: int) -> Settings:
    """The scheduler's settings for an engine and a model of this context."""
    dialogues = 2 * config.max_dialogues  # of sessions that are left, the loop may not know yet
    return Settings(
        n_pages=pages_for(config.kv_tokens, config.page_size),
        page_size=config.page_size,
        max_dialogues=dialogues,
        max_row_pages=pages_for(context, config.page_size),
        max_rows=dialogues,
        max_tokens=config.batch_tokens,
        max_solves=dialogues,
        max_solve_frames=config.solve_frames,
        max_encodes=dialogues,
        max_encode_frames=FRAMES_AT_ONCE,
        solve_steps=EULER_STEPS,
        max_repeats=1,  # a whole solve at once would stop the LM for everyone
        lm_seconds=config.lm_seconds,
        solve_seconds=config.solve_seconds,
        vocode_seconds=config.vocode_seconds,
        encode_seconds=config.encode_seconds,
        max_unread_seconds=config.max_unread_seconds,
    )
