"""`antiphon fetch`: the official three folders from the Hugging Face Hub, only the files that are read, never code."""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import huggingface_hub

from antiphon.engine.errors import CheckpointError, InputError
from antiphon.engine.weights.folders import DECODER_FOLDER, LANGUAGE_MODEL_FOLDER, TOKENIZER_FOLDER
from antiphon.engine.weights.info import ModelInfo, describe

_WEIGHTS: Final = ("model*.safetensors", "model.safetensors.index.json")
# Exactly what is read, by repository: the publisher's code is not.
FILES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        TOKENIZER_FOLDER: ("config.json", "preprocessor_config.json", *_WEIGHTS),
        LANGUAGE_MODEL_FOLDER: ("config.json", "tokenizer.model", "tokenizer_config.json", *_WEIGHTS),
        DECODER_FOLDER: ("config.yaml", "flow.pt", "hift.pt"),
    }
)
_PUBLISHER: Final = "THUDM"


def fetch(
    folder: Path | str,
    which: Iterable[str] = tuple(FILES),
    revision: str | Mapping[str, str] = "main",
    progress: Callable[[str], None] = lambda line: None,
    download: Callable[..., Any] = huggingface_hub.snapshot_download,
) -> ModelInfo:
    """Download the official folders into `folder`; call it again to go on where it was stopped.

    `which` names the folders. `revision` is a branch, tag or commit for all, or one for each folder by name; those not
    named take the main branch. The library shows the progress of the files, `progress` is given a line for each folder.
    What was downloaded is described, without loading it, before this returns.
    Raises InputError for an unknown folder, CheckpointError when the hub cannot be reached, refuses, or what came
    cannot be used.
    """
    folder, names = Path(folder), tuple(which)
    for name in names:
        if name not in FILES:
            raise InputError(f"{name!r} is none of the official folders; expected {', '.join(FILES)}.")
    for name in names:
        pinned = revision if isinstance(revision, str) else revision.get(name, "main")
        repository, target = f"{_PUBLISHER}/{name}", folder / name
        progress(f"{repository} at {pinned} into {target}")
        try:
            download(repository, revision=pinned, local_dir=target, allow_patterns=list(FILES[name]))
        except _failures() as error:
            raise CheckpointError(
                f"{repository} at revision {pinned} could not be downloaded ({' '.join(str(error).split())}). What has "
                f"come is kept: call again to go on. Or fetch it by hand from https://huggingface.co/{repository} "
                f"({', '.join(FILES[name])}) and put it into {target}."
            ) from error
    return describe(folder)


def _failures() -> tuple[type[Exception], ...]:
    """How the library fails: with errors of the system or of its own, or with those of the HTTP library it uses."""
    own = (OSError, ValueError, RuntimeError, huggingface_hub.errors.HfHubHTTPError)
    # By version of huggingface_hub, one or the other is there.
    return (*own, *(import_module(name).HTTPError for name in ("httpx", "httpx2") if find_spec(name) is not None))
