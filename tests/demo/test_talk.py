"""The checkpoint that answers when none is named, and `make talk`."""

from pathlib import Path

import numpy as np
import pytest
from checkpoints import tiny_checkpoint

from antiphon.engine import cli
from antiphon.engine.hear.codec import read_audio, write_wav
from antiphon.engine.weights.manifest import write_manifest
from demo import talk


def test_the_clones_checkpoint_answers_where_no_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTIPHON_MODEL", raising=False)
    monkeypatch.setattr(cli, "_DEMO_MODEL", tmp_path)
    assert cli._parser().parse_args(["serve"]).model is None
    (tmp_path / "some-file").write_text("x")
    write_manifest(tmp_path)
    for arguments in (["serve"], ["say", "hello"], ["talk", "a.wav"]):
        assert cli._parser().parse_args(arguments).model == tmp_path
    monkeypatch.setenv("ANTIPHON_MODEL", "elsewhere")
    assert cli._parser().parse_args(["serve"]).model == Path("elsewhere")
    assert cli._parser().parse_args(["serve", "--model", "named"]).model == Path("named")


@pytest.mark.parametrize("arguments", [["serve"], ["say", "hello"], ["talk", "a.wav"], ["tokenize", "a.wav"]])
def test_without_any_model_it_says_what_to_do(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ANTIPHON_MODEL", raising=False)
    monkeypatch.setattr(cli, "_DEMO_MODEL", tmp_path)
    assert cli.main(arguments) == 1
    told = capsys.readouterr().err
    assert "no model is named" in told
    assert "--model" in told and "new-checkpoint" in told


def test_talk_writes_every_answer_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = tmp_path / "question.wav"
    write_wav(question, 0.1 * np.sin(np.arange(8_000) / 10), 16_000)
    out = tmp_path / "new" / "answer.wav"
    given = [str(question), str(question), "--model", str(tiny_checkpoint()), "--device", "cpu", "--out", str(out)]
    assert talk.main(given) == 0
    lengths = [read_audio(out.with_stem(f"answer-{number}"))[0].shape[1] for number in (1, 2)]
    assert read_audio(out)[0].shape[1] == sum(lengths) + 2 * int(0.4 * 22_050)
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr().out
    assert told.count("first audio after") == 2


def test_talk_without_a_checkpoint_fails_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert talk.main(["--model", str(tmp_path / "none"), "--out", str(tmp_path / "a.wav")]) == 1
    assert "demo.talk: " in capsys.readouterr().err
