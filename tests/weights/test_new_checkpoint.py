"""A random checkpoint: official formats, the official rhythm by its weights alone, and a voice at a sane level."""

import itertools
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import tiny_checkpoint
from safetensors.torch import load_file

from antiphon.engine.errors import CheckpointError, InputError
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.units import SPEECH_TOKENS_PER_BLOCK, TEXT_TOKENS_PER_BLOCK
from antiphon.engine.weights import new_checkpoint as module
from antiphon.engine.weights.folders import DECODER_FOLDER, LANGUAGE_MODEL_FOLDER, TOKENIZER_FOLDER
from antiphon.engine.weights.generate.language_model import planned_language_model
from antiphon.engine.weights.generate.sizes import SIZES
from antiphon.engine.weights.generate.text_files import TextTokenizer
from antiphon.engine.weights.new_checkpoint import bytes_on_disk, new_checkpoint
from antiphon.engine.weights.provenance import is_random
from antiphon.engine.weights.reader import open_safetensors
from antiphon.engine.weights.write_configs import write_language_model_config
from antiphon.engine.weights.writer import write_shards

CLIP = Path(__file__).parents[2] / "demo" / "clips" / "tt-weasels.wav"
ROUND = TEXT_TOKENS_PER_BLOCK + SPEECH_TOKENS_PER_BLOCK
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return LanguageModel.load(tiny_checkpoint() / LANGUAGE_MODEL_FOLDER)


def prompts(lm: LanguageModel) -> list[list[int]]:
    """Text and speech questions, short and long."""
    random = np.random.default_rng(7)
    spoken = [random.integers(0, lm.vocabulary.n_codes, length).tolist() for length in (1, 40)]
    return [
        lm.chat_prompt([question])
        for question in ("Hello!", "Where is the station?", "你好，今天天气怎么样？", *spoken)
    ]


def assert_official_rhythm(lm: LanguageModel, answer: list[int]) -> None:
    """13 printable words, 26 speech codes, in turn; then `<|user|>`."""
    vocabulary = lm.vocabulary
    *body, last = answer
    assert last == vocabulary.control_id("<|user|>")
    assert len(body) % ROUND == 0 and 2 <= len(body) // ROUND <= 4
    for place, token in enumerate(body):
        if place % ROUND >= TEXT_TOKENS_PER_BLOCK:
            assert vocabulary.is_speech(token), (place, token)
        else:
            word = lm.decode_text([token])
            assert word.isprintable() and word.strip().isalpha(), (place, word)


@pytest.mark.parametrize(("temperature", "seed"), [(0.0, 0), (0.2, 1), (1.0, 2), (1.0, 3)])
def test_every_answer_has_the_official_rhythm_and_an_end(lm: LanguageModel, temperature: float, seed: int) -> None:
    answers = lm.generate_batch(prompts(lm), max_new_tokens=400, temperature=temperature, seed=seed)
    for answer in answers:
        assert_official_rhythm(lm, answer)
    assert len({tuple(answer) for answer in answers}) == len(answers), "different questions, different answers"


def test_the_next_turn_has_it_too(lm: LanguageModel) -> None:
    first = lm.generate(lm.chat_prompt(["Hello!"]), max_new_tokens=400)
    heard = first[: ROUND + 20]  # as after a barge-in, in the middle of a round
    for answer in (first, heard):
        assert_official_rhythm(lm, lm.generate(lm.chat_prompt(["Hello!", answer, "Go on."]), max_new_tokens=400))


def test_no_wrong_id_comes_near_at_any_step(lm: LanguageModel) -> None:
    """Right ids score alike, wrong ones 40 and more below, which no temperature up to 1 and no seed bridges."""
    prompt = lm.chat_prompt(["Hello!"])
    answer = lm.generate(prompt, max_new_tokens=400)
    scores = np.sort(lm.logits([*prompt, *answer[:-1]])[len(prompt) - 1 :], axis=1)
    gaps = np.diff(scores[:, -100:], axis=1)
    assert gaps.max(axis=1).min() > 40


def test_the_rhythm_holds_in_bfloat16_and_at_forty_layers(lm: LanguageModel, tmp_path: Path) -> None:
    """As deep as the full-size model and in its dtype: an answer of the same wiring is right at every step."""
    size = SIZES["tiny"]
    text = TextTokenizer.make(size.text_ranks, size.first_speech_id, size.speech_tokenizer.codebook_size)
    config = replace(size.language_model, layers=40, hidden=96, ffn=128, head_dim=16, stop_ids=lm.config.stop_ids)
    write_language_model_config(tmp_path, config, torch.bfloat16)
    write_shards(tmp_path, planned_language_model(config, text, torch.bfloat16, 0), 1 << 20, lambda line: None)
    deep = LanguageModel.load(tmp_path, dtype="bfloat16")
    prompt = lm.chat_prompt(["Hello!"])
    answer = lm.generate(prompt, max_new_tokens=400)
    scores = deep.logits([*prompt, *answer[:-1]])[len(prompt) - 1 :]
    assert np.all(scores[np.arange(len(answer)), answer] > scores.max(axis=1) - 20)
    assert np.diff(np.sort(scores, axis=1)[:, -100:], axis=1).max(axis=1).min() > 40


def test_text_goes_there_and_back(lm: LanguageModel) -> None:
    for text in ("Good morning!\n\n42 apples, naïve café.", "你好，世界！今天天气很好。", "🙂 <|user|>"):
        assert lm.decode_text(lm.encode_text(text)) == text


def test_speech_gives_varied_ids() -> None:
    ids = SpeechTokenizer.load(tiny_checkpoint() / TOKENIZER_FOLDER).encode(*read_audio(CLIP))
    assert len(set(ids)) > len(ids) / 3


def test_the_voice_is_neither_silent_nor_clipped() -> None:
    decoder = SpeechDecoder.load(tiny_checkpoint() / DECODER_FOLDER)
    random = np.random.default_rng(1)
    mels = []
    for _ in range(2):
        stream = decoder.stream("reference")
        wave = np.concatenate([stream.push(random.integers(0, 512, 30).tolist()), stream.finish("stop")])
        assert 0.02 < wave.std() < 0.2 and np.abs(wave).max() < 0.95
        f0 = np.concatenate([chunk.f0 for chunk in stream.chunks])
        assert 100 < f0.mean() < 250
        mels.append(stream.chunks[0].mel)
    assert np.abs(mels[0] - mels[1]).mean() > 0.1, "different tokens, different mels"


def test_a_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    folder = tiny_checkpoint()
    new_checkpoint(tmp_path / "same", "tiny", 0)
    new_checkpoint(tmp_path / "other", "tiny", 1)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "same") for path in (tmp_path / "same").rglob("*") if path.is_file()
    )
    for file in files:
        data = (folder / file).read_bytes()
        assert data == (tmp_path / "same" / file).read_bytes(), file
        if file.suffix in (".safetensors", ".pt"):
            assert data != (tmp_path / "other" / file).read_bytes(), file
    assert is_random(folder) and sum((folder / file).stat().st_size for file in files) < 16e6


def test_the_files_are_those_of_the_official_layout() -> None:
    folder = tiny_checkpoint()
    shards = sorted((folder / LANGUAGE_MODEL_FOLDER).glob("model-*.safetensors"))
    assert len(shards) > 1 and (folder / LANGUAGE_MODEL_FOLDER / "model.safetensors.index.json").exists()
    source = open_safetensors(folder / LANGUAGE_MODEL_FOLDER)
    for name, tensor in itertools.chain.from_iterable(load_file(shard).items() for shard in shards):
        assert torch.equal(source.read(name), tensor), name  # as the safetensors library reads what we write
    assert "transformer.rotary_pos_emb.inv_freq" in source.names()
    vocoder = torch.load(folder / DECODER_FOLDER / "hift.pt", weights_only=True)
    assert len(vocoder) == 227
    lengths = vocoder["conv_pre.weight_v"].flatten(1).norm(dim=1) / vocoder["conv_pre.weight_g"].flatten()
    assert lengths.min() < 0.9 < 1.1 < lengths.max()  # the direction's length is arbitrary, as after training


def test_the_full_size_is_the_published_one() -> None:
    size = SIZES["9b"]
    text = TextTokenizer.make(size.text_ranks, size.first_speech_id, size.speech_tokenizer.codebook_size)
    assert [text.control_id(name) for name in ("<|endoftext|>", "<|user|>", "<|observation|>")] == [
        151_329,
        151_336,
        151_338,
    ]
    assert (text.control_id("<|begin_of_audio|>"), text.control_id("<|end_of_audio|>")) == (151_343, 151_344)
    for token, rank in text.ranks.items():  # each is two earlier ones joined, so that all can be reached
        if rank >= 256:
            halves = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
            assert any(text.ranks.get(a, rank) < rank and text.ranks.get(b, rank) < rank for a, b in halves), token
    planned = planned_language_model(size.language_model, text, size.language_model_dtype, 0)
    assert sum(tensor.bytes for tensor in planned) == 2 * (9_542_557_696 + 32)  # and the rotary frequencies
    assert 21.0e9 < bytes_on_disk(size) < 21.2e9


def test_what_cannot_be_done_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="size 'huge' is unknown; expected one of tiny, small, 9b"):
        new_checkpoint(tmp_path / "new", "huge")
    with pytest.raises(InputError, match="seed -1 is out of range"):
        new_checkpoint(tmp_path / "new", "tiny", -1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="full is not empty"):
        new_checkpoint(tmp_path / "full")
    with pytest.raises(InputError, match=r"thesis\.txt is not a folder"):
        new_checkpoint(tmp_path / "full" / "thesis.txt")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, 2_000_000_000))
        with pytest.raises(InputError, match=r"has 2\.00 GB free; a checkpoint of size 9b needs 21\.\d\d GB"):
            new_checkpoint(tmp_path / "new", "9b")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_shards", full_disk)
    with pytest.raises(CheckpointError, match="new cannot be written: No space left on device"):
        new_checkpoint(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
