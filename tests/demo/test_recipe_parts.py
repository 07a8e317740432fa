"""The recipe's parts that no training shows to be right."""

import math

import numpy as np
import pytest
import torch

from antiphon.engine.think.vocab import Vocabulary
from demo.judge.score import heard_right, shuffled_right
from demo.recipe import augment, domain, text_tokenizer
from demo.recipe.card import CARD_FILE, card, read_figures
from demo.recipe.data import Corpus
from demo.recipe.language_model import split_spans
from demo.recipe.mel import log_mel, pitch
from demo.recipe.numbers import english, mandarin
from demo.recipe.questions import Share
from demo.recipe.scales import FULL
from demo.recipe.sequences import Answers, Dialogues, Documents, interleaved, written_sums
from demo.recipe.spelled import alphabet, edits, normalised, read_ctc, spell, word_error_rate
from demo.recipe.voices import Language
from demo.talk import CHECKPOINT


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return text_tokenizer.write(tmp_path_factory.mktemp("text"))


def test_clips_are_whole_tokens_with_four_labels_each(corpus: Corpus) -> None:
    for clips in (corpus.assistant, corpus.users):
        for index in (0, len(clips) - 1):
            clip = clips[index]
            assert len(clip.samples) % (clips.rate * 8 // 100) == 0
            assert len(clip.labels) == len(clip.samples) * 50 // clips.rate
    clip = corpus.users[0]
    letters = [name for name in clip.line.text if name != " "]
    said = [corpus.phonemes[label] for label in clip.labels if corpus.phonemes[label] != "_"]
    assert [name for index, name in enumerate(said) if index == 0 or said[index - 1] != name] == [
        name for index, name in enumerate(letters) if index == 0 or letters[index - 1] != name
    ]


def test_augmenting_is_drawn_from_its_seed_and_can_be_turned_off(corpus: Corpus) -> None:
    samples = corpus.users[0].samples
    plain, lead = augment.augmented(samples, np.random.default_rng(0), augment.NONE)
    assert lead == 0
    np.testing.assert_array_equal(plain, samples.astype(np.float32) / 32_768)
    one, lead = augment.augmented(samples, np.random.default_rng(1))
    again, _ = augment.augmented(samples, np.random.default_rng(1))
    np.testing.assert_array_equal(one, again)
    assert len(one) == len(samples) + lead
    assert lead % 320 == 0
    assert np.abs(one).max() <= 1.0


def test_the_telephone_takes_away_what_lies_above_its_band() -> None:
    t = np.arange(16_000) / 16_000
    low, high = (
        augment.telephone((0.3 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)) for hertz in (1_000, 5_000)
    )
    assert low.shape == high.shape == (16_000,)
    assert np.abs(low).max() > 0.25
    assert np.abs(high).max() < 0.01


def test_pitch_of_a_tone_and_of_noise() -> None:
    t = torch.arange(22_050) / 22_050
    voice = sum(torch.sin(2 * math.pi * 180 * h * t) / h for h in range(1, 6))
    found = pitch(0.2 * voice)[5:-5]
    assert float((found - 180).abs().max()) < 1.0
    assert (
        float((pitch(0.1 * torch.randn(22_050, generator=torch.Generator().manual_seed(0))) > 0).float().mean()) < 0.1
    )


def test_mel_has_a_frame_a_hop_and_finds_a_tone() -> None:
    t = torch.arange(22_050 // 256 * 256) / 22_050
    mel = log_mel(torch.sin(2 * math.pi * 1_000 * t))
    assert mel.shape == (86, 80)
    # 1 kHz is 15 Slaney mels, of 45.2 that lie below 8 kHz, over 81 steps.
    assert abs(int(mel[40].argmax()) - round(15 / (15 + math.log(8) / (math.log(6.4) / 27)) * 81 - 1)) <= 1


def test_texts_are_spelled_and_compared() -> None:
    assert normalised("Two plus  three, is FIVE.") == "two plus three is five"
    symbols = alphabet()
    assert "".join(symbols[number] for number in spell("二加三 ok")) == "二加三 ok"
    assert len(set(symbols)) == len(symbols)
    path = [0, 3, 3, 0, 3, 4, 0, 1]
    scores = torch.nn.functional.one_hot(torch.tensor(path), len(symbols)).float()
    assert read_ctc(scores) == "bbc"
    assert edits("kitten", "sitting") == 3
    assert word_error_rate([("two plus tree", "two plus three"), ("我不知", "我不知道")]) == pytest.approx(2 / 7)


def test_shuffled_answers_score_at_chance() -> None:
    expected = [f"the answer is {english(number)}" for number in range(50)] * 2
    assert heard_right(expected, expected).value == 1.0
    shuffled, chance = shuffled_right(expected, expected)
    assert chance == pytest.approx(0.02)
    assert shuffled.value < 0.1


def test_wilson_interval() -> None:
    low, high = Share(95, 100).interval
    assert (round(low, 4), round(high, 4)) == (0.8882, 0.9785)


def test_domain_words_are_one_id(vocabulary: Vocabulary) -> None:
    for text in (" three", " plus", " opposite", "不", "道"):
        assert len(vocabulary.encode(text)) == 1, text
    pieces = [vocabulary.decode([token]) for token in vocabulary.encode(" what is sixteen plus forty")]
    assert pieces == [" what", " is", " six", "teen", " plus", " for", "ty"]
    text = "what is 二加三 <|user|> Ünïcode"
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_answers_go_13_to_26() -> None:
    text, speech = list(range(15)), list(range(100, 160))
    assert interleaved(text, speech) == [*text[:13], *speech[:26], *text[13:], *speech[26:52], *speech[52:]]
    assert interleaved(text, []) == text


def test_dialogues_weigh_the_answers_alone(vocabulary: Vocabulary, corpus: Corpus) -> None:
    codes = [[index % 1_024] * 5 for index in range(len(corpus.assistant))]
    heard = [[[7] * 9 for _ in range(len(corpus.users))]]
    dialogues = Dialogues(vocabulary, corpus, Answers(corpus, codes), heard, [[1, 2]])
    user = vocabulary.control_id("<|user|>")
    longest = 0
    for seed in range(90):
        drawn = dialogues.draw(np.random.default_rng(seed))
        if user not in drawn.ids:  # a written sum
            assert all(drawn.weights)
            continue
        turns = [index for index, token in enumerate(drawn.ids) if token == user]
        longest = max(longest, len(turns) - 1)
        assert drawn.ids[-1] == user
        assert drawn.weights[turns[0]] == 0.0
        assert all(drawn.weights[index] > 0 for index in turns[1:])  # each answer is ended by the model
        header = vocabulary.encode("streaming_transcription\n")[-1]
        starts = [index + 1 for index, token in enumerate(drawn.ids) if token == header and not drawn.weights[index]]
        assert all(drawn.weights[index] > 0 for index in starts[-1:])
    assert longest > 3  # turns: more than a sum and its follow-ups


def test_transcripts_tell_what_was_heard(vocabulary: Vocabulary, corpus: Corpus) -> None:
    answers = Answers(corpus, [[5]] * len(corpus.assistant))
    said = ["" if line.speaker.is_foreign else line.text for line in corpus.users.lines]
    heard = [[index % 1_024, 7] for index in range(len(said))]
    documents = Documents(vocabulary, ["no"], answers, [heard], said, [])
    end = vocabulary.control_id("<|end_of_audio|>")
    drawn = [documents.draw(np.random.default_rng(seed)) for seed in range(300)]
    transcripts = [one for one in drawn if end in one.ids]
    assert len(transcripts) > 50
    for one in transcripts:
        at = one.ids.index(end)
        index = heard.index([vocabulary.speech_code(token) for token in one.ids[1:at]])
        assert vocabulary.decode(one.ids[at + 1 :]) == said[index] != ""
        assert min(one.weights[at + 1 :]) > max(one.weights[: at + 1])


def test_written_sums_are_right_held_back_where_held_out_and_weigh_their_results(vocabulary: Vocabulary) -> None:
    words = {english(number): number for number in range(100)} | {mandarin(number): number for number in range(100)}
    seen = set()
    for seed in range(200):
        drawn = written_sums(vocabulary, np.random.default_rng(seed))
        text = vocabulary.decode(drawn.ids)
        lines = [line for line in text.splitlines() if " is " in line or "等于" in line]
        answers = [line for line in lines if not line.startswith(("what", "how")) and line[-1] not in "几少"]
        assert len(answers) == 10
        for answer in answers:
            language: Language = "zh" if "等于" in answer else "en"
            plus, equals = ("加", "等于") if language == "zh" else (" plus ", " is ")
            first, second, total = (words[part] for part in answer.replace(equals, plus).split(plus))
            assert first + second == total
            assert not domain.is_held_out(first, second, language)
            seen.add((language, first, second))
        # Line by line as an answer is written, and what counts in full is the results.
        assert vocabulary.encode(text) == drawn.ids
        counted = [token for token, weight in zip(drawn.ids, drawn.weights, strict=True) if weight > 1]
        results = [line.rpartition("等于" if "等于" in line else " is")[2] + "\n" for line in answers]
        assert vocabulary.decode(counted) == "".join(results)
    assert len(seen) > 500


def test_spans_cover_the_text() -> None:
    text = "what is two plus three\ntwo plus three is five\n二加三"
    random = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        pieces = split_spans(text, random)
        assert "".join(piece for piece, _ in pieces) == text
        assert not any(spoken and "\n" in piece for piece, spoken in pieces)
        shares.append(sum(len(piece) for piece, spoken in pieces if spoken) / len(text))
    assert 0.15 < np.mean(shares) < 0.45


def test_the_shipped_card_is_what_its_figures_say() -> None:
    measured, training = read_figures(CHECKPOINT)
    assert (CHECKPOINT / CARD_FILE).read_text() == card(measured, training, FULL)
