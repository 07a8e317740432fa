"""Every stage runs and learns on a handful of whistled clips, and a stopped run goes on as if it had not stopped."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import antiphon
from antiphon.engine.errors import CheckpointError
from antiphon.engine.units import MODEL_INPUT_RATE
from antiphon.engine.weights.folders import DECODER_FOLDER, LANGUAGE_MODEL_FOLDER, TOKENIZER_FOLDER
from antiphon.engine.weights.manifest import check_manifest
from demo.judge import files, recogniser
from demo.judge import train as judge
from demo.judge.recogniser import Judge, features
from demo.recipe import flow, language_model, thinking, tokenizer, tokens, vocoder
from demo.recipe.data import Corpus
from demo.recipe.export import Trained, export
from demo.recipe.questions import sounds_of
from demo.recipe.scales import Scale, Steps
from demo.recipe.stage import Stage, train
from demo.recipe.thinking import Thinking


def watched(work: Path, name: str) -> Stage:
    """A stage that logs and saves every step."""
    return Stage(work, name, save_seconds=0.0, report_steps=1)


def losses(stage: Stage, key: str = "loss") -> list[float]:
    """Of every step; each line is the mean of all steps so far."""
    lines = (json.loads(line) for line in (stage.folder / "log.jsonl").read_text().splitlines())
    means = [line[key] for line in lines if key in line and "step" in line["message"]]
    sums = [mean * (index + 1) for index, mean in enumerate(means)]
    return np.diff(sums, prepend=0.0).tolist()


def fell(stage: Stage, key: str = "loss") -> bool:
    """Whether the last steps' mean lies clearly below the first's."""
    values = losses(stage, key)
    return np.mean(values[-3:]) < 0.95 * np.mean(values[:2])


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    def run(name: str, stops: tuple[int, ...]) -> torch.Tensor:
        for stop in stops:
            torch.manual_seed(0)
            model = torch.nn.Linear(4, 1)

            def loss(step: int, stop: int = stop, model: torch.nn.Module = model) -> dict[str, torch.Tensor]:
                if step == stop:
                    raise KeyboardInterrupt
                return {"loss": model(torch.randn(8, 4)).square().mean()}

            try:
                train(watched(tmp_path, name), {"model": model}, steps, loss, seed=1)
            except KeyboardInterrupt:
                continue
        return model.weight.detach()

    steps = Steps(6, batch=1, learning_rate=0.1, warm_up=2)
    assert torch.equal(run("whole", (6,)), run("stopped twice", (2, 5, 6)))


def test_the_vocoder_learns(tmp_path: Path, corpus: Corpus, scale: Scale, cpu: torch.device) -> None:
    stage = watched(tmp_path, "vocoder")
    vocoder.run(stage, corpus, scale, 0, cpu)
    assert stage.done
    assert fell(stage, "spectra")


def test_the_judge_learns(tmp_path: Path, corpus: Corpus, scale: Scale, cpu: torch.device) -> None:
    stage = watched(tmp_path, "judge")
    judge.run(stage, corpus, scale, 0, cpu)
    assert fell(stage)
    trained = judge.load(stage)
    size = files.save(trained, judge.errors(stage), tmp_path / "weights")
    assert size < files.LARGEST
    shipped = files.load(tmp_path / "weights")
    assert files.errors(tmp_path / "weights").keys() == {"known", "voices", "open", "assistant"}
    noise = np.random.default_rng(0).standard_normal(8_000).astype(np.float32)
    clips = [features(noise), features(noise[:3_000])]
    torch.testing.assert_close(shipped(clips), trained(clips), rtol=0, atol=0)
    assert len(shipped.hear([(noise, 16_000), (noise, 22_050)])) == 2

    weights = tmp_path / "weights" / "judge.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="safetensors"):
        files.load(tmp_path / "weights")
    with pytest.raises(CheckpointError, match="holds no judge"):
        files.load(tmp_path / "nowhere")


def test_the_judge_has_nothing_of_the_engine_but_the_resampler() -> None:
    """What it is to judge must not be what it hears with."""
    modules = {type(module).__module__.partition(".")[0] for module in Judge().modules()}
    assert modules == {"torch", "demo"}
    names = set(re.findall(r"^(?:from|import) (antiphon[\w.]*)", Path(recogniser.__file__).read_text(), re.MULTILINE))
    assert names == {"antiphon.engine.hear.resample"}


def test_the_way_from_clips_to_a_checkpoint(tmp_path: Path, corpus: Corpus, scale: Scale, cpu: torch.device) -> None:
    """Tokenizer, codes, flow, language model, export: each stage takes what the one before left on the disk."""
    stages = {
        name: watched(tmp_path, name)
        for name in "tokenizer tokens flow text-to-token interleaved pretraining fine-tuning vocoder".split()
    }
    tokenizer.run(stages["tokenizer"], corpus, scale, 0, cpu)
    assert fell(stages["tokenizer"], "phones")
    trained = tokenizer.load(stages["tokenizer"], scale, cpu)

    tokens.run(stages["tokens"], corpus, scale, 0, trained)
    codes = tokens.load(stages["tokens"], "assistant")
    assert [len(one) for one in codes] == [
        len(c.samples) // 1_764 for c in map(corpus.assistant.__getitem__, range(len(codes)))
    ]

    flow.run(stages["flow"], corpus, scale, 0, codes, cpu)
    assert fell(stages["flow"], "matching")

    mind = Thinking(corpus, stages["tokens"], tmp_path / "text", scale, 0, cpu)
    thinking.text_to_token(stages["text-to-token"], mind)
    thinking.interleave(stages["interleaved"], mind, stages["text-to-token"])
    thinking.pretrain(stages["pretraining"], mind, stages["interleaved"])
    thinking.fine_tune(stages["fine-tuning"], mind, stages["pretraining"], trained)
    for name in ("text-to-token", "pretraining", "fine-tuning"):
        assert fell(stages[name]), name

    model = language_model.load(stages["fine-tuning"], mind.model())
    spoken = Trained(
        encoder=trained.encoder,
        language_model=model,
        flow=flow.load(stages["flow"], scale, cpu),
        vocoder=vocoder.HiFT(scale.decoder_config.vocoder),
        text=tmp_path / "text",
    )
    folder = tmp_path / "checkpoint"
    assert export(folder, spoken, scale) < 30 << 20

    # The engine reads it, and hears the very codes that everything was trained on.
    sound = sounds_of(corpus.users)[0]
    shipped = antiphon.SpeechTokenizer.load(folder / TOKENIZER_FOLDER)
    heard = shipped.encode(sound, MODEL_INPUT_RATE)
    assert heard == trained.encode(sound, MODEL_INPUT_RATE)
    lm = antiphon.LanguageModel.load(folder / LANGUAGE_MODEL_FOLDER)
    assert len(lm.generate(lm.chat_prompt([heard]), 8, ignore_eos=True)) == 8
    decoder = antiphon.SpeechDecoder.load(folder / DECODER_FOLDER)
    assert decoder.mel(heard).shape == (80, len(heard) * 1_764 // 256)

    check_manifest(folder)
    damaged = folder / DECODER_FOLDER / "hift.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match=r"hift\.pt"):
        check_manifest(folder)
