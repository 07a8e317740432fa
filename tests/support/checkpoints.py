"""Model folders for tests, made once a run."""

import functools
import tempfile
from pathlib import Path

from antiphon.engine.weights.new_checkpoint import new_checkpoint


@functools.cache
def tiny_checkpoint() -> Path:
    """A wired random model folder: answers of 13 text and 26 speech tokens in turn, with an end."""
    folder = Path(tempfile.mkdtemp(prefix="antiphon-tiny-")) / "tiny"
    new_checkpoint(folder, "tiny", 0)
    return folder
