"""Numbers in words, English and Mandarin, from 0 to 99."""

from typing import Final

LARGEST: Final = 99
_ONES: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_DIGITS: Final = "零一二三四五六七八九"


def english(number: int) -> str:
    """0 … 99: "forty two"."""
    if number < 20:
        return _ONES[number]
    ones = f" {_ONES[number % 10]}" if number % 10 else ""
    return _TENS[number // 10 - 2] + ones


def mandarin(number: int) -> str:
    """0 … 99: "四十二"."""
    tens, ones = divmod(number, 10)
    if tens == 0:
        return _DIGITS[ones]
    return (_DIGITS[tens] if tens > 1 else "") + "十" + (_DIGITS[ones] if ones else "")
