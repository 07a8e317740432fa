"""Understanding under a written bar fails: the committed questions, put to a served engine, heard by the judge.

The bar is `bar.json`: shares of the committed clips. They are 24, so that one answer is 0.04; the bar lies some answers
under what the checkpoint reached when it was committed, for rounding differs between machines.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from demo.judge.recogniser import Judge
from demo.judge.score import heard_right, shuffled_right
from demo.judge.served import Received
from demo.recipe.questions import Share

BAR_FILE: Final = Path(__file__).parent / "bar.json"
_AT_MOST: Final = ", at most"


def figures(judge: Judge, answers: Sequence[Received]) -> dict[str, Share]:
    """What the bar is about, by its names."""
    heard = judge.hear([(one.wave, one.rate) for one in answers])
    expected = [one.question.answer for one in answers]
    return {
        "text right": Share(sum(one.is_right for one in answers), len(answers)),
        "heard right": heard_right(heard, expected),
        "heard right, answers shuffled": shuffled_right(heard, expected)[0],
    }


def missed(measured: Mapping[str, Share], bar: Mapping[str, float]) -> list[str]:
    """What lies under the bar (or, where it says "at most", above it), a sentence each."""
    sentences = []
    for name, limit in bar.items():
        share = measured[name.removesuffix(_AT_MOST)]
        at_most = name.endswith(_AT_MOST)
        if (share.value > limit) if at_most else (share.value < limit):
            wanted = "at most" if at_most else "at least"
            sentences.append(
                f"{name.removesuffix(_AT_MOST)}: {share.hits} of {share.count} ({share.value:.2f}); "
                f"expected {wanted} {limit:.2f}."
            )
    return sentences


def read_bar(path: Path = BAR_FILE) -> dict[str, float]:
    """The bar, by name."""
    bar: dict[str, float] = json.loads(path.read_text())
    return bar
