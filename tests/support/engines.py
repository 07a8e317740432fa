"""Engines on the tiny checkpoint."""

from dataclasses import replace

from checkpoints import tiny_checkpoint

import antiphon


def exact_engine(config: antiphon.EngineConfig | None = None) -> antiphon.Engine:
    """One whose waves hang on an answer's ids alone, so that two of its answers can be compared sample by sample.

    That is reference mode. A seamless turn's wave hangs also on its seed, and on how far ahead its audio is when a
    chunk could be made.
    """
    exact = replace(config or antiphon.EngineConfig(), streaming="reference")
    return antiphon.Engine.load(tiny_checkpoint(), device="cpu", config=exact)
