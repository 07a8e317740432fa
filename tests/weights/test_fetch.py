"""`fetch`, with the download itself played: no network here."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from goldens import golden

from antiphon.engine.errors import CheckpointError, InputError
from antiphon.engine.weights.fetch import fetch
from antiphon.engine.weights.folders import DECODER_FOLDER, LANGUAGE_MODEL_FOLDER, TOKENIZER_FOLDER

GOLDENS = {
    TOKENIZER_FOLDER: "speech_tokenizer/block20",
    LANGUAGE_MODEL_FOLDER: "lm",
    DECODER_FOLDER: "decoder",
}


class Hub:
    """Takes the place of `huggingface_hub.snapshot_download`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, list[str]]] = []

    def __call__(self, repository: str, *, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        self.asked.append((repository, revision, allow_patterns))
        shutil.copytree(golden(GOLDENS[local_dir.name]), local_dir, dirs_exist_ok=True)


def test_only_data_of_the_three_repositories_is_asked_for(tmp_path: Path) -> None:
    hub, lines = Hub(), []
    info = fetch(tmp_path, progress=lines.append, download=hub)
    assert [(repository, revision) for repository, revision, _ in hub.asked] == [
        ("THUDM/glm-4-voice-tokenizer", "main"),
        ("THUDM/glm-4-voice-9b", "main"),
        ("THUDM/glm-4-voice-decoder", "main"),
    ]
    patterns = [pattern for _, _, allowed in hub.asked for pattern in allowed]
    assert all(pattern.endswith((".json", ".safetensors", ".model", ".yaml", ".pt")) for pattern in patterns)
    assert len(lines) == 3 and info.parameters == 322_880 + 1_001_600 + 604_920 + 215_095


def test_a_part_can_be_fetched_at_a_pinned_revision(tmp_path: Path) -> None:
    hub = Hub()
    fetch(tmp_path, which=[DECODER_FOLDER], revision={DECODER_FOLDER: "abc123"}, download=hub)
    assert [(repository, revision) for repository, revision, _ in hub.asked] == [
        ("THUDM/glm-4-voice-decoder", "abc123")
    ]
    with pytest.raises(InputError, match="'whisper' is none of the official folders"):
        fetch(tmp_path, which=["whisper"], download=hub)


def test_a_failure_says_what_was_asked_and_how_to_do_it_by_hand(tmp_path: Path) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("Name or service not known")

    with pytest.raises(CheckpointError) as caught:
        fetch(tmp_path, download=offline)
    for part in ("THUDM/glm-4-voice-tokenizer", "main", "Name or service not known", "https://huggingface.co/THUDM/"):
        assert part in str(caught.value)


def test_a_download_that_broke_off_is_noticed(tmp_path: Path) -> None:
    class Broken(Hub):
        def __call__(self, repository: str, *, local_dir: Path, **given: Any) -> None:
            super().__call__(repository, local_dir=local_dir, **given)
            for path in local_dir.glob("*-00002-*"):
                path.write_bytes(path.read_bytes()[:-5])

    with pytest.raises(CheckpointError, match="is truncated"):
        fetch(tmp_path, download=Broken())
