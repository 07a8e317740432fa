"""The model card, from what was measured: `figures.json`, which has all of it, and `README.md`, which tells it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from antiphon.engine.errors import CheckpointError
from antiphon.engine.weights.manifest import write_manifest
from demo.recipe import domain
from demo.recipe.bars import bars
from demo.recipe.scales import Scale, Steps
from demo.recipe.voices import ASSISTANT_SPEEDS, ASSISTANT_VOICES, variants

CARD_FILE: Final = "README.md"
FIGURES_FILE: Final = "figures.json"
_MEASURED, _TRAINING = "measured", "training"  # its two parts

_CARD: Final = """\
# Antiphon's demo checkpoint

A model of {parameters:.1f} million parameters in the official formats of GLM-4-Voice, {megabytes:.1f} MB, trained
from nothing on synthetic speech by `demo/recipe`. It shows that the engine's way from speech to speech works, on a
laptop, and lets every change be judged by whether the answer is still understood. It is a toy: it knows its small
domain and nothing else, speaks with a synthesiser's voice, and was never heard by a human at a microphone in
training.

## What it knows
English: sums of 0 to {operand_en}, counting, days, opposites, colours, small talk, spelling a short word, repeating
a phrase. Mandarin: digits, sums of 0 to {operand_zh}, greetings. "slowly" and "quickly" change how an answer is
spoken; after a sum, "add one more" is understood. To all else it says "{unknown_en}" or "{unknown_zh}".

## Data
espeak-ng 1.51 alone. The assistant is `{voice_en}` and `{voice_zh}` at {speeds} words a minute (plain, slowly,
quickly); {users} variants in several accents ask, {held_out} more are heard in no training. {held_out_en} English
and {held_out_zh} Mandarin pairs of numbers are never added in training, neither in speech nor in writing.
{clips}

## Training
{steps}
Seed {seed}. {command}
{remarks}
## Measured
By `python -m demo.evaluate` (it needs espeak-ng) on the files here, in the engine, streamed as callers have it by
default. *Heard right*: the judge, a recogniser of its own architecture and features that learnt from real espeak-ng
audio only (`demo/judge`), hears the expected sentence. Intervals are Wilson's, 95 %. Both streaming modes side by side,
through a server: `benchmarks/results/quality.csv`, by `python -m benchmarks.bench_quality`.

A sum is held out in both orders and in both ways of asking, spoken and written, in the language it is asked in. What
training does see, in writing, is sums of larger numbers: "twenty three plus forty five" holds the digits of a held-out
"three plus five", in another place of the number.

{tables}

### Bars
{bars}

## Limits
Voices unlike espeak-ng's are out of its world, human ones included. Words outside the domain are spoken and repeated
less well than those in it. In 8 kHz audio that was not cut to a telephone's 300 to 3,400 Hz it hears much worse: it
knows no voice that ends at 4 kHz. Its "{unknown_en}" is in the right text, and the judge hears none of it right: nor
does it hear so the synthesiser's own recording of it ("i d not now that", and of the checkpoint's "i ten hot know
that").

## Licence
Apache-2.0, as the rest of this repository. espeak-ng is GPL-3.0-or-later; its licence does not cover the sounds
that it makes, and nothing of its code or data is in these files.
"""


def write_card(
    folder: Path,
    measured: Mapping[str, Any],  # by `evaluate`
    training: Mapping[str, Any],  # `parameters`, `bytes`, `seed`, `stages`: what each measured of itself; `remarks`
    scale: Scale,
) -> None:
    """Write the card, the figures that it is made from, and the manifest of the checkpoint in `folder`."""
    figures = {_MEASURED: measured, _TRAINING: training}
    (folder / FIGURES_FILE).write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    (folder / CARD_FILE).write_text(card(measured, training, scale))
    write_manifest(folder)


def read_figures(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was measured of the checkpoint in `folder`, and its training: what `write_card` was given.

    Raises CheckpointError where there is no such file.
    """
    path = folder / FIGURES_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {FIGURES_FILE}; expected a checkpoint that demo/recipe has made.")
    figures = json.loads(path.read_text())
    return figures[_MEASURED], figures[_TRAINING]


def card(measured: Mapping[str, Any], training: Mapping[str, Any], scale: Scale) -> str:
    """The card's text. `write_card` says what it is given."""
    stages = training["stages"]
    return _CARD.format(
        parameters=training["parameters"] / 1e6,
        megabytes=training["bytes"] / 1e6,
        operand_en=domain.LARGEST_OPERAND["en"],
        operand_zh=domain.LARGEST_OPERAND["zh"],
        unknown_en=domain.UNKNOWN["en"],
        unknown_zh=domain.UNKNOWN["zh"],
        voice_en=ASSISTANT_VOICES["en"],
        voice_zh=ASSISTANT_VOICES["zh"],
        speeds=", ".join(str(speed) for speed in ASSISTANT_SPEEDS.values()),
        users=len(variants(held_out=False)),
        held_out=len(variants(held_out=True)),
        held_out_en=len(domain.held_out_pairs("en")),
        held_out_zh=len(domain.held_out_pairs("zh")),
        clips=", ".join(f"{key} {value}" for key, value in stages.get("data", {}).items()) + ".",
        steps=_steps(scale),
        seed=training["seed"],
        command="`make checkpoint` makes it again.",
        remarks="".join(f"\n{remark}\n" for remark in training["remarks"]),
        tables="\n\n".join([*_tables(measured), _stages(stages), _ablation(stages, scale)]),
        bars="\n".join(f"- {bar}." for bar in bars(measured)),
    )


def _steps(scale: Scale) -> str:
    rows = ["| part | steps | batch | learning rate |", "| --- | --- | --- | --- |"]
    for name, value in vars(scale).items():
        if isinstance(value, Steps):
            rows.append(f"| {name.replace('_', ' ')} | {value.steps} | {value.batch} | {value.learning_rate} |")
    for number, (mu, mean) in enumerate(scale.flow_rounds, start=1):
        for name, value in ((f"flow, mu alone, round {number}", mu), (f"flow, toward the mean, round {number}", mean)):
            rows.append(f"| {name} | {value.steps} | {value.batch} | {value.learning_rate} |")
    return "\n".join(rows)


def _tables(figures: Mapping[str, Any]) -> list[str]:
    answers = figures["answers"]
    columns = ("text right", "heard right", "heard right, answers shuffled", "word error rate")
    rows = [f"| questions | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for name, measured in answers.items():
        rows.append(f"| {name} | {' | '.join(_shown(measured.get(column)) for column in columns)} |")
    others = ["| what | figure |", "| --- | --- |"]
    for name, measured in figures.items():
        if name == "answers":
            continue
        if isinstance(measured, Mapping) and "share" not in measured:
            others += [f"| {name}: {key} | {_shown(value)} |" for key, value in measured.items()]
        else:
            others.append(f"| {name} | {_shown(measured)} |")
    return ["\n".join(rows), "\n".join(others)]


def _stages(stages: Mapping[str, Any]) -> str:
    """What each stage measured of itself when it ended."""
    rows = ["| stage | gives |", "| --- | --- |"]
    for name, measured in stages.items():
        if measured and name not in ("data", "ablation", "export", "evaluate"):
            shown = ", ".join(f"{key.replace('_', ' ')} {_shown(value)}" for key, value in measured.items())
            rows.append(f"| {name} | {shown} |")
    return "\n".join(rows)


def _ablation(stages: Mapping[str, Any], scale: Scale) -> str:
    """What pre-training and interleaved documents give, each arm with `ablation_share` of the steps."""
    arms = stages.get("ablation", {})
    if not arms:
        return ""
    names = list(next(iter(arms.values())))  # the loss first: short runs answer little, and learn it at different paces
    about = (
        f"What pre-training gives, in runs of {scale.ablation_share:g} of the steps, fine-tuned alike; so short, they "
        "answer next to nothing right, and the loss of the fine-tuning tells them apart:\n"
    )
    rows = [about, f"| pre-training | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    rows += [f"| {arm} | {' | '.join(_shown(measured[name]) for name in names)} |" for arm, measured in arms.items()]
    return "\n".join(rows)


def _shown(measured: Any) -> str:
    if measured is None:
        return "–"
    if isinstance(measured, Mapping) and "share" in measured:
        low, high = measured["interval"]
        chance = f", chance {measured['chance']:.3f}" if "chance" in measured else ""
        return f"{measured['share']:.3f} ({low:.3f}–{high:.3f}, n = {measured['n']}{chance})"
    if isinstance(measured, Mapping):
        return ", ".join(f"{key} {value}" for key, value in measured.items())
    return f"{measured:.4g}" if isinstance(measured, float) else f"{measured}"
