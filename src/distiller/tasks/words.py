"""What a word of plain text is, where the text is not already split: in new texts for a tagger, and around spans."""

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

_OPENING = '"(\\[{«“‘„¿¡'
_CLOSING = "\".,;:!?…)\\]}»”’'"
_LETTER = rf"[^\s{UNSPACED}{MARKS}]"
SPACED = re.compile(rf"[{UNSPACED}{MARKS}][{_SIGNS}]*|{_LETTER}+")
WORD = re.compile(
    rf"[{UNSPACED}{MARKS}][{_SIGNS}]*"
    rf"|[{_OPENING}]|'(?!(?:s|t|re|ve|ll|d|m)\b)(?=\w)"  # in front of a word, but not the 's of `Berlin 's`
    r"|\.{2,}|!{2,}|\?{2,}|''"
    rf"|(?:[^\W\d_{UNSPACED}]\.){{2,}}"  # U.S., e.g.
    rf"|[{_CLOSING}](?!\w)"
    rf"|{_LETTER}+?(?=[{_CLOSING}]*(?:\s|$|[{UNSPACED}{MARKS}]))"
)
"""A word of plain text."""
SET_APART = re.compile(r"(?<!\S)[.,](?!\S)")
"""What stands in a text whose words have been set apart already: there blanks alone separate them."""


def spaced_words(text: str) -> list[str]:
    """What spaces separate, punctuation included, as SQuAD counts words; each letter in a script without spaces."""
    return SPACED.findall(text)


def words_of(text: str) -> list[str]:
    """The words of `text`: what spaces separate, and each punctuation mark around it, as in tagged corpora.

    In a script without spaces between words (Chinese, Japanese, Thai, …) each letter, with the signs on it, is a word.
    So `"bad".` is read as it was learnt where a span marks `bad`, and as in files that are already split into words. A
    text with a full stop or a comma between spaces is from such a file, and keeps its words.
    """
    return pattern_of(text).findall(text)


def pattern_of(text: str) -> re.Pattern[str]:
    """The pattern that finds the words of `text`, or of parts of it."""
    return SPACED if SET_APART.search(text) else WORD
