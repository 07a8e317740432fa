"""Open vocabulary: everyday words from which sentences are drawn, so that speech is more than the demo's domain."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np

from antiphon.engine.weights.generate.corpus import TEXT
from demo.recipe import domain

_MORE: Final = (
    "about above accept across action actor address advice afraid afternoon agree airport alone animal answer "
    "anybody army arrive artist autumn baby balance ball banana bank basket beach beauty because become believe "
    "bell belong better between bitter blanket board boat body bone borrow boss bottom brave bridge brush bucket "
    "building burn busy button cable camera camp captain careful carpet castle catch cause ceiling cement central "
    "certain chain change charge cheap check chicken child choose circle city class climb cloth coast coffee "
    "collect colony comb comfort company compare copper corner cotton country courage cousin cover crack credit "
    "crowd crush culture curtain curve damage danger daughter decide degree delay desert desk detail develop "
    "digital dinner direct discover distance doctor dollar donkey double doubt dragon drawer dress drive drop "
    "dust eagle earth edge education effect elbow electric engine enjoy enough equal error escape event exact "
    "example exchange exercise expect expert eye factory false family famous farm fashion father feather feeling "
    "female fiction field fight final finger fire flame flight floor flower fold foolish forest forget forward "
    "fountain frame freedom frequent frozen fruit funny future garden gentle gift giraffe glass government grain "
    "grammar group guess guitar hammer harbour harmony hate health heart heavy helmet hidden history hollow hope "
    "hospital hotel humour hunger hurry idea important industry insect insurance invent iron island jacket jelly "
    "join journey judge juice jump jungle kettle kitchen kitten knee knife knot knowledge ladder language laugh "
    "lawyer layer leather lemon letter level library liquid listen little lock lonely lunch machine magic manager "
    "marble march market mask match meal measure medicine member memory message metal middle million mineral "
    "minister mirror mistake mixed monkey month motion mountain mouth move muscle narrow nation nature necessary "
    "needle nerve normal north nose notebook number ocean offer office onion opinion order organ original oven "
    "owner package page pain parcel parent party past patient payment peace pencil pepper perfect person pigeon "
    "pillow pilot pipe place plastic please pleasure pocket poison police polish political position possible "
    "potato powder present pretty price print prison private problem process produce profit promise property "
    "protest public pull pump punish purple purpose quality question quick rabbit radio rail raise reaction "
    "reading ready reason receipt record regret regular relation religion remember request respect responsible "
    "reward rhythm rocket roll roof root rough rubber rule safe sailor salad sand scale school science scissors "
    "scratch screen second secret secretary seed sense separate serious servant shade shadow shake shame sharp "
    "shelf shirt shock shoulder silver simple sister size skin skirt sleep slip smell smile smoke smooth snake "
    "society soldier solid spade special sponge spoon sport spring square stage stamp station steam steel stem "
    "stick stiff stitch stomach store storm story strange street stretch structure sudden sugar suggestion summer "
    "support surprise sweet swim system tail talk taste teacher teaching temper tendency theory thick thin "
    "thought thread throat thumb thunder ticket tiger tired together tomorrow tongue tooth touch tower town trade "
    "transport travel treasure trick trouble trousers true trust tunnel twist uncle umbrella unit valley value "
    "vegetable verse vessel victory view village violent visit voice volcano waiter walk warm wash waste watch "
    "wave weather weight wheel whistle window winter wire wise woman wonder wood wool word work worm wound "
    "writing wrong yard year yesterday young zipper zone"
)


@cache
def english_words() -> tuple[str, ...]:
    """Every word, once, in a fixed order."""
    asked = " ".join(f"{exchange.question} {exchange.answer}" for exchange in domain.known_exchanges())
    return tuple(sorted(set(re.findall(r"\b[a-z]{2,}\b", f"{TEXT.lower()} {_MORE} {asked}"))))


@cache
def han_characters() -> tuple[str, ...]:
    """Every Chinese character of the built-in text and the domain, once."""
    asked = "".join(f"{exchange.question}{exchange.answer}" for exchange in domain.known_exchanges())
    extra = asked + domain.UNKNOWN["zh"] + "再加一个慢慢说快快说"
    return tuple(sorted(set(re.findall(r"[\u4e00-\u9fff]", TEXT + extra))))


def english_sentence(random: np.random.Generator) -> str:
    """Two to nine words in no order that means anything: nothing but the sound helps to recognise them."""
    return " ".join(draw(english_words(), int(random.integers(2, 10)), random))


def mandarin_sentence(random: np.random.Generator) -> str:
    """Two to ten characters."""
    return "".join(draw(han_characters(), int(random.integers(2, 11)), random))


def draw(signs: Sequence[str], count: int, random: np.random.Generator) -> list[str]:
    """`count` of `signs`, with repetition."""
    return [signs[index] for index in random.integers(len(signs), size=count)]
