"""The bars that were set before training: what was measured, whether it is reached, and what keeps it from that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

THREADS: Final = 2  # of the CPU, for what a single caller waits
BY_TELEPHONE: Final = "known, by telephone both ways (300 to 3,400 Hz, 8 kHz µ-law)"
ALONE: Final = f"one caller, {THREADS} CPU threads"
RESYNTHESIS: Final = "word error rate of resynthesis"
ORIGINALS: Final = "judge's word error rate on originals"
MOST: Final = "known answers in the synthesiser's own voice, heard right"
_DEAF: Final = 0.25  # word error rate
_CODES: Final = (
    "The codes were learnt under recognition losses, 1,024 of them, 12.5 a second: they keep the domain's words, and "
    "of words from anywhere the tokenizer's own recogniser loses most"
)


@dataclass(frozen=True)
class Bar:
    """One bar, a figure that has to be so high, or so low."""

    what: str
    measured: float
    limit: float
    at_least: bool = False
    why: str = ""  # what keeps it from being reached

    @property
    def is_reached(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        """A line of the card."""
        sign, verdict = "≥" if self.at_least else "≤", "reached" if self.is_reached else "**missed**"
        why = "" if self.is_reached or not self.why else f". {self.why}"
        return f"{verdict}: {self.what} {sign} {self.limit:.3g}; measured {self.measured:.3f}{why}"


def bars(figures: Mapping[str, Any]) -> Sequence[Bar]:
    """All of them, of what `evaluate` measured."""
    answers, most, alone = figures["answers"], figures[MOST], figures[ALONE]
    original, resynthesis = figures[ORIGINALS], figures[RESYNTHESIS]

    def heard(name: str, what: str, limit: float, why: str) -> Bar:
        return Bar(f"heard right, {what}", answers[name]["heard right"]["share"], limit, at_least=True, why=why)

    def resynthesised(name: str, what: str) -> Bar:
        limit = 1.5 * original[name] + 0.02
        return Bar(f"word error rate of any words through codes and back, {what}", resynthesis[name], limit, why=_CODES)

    written, spoken = (answers[name]["text right"]["share"] for name in ("sums, asked in writing", "sums"))
    plain, narrow = (most[name]["share"] for name in ("as it is", "by telephone"))
    return (
        heard(
            "known",
            "known voices",
            0.95,
            f"The text is right in {answers['known']['text right']['share']:.3f}, and of the same answers in the "
            f"synthesiser's own voice the judge hears {plain:.3f} right: it fails mostly at spelled words",
        ),
        heard(
            "sums",
            "held-out sums",
            0.90,
            f"The model adds right in {written:.3f} asked in writing and {spoken:.3f} in speech; and an answer that "
            "was never spoken in training is said less clearly",
        ),
        heard("voices", "held-out voices", 0.80, "Voices unlike those of training are heard in other codes"),
        heard(
            BY_TELEPHONE,
            "by telephone both ways",
            0.90,
            f"By telephone the judge hears {narrow:.3f} right of the same answers in the synthesiser's own voice",
        ),
        resynthesised("open", "users' voices"),
        resynthesised("assistant", "the assistant's voice"),
        Bar(
            f"real-time factor on {THREADS} CPU threads",
            alone["real-time factor"],
            0.5,
            why="Answers of 2 s are short beside what the first audio takes, and small tensors pay for every operation "
            "more than for its arithmetic",
        ),
        Bar(f"first audio on {THREADS} CPU threads, s", alone["first audio, s"], 1.0),
        Bar("the judge's own word error rate in the voice that it judges", original["assistant"], _DEAF),
    )
