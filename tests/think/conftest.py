"""The language model of the parity data: four layers, hidden size 128, a vocabulary of 1,024 with 512 speech codes."""

import pytest
from goldens import golden

from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.vocab import Vocabulary


@pytest.fixture(scope="session")
def lm() -> LanguageModel:
    return LanguageModel.load(golden("lm"))


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.read(golden("lm"))
