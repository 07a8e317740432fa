"""The vocabulary: text stays text, ids come from the files, and files that cannot be right are named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from goldens import golden

from antiphon.engine.errors import CheckpointError, TextError, TextFilesMissingError, TokenError
from antiphon.engine.think.vocab import MAX_TEXT_CHARACTERS, Vocabulary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The text files, to be spoilt."""
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(golden(f"lm/{name}"), tmp_path)
    return tmp_path


def _edit_tokens(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    edit(config["added_tokens_decoder"])
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    "text", ["<|user|>", "<|audio_5|>", "[gMASK]<sop>", "a<|endoftext|>b", "", "\x00", "\ufffd", "👩‍👩‍👧"]
)
def test_any_text_stays_text(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.encode(text)
    assert all(vocabulary.text_bytes(token) for token in ids)
    assert vocabulary.decode(ids) == text


def test_half_a_surrogate_pair_is_replaced(vocabulary: Vocabulary) -> None:
    assert vocabulary.decode(vocabulary.encode("a\ud83db")) == "a\ufffdb"


@pytest.mark.parametrize("unit", ["a", " ", "\n", "!", "step by ", "<|user|>", "今"])
def test_a_hundred_kilobytes_are_encoded(vocabulary: Vocabulary, unit: str) -> None:
    text = unit * (100_000 // len(unit))
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_more_text_than_the_limit_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(
        TextError, match=rf"{MAX_TEXT_CHARACTERS + 1} characters; expected at most {MAX_TEXT_CHARACTERS}"
    ):
        vocabulary.encode(" " * (MAX_TEXT_CHARACTERS + 1))


def test_only_text_ids_decode(vocabulary: Vocabulary) -> None:
    words = vocabulary.encode("cats")
    others = [vocabulary.control_id("<|user|>"), vocabulary.speech_id(5), vocabulary.size, 10**9]
    assert vocabulary.decode([others[0], *words, *others[1:]]) == "cats"


def test_speech_codes_and_ids(vocabulary: Vocabulary) -> None:
    assert vocabulary.n_codes == 512
    assert [vocabulary.speech_id(code) for code in (0, 511)] == [448, 959]
    assert vocabulary.speech_code(959) == 511
    assert [vocabulary.is_speech(token) for token in (447, 448, 959, 960)] == [False, True, True, False]
    with pytest.raises(TokenError, match="speech code 512 is outside the codebook; expected 0 to 511"):
        vocabulary.speech_id(512)
    with pytest.raises(TokenError, match="id 447 is no speech id; expected 448 to 959"):
        vocabulary.speech_code(447)


def test_an_unknown_control_token_is_named(vocabulary: Vocabulary) -> None:
    with pytest.raises(TokenError, match=r"no control token '<\|nobody\|>'"):
        vocabulary.control_id("<|nobody|>")


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer_config.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(TextFilesMissingError, match=rf"{name} is missing"):
        Vocabulary.read(folder)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("%%%% 300", "is not a token; expected base64, a space and a rank"),
        ("YWE= x", "is not a token; expected base64, a space and a rank"),
        ("YWE=", "is not a token; expected base64, a space and a rank"),
        ("YWE= -1", "is not a token; expected base64, a space and a rank"),
        ("YWFhYQ== 0", "repeats a token or a rank"),
        ("AA== 9999", "repeats a token or a rank"),
    ],
)
def test_a_malformed_rank_is_named_with_its_line(folder: Path, line: str, sentence: str) -> None:
    path = folder / "tokenizer.model"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:10], line, *lines[10:]]))
    with pytest.raises(CheckpointError, match=rf"tokenizer\.model, line 11: .*{sentence}"):
        Vocabulary.read(folder)


def test_a_truncated_rank_file_is_refused(folder: Path) -> None:
    path = folder / "tokenizer.model"
    path.write_text("\n".join(path.read_text().splitlines()[:100]))
    with pytest.raises(CheckpointError, match="has 100 tokens and none for the single byte 0x64"):
        Vocabulary.read(folder)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[]", b"{}", b'{"added_tokens_decoder": {"x": {}}}'])
def test_a_malformed_config_is_refused(folder: Path, content: bytes) -> None:
    (folder / "tokenizer_config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json.*expected"):
        Vocabulary.read(folder)


def test_a_missing_speech_code_is_named(folder: Path) -> None:
    _edit_tokens(folder, lambda tokens: tokens.pop("500"))
    with pytest.raises(CheckpointError, match=r"<\|audio_52\|> has id None; expected 500"):
        Vocabulary.read(folder)


def test_a_missing_control_token_is_named(folder: Path) -> None:
    _edit_tokens(folder, lambda tokens: tokens.pop("375"))
    with pytest.raises(CheckpointError, match=r"added_tokens_decoder has no <\|user\|>;"):
        Vocabulary.read(folder)


def test_an_id_given_twice_is_named(folder: Path) -> None:
    _edit_tokens(folder, lambda tokens: tokens.update({"65": {"content": "<|new|>"}}))
    with pytest.raises(
        CheckpointError, match=r"gives <\|new\|> the id 65, which tokenizer\.model gives to the text b'A'"
    ):
        Vocabulary.read(folder)
