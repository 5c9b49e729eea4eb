"""What a word of plain text is, where nobody has set words apart: in new texts for a tagger, and around spans."""

import re
import unicodedata

UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan; Burmese; Khmer
    "\u3040-\u30ff\u3100-\u312f\u31a0-\u31ff\uff66-\uff9f"  # Kana, Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # ideographs
)
"""Characters of scripts that set no blanks between words, as ranges of a character class."""

MARKS = "\u3001-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
"""Their punctuation, which has no blanks around it either."""

_SIGNS = "".join(sign for sign in map(chr, range(0xE00, 0x3100)) if unicodedata.category(sign)[0] == "M")
"""Vowel signs, tones and the like, which belong to the letter before them."""

WORD = re.compile(rf"[{UNSPACED}{MARKS}][{_SIGNS}]*|[^\s{UNSPACED}{MARKS}]+")
"""A word of plain text."""


def words_of(text: str) -> list[str]:
    """What blanks separate; of a script without blanks between words (Chinese, Japanese, Thai, …) each letter, with the
    signs on it, and each punctuation mark."""
    return WORD.findall(text)
