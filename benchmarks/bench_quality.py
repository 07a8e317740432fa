"""Is the answer still understood? Questions through a served engine, the audio received heard by the judge.

    python -m benchmarks.bench_quality [--model demo/checkpoint] [--modes reference seamless] [--count 60]
    python -m benchmarks.bench_quality --gate

From the repository's root. A server of its own process, asked over loopback. By streaming mode and set of questions:
answers right in text and as heard, the same with the answers dealt to other questions (the control: chance), word error
rates, first audio, real-time factor. `wer` compares what was heard with the answer that was expected, `wer_said` with
the text that the model itself gave. Intervals of shares are Wilson's, those of word error rates are bootstrapped over
the answers; `wer_seeds` are the least and the most over seeds, which change the decoder's draws alone: what lies within
is noise. Then the joins (demo/judge/joins.py), and more than a minute of speech in one go.
Appends to results/quality.csv and results/quality_joins.csv, and draws the longest answer in results/joins-MODE.png, a
tick where a chunk joins. `--gate` asks the committed clips alone and fails when
understanding lies under the bar (demo/judge/bar.json). All else asks the recipe's test sets, which need espeak-ng where
they are not at hand.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from antiphon.client import Client
from antiphon.engine.errors import AntiphonError
from antiphon.engine.speak.chunking import DEFAULT_STREAMING, STREAMING_MODES
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.think.vocab import Vocabulary
from antiphon.engine.weights.folders import DECODER_FOLDER, LANGUAGE_MODEL_FOLDER
from benchmarks.harness import RESULTS, Spread, append_rows, environment
from benchmarks.serving import CARRY_ALL, serving
from demo.judge import files, gate, joins, long_speech, sets
from demo.judge.recogniser import Judge
from demo.judge.score import error_interval, heard_right, shuffled_right
from demo.judge.served import TELEPHONE, WIDE, Line, Question, Received, ask
from demo.picture import spectrogram
from demo.recipe.questions import Share
from demo.recipe.scales import SCALES
from demo.recipe.spelled import word_error_rate

_ROOT = Path(__file__).parents[1]
_SERVE = (*CARRY_ALL, "--max-speech-tokens", "3000")
_JOINED = 24  # answers whose joins are measured
_PIXELS_OF_A_BIN = 2


def main() -> int:
    """Measure, print, append the rows; or the gate. The exit status."""
    options = _options()
    torch.set_grad_enabled(False)
    try:
        judge = files.load(options.judge)
        return _gate(judge, options) if options.gate else _measure(judge, options)
    except AntiphonError as error:
        _tell(f"bench_quality: {error}")
        return 1


def _gate(judge: Judge, options: argparse.Namespace) -> int:
    """The committed questions against the written bar, in the server's own streaming mode."""
    questions = sets.committed()
    vocabulary = Vocabulary.read(options.model / LANGUAGE_MODEL_FOLDER)
    with serving(options.model, options.device, DEFAULT_STREAMING, _SERVE) as server:
        answers = asyncio.run(_asked(server.target, vocabulary, questions, WIDE, 0, "gate"))
    measured = gate.figures(judge, answers)
    for name, share in measured.items():
        print(f"{name}: {share.hits} of {share.count}")
    missed = gate.missed(measured, gate.read_bar())
    for sentence in missed:
        print(f"UNDER THE BAR  {sentence}")
    return 1 if missed else 0


def _measure(judge: Judge, options: argparse.Namespace) -> int:
    where = {**environment(torch.device(options.device)), "model": options.model.name}
    errors = files.errors(options.judge)
    _tell(f"the judge's own word error rate on originals: {_listed(errors)}")
    drawn = sets.drawn(options.work, SCALES[options.scale], options.recipe_seed, options.count, _tell)
    questions = {name: some for name, some in drawn.items() if name in (options.sets or drawn)}
    vocabulary = Vocabulary.read(options.model / LANGUAGE_MODEL_FOLDER)
    decoder = SpeechDecoder.load(options.model / DECODER_FOLDER, options.device)
    for mode in options.modes:
        with serving(options.model, options.device, mode, _SERVE) as server:
            answered: list[Received] = []
            for name, some in questions.items():
                for line, suffix in ((WIDE, ""), (TELEPHONE, ", µ-law both ways")):
                    if line is WIDE or name == "known":
                        label = name + suffix
                        runs = [
                            asyncio.run(_asked(server.target, vocabulary, some, line, seed, f"{mode}: {label}"))
                            for seed in (options.seeds if name in options.seeded else options.seeds[:1])
                        ]
                        row = {**where, "mode": mode, "set": label, **_row(judge, runs, errors)}
                        append_rows(options.results / "quality.csv", [row])
                        answered += runs[0] if line is WIDE else []
            minute = asyncio.run(
                long_speech.spoken(server.target, options.work, SCALES[options.scale], options.recipe_seed)
            )
        row = {**where, "mode": mode, "set": "more than a minute", **_long_row(judge, minute, errors)}
        append_rows(options.results / "quality.csv", [row])
        longest = sorted((one.codes for one in answered if one.codes), key=len, reverse=True)[:_JOINED]
        joined = [joins.decode_both_ways(decoder, codes, mode) for codes in longest]
        measured = joins.measure(joined)
        picture = options.results / f"joins-{mode}.png"
        spectrogram(picture, joined[0].wave, joined[0].joins, _PIXELS_OF_A_BIN)
        row = {**where, "mode": mode, "answers": len(longest), **_rounded(asdict(measured))}
        append_rows(options.results / "quality_joins.csv", [row])
        print(f"{mode}, joins of the {len(longest)} longest answers: {_listed(_rounded(asdict(measured)))}")
    _tell(f"rows and pictures lie under {options.results}")
    return 0


async def _asked(
    target: str, vocabulary: Vocabulary, questions: Sequence[Question], line: Line, seed: int, label: str
) -> list[Received]:
    def progress(done: int) -> None:
        if done % 20 == 0 or done == len(questions):
            _tell(f"{label}: {done} of {len(questions)} asked")

    async with Client(target) as client:
        return await ask(client, vocabulary, questions, line, seed, progress)


def _row(judge: Judge, runs: Sequence[Sequence[Received]], errors: dict[str, float]) -> dict[str, object]:
    """One set's figures: of the first seed, and the word error rates' span over all of them."""
    answers = runs[0]
    heard = [judge.hear([(one.wave, one.rate) for one in run]) for run in runs]
    expected = [one.question.answer for one in answers]
    right, chance = Share(sum(one.is_right for one in answers), len(answers)), shuffled_right(heard[0], expected)
    pairs = list(zip(heard[0], expected, strict=True))
    spoken = [one for one in answers if one.first_audio is not None]
    by_seed = [word_error_rate(list(zip(texts, expected, strict=True))) for texts in heard]
    row = {
        "asked": len(answers),
        **_share("text_right", right),
        **_share("heard_right", heard_right(heard[0], expected)),
        **_share("shuffled_right", chance[0]),
        "chance": round(chance[1], 4),
        **_error(pairs),
        "wer_said": round(word_error_rate([(h, one.text) for h, one in zip(heard[0], answers, strict=True)]), 4),
        "wer_seeds_low": round(min(by_seed), 4),
        "wer_seeds_high": round(max(by_seed), 4),
        "seeds": len(by_seed),
        "judge_wer": round(errors.get("known", float("nan")), 4),
        **_times(spoken),
        "audio_s": round(sum(one.seconds for one in answers), 2),
    }
    _print(row, answers)
    return row


def _long_row(judge: Judge, minute: long_speech.Minute, errors: dict[str, float]) -> dict[str, object]:
    heard = judge.hear([(piece, minute.rate) for piece in minute.pieces])
    pairs = list(zip(heard, minute.texts, strict=True))
    row: dict[str, object] = {name: "" for name in _COLUMNS}
    wer = _error(pairs)
    row |= {"asked": len(pairs), **wer, "judge_wer": round(errors.get("assistant", float("nan")), 4)}
    row |= {"real_time_factor_p50": round(minute.took / minute.seconds, 4), "audio_s": round(minute.seconds, 2)}
    print(
        f"  {minute.seconds:.1f} s in one go: word error rate {wer['wer']}, factor {minute.took / minute.seconds:.2f}"
    )
    return row


def _times(spoken: Sequence[Received]) -> dict[str, object]:
    """First audio and real-time factor of the answers that were spoken; empty where there are none."""
    if not spoken:
        return {name: "" for name in _COLUMNS if name.startswith(("first_audio", "real_time"))}
    first = Spread.of([one.first_audio or 0.0 for one in spoken])
    factor = Spread.of([one.took / one.seconds for one in spoken])
    return {
        **{f"first_audio_{name}_s": round(getattr(first, name), 4) for name in ("p20", "p50", "p80")},
        **{f"real_time_factor_{name}": round(getattr(factor, name), 4) for name in ("p20", "p50", "p80")},
    }


def _share(name: str, share: Share) -> dict[str, object]:
    low, high = share.interval
    return {name: round(share.value, 4), f"{name}_low": round(low, 4), f"{name}_high": round(high, 4)}


def _error(pairs: Sequence[tuple[str, str]]) -> dict[str, object]:
    low, high = error_interval(pairs)
    return {"wer": round(word_error_rate(pairs), 4), "wer_low": round(low, 4), "wer_high": round(high, 4)}


_COLUMNS = (
    *("asked", "text_right", "text_right_low", "text_right_high", "heard_right", "heard_right_low", "heard_right_high"),
    *("shuffled_right", "shuffled_right_low", "shuffled_right_high", "chance"),
    *("wer", "wer_low", "wer_high", "wer_said", "wer_seeds_low", "wer_seeds_high", "seeds", "judge_wer"),
    *("first_audio_p20_s", "first_audio_p50_s", "first_audio_p80_s"),
    *("real_time_factor_p20", "real_time_factor_p50", "real_time_factor_p80", "audio_s"),
)


def _print(row: dict[str, object], answers: Sequence[Received]) -> None:
    times = f"first audio {row['first_audio_p50_s']} s, factor {row['real_time_factor_p50']}"
    print(
        f"  right in text {row['text_right']} ({row['text_right_low']} to {row['text_right_high']}), as heard "
        f"{row['heard_right']} ({row['heard_right_low']} to {row['heard_right_high']}), shuffled "
        f"{row['shuffled_right']} (chance {row['chance']}); word error rate {row['wer']} ({row['wer_low']} to "
        f"{row['wer_high']}; seeds {row['wer_seeds_low']} to {row['wer_seeds_high']}); {times}; n = {len(answers)}"
    )


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def _listed(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Whether the answers are understood, by streaming mode.")
    parser.add_argument("--gate", action="store_true", help="the committed clips against the written bar alone")
    parser.add_argument("--model", type=Path, default=_ROOT / "demo" / "checkpoint")
    parser.add_argument("--judge", type=Path, default=files.WEIGHTS, help="the folder with the judge's files")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--modes", nargs="+", choices=STREAMING_MODES, default=list(STREAMING_MODES))
    parser.add_argument("--count", type=int, default=60, help="questions of each set (default: %(default)s)")
    parser.add_argument("--sets", nargs="+", help="those alone, by their names in the table (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the decoder's draws")
    parser.add_argument("--seeded", nargs="*", default=["known"], help="sets asked with every seed; others: the first")
    parser.add_argument("--work", type=Path, default=Path("checkpoints/recipe/full"), help="the recipe's work folder")
    parser.add_argument("--scale", choices=tuple(SCALES), default="full", help="of the recipe's run in --work")
    parser.add_argument("--recipe-seed", type=int, default=0, help="of the recipe's run in --work")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
