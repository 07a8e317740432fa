"""Who speaks: one assistant, many users, and users who are heard in no training."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

Language = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")

# espeak-ng 1.51's plain "cmn" reads its own pinyin as English; this one does not.
_MANDARIN: Final = "cmn-latn-pinyin"
ASSISTANT_VOICES: Final[dict[Language, str]] = {"en": "en-us+f3", "zh": f"{_MANDARIN}+f3"}
ASSISTANT_SPEEDS: Final = {"": 150, "slowly": 95, "quickly": 230}  # words a minute, by delivery

_ACCENTS: Final = ("en-us", "en-us", "en", "en-us-nyc", "en-gb-x-rp", "en-029", "en-gb-scotland", "en-gb-x-gbclan")
# Variants of espeak-ng that sound like people; its robots and whispers are left out.
_TRAINING_VARIANTS: Final = tuple(
    "f1 f2 f3 f4 m1 m2 m3 m4 m5 m6 m8 klatt klatt2 klatt4 klatt5 Alex Alicia Andrea Andy Annie Denis Gene "
    "Henrique Jacky Lee Marco Mario Michael Nguyen adam anika antonio aunty belinda benjamin boris caleb david ed "
    "edward grandma gustave iven iven3 john linda marcelo max miguel norbert pablo pedro quincy robert sandro "
    "shelby steph steph2 travis victor".split()
)
_HELD_OUT_VARIANTS: Final = tuple("f5 m7 klatt3 Diogo Mike edward2 grandpa michel paul steph3 zac rob".split())
_FOREIGN_VOICES: Final = ("de", "fr", "es", "it", "pl", "ru", "fi", "nl", "sv", "tr")


@dataclass(frozen=True)
class Speaker:
    """A voice and how it speaks."""

    voice: str  # as `Espeak.say` takes it
    speed: int = 150
    pitch: int = 50
    intonation: int = 50

    @property
    def is_foreign(self) -> bool:
        """Whether what they say is in no language of ours."""
        return self.voice.partition("+")[0] in _FOREIGN_VOICES


def assistant(language: Language, delivery: str = "") -> Speaker:
    """The one who answers: the same timbre in both languages."""
    return Speaker(ASSISTANT_VOICES[language], ASSISTANT_SPEEDS[delivery])


def user(language: Language, random: np.random.Generator, held_out: bool = False) -> Speaker:
    """Someone who asks; those held out share no variant with the others."""
    variant = str(random.choice(_HELD_OUT_VARIANTS if held_out else _TRAINING_VARIANTS))
    base = _MANDARIN if language == "zh" else str(random.choice(_ACCENTS))
    return Speaker(f"{base}+{variant}", *_manner(random))


def foreigner(random: np.random.Generator) -> Speaker:
    """Someone who speaks a language the model does not know."""
    return Speaker(f"{random.choice(_FOREIGN_VOICES)}+{random.choice(_TRAINING_VARIANTS)}", *_manner(random))


def variants(held_out: bool) -> tuple[str, ...]:
    """The variants users are drawn from."""
    return _HELD_OUT_VARIANTS if held_out else _TRAINING_VARIANTS


def _manner(random: np.random.Generator) -> tuple[int, int, int]:
    return int(random.integers(115, 201)), int(random.integers(25, 76)), int(random.integers(30, 81))
