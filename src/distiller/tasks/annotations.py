"""Exports of annotation tools: answers of Label Studio, spans of characters, and verdicts on annotations."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from distiller.errors import DataError, warn
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.table import Table, shown
from distiller.tasks.words import pattern_of, words_of

Span = tuple[int, int, str]
"""(first character, one past the last character, label)."""

STARTS, ENDS, NAMES = ("start", "start_offset"), ("end", "end_offset"), ("label", "labels")
"""Names of the parts of a span in Prodigy, doccano and Label Studio."""

ANSWERS = ("choices", "rating", "number")
"""Keys of Label Studio's answers about whole texts."""

VERDICTS = {"accept", "reject", "ignore"}
"""Values of Prodigy's column `answer`."""


def with_answers(where: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """`rows`, in which each task of Label Studio is replaced by its data and the answers to its questions.

    If there are several annotations of a task the first is used, with a warning.
    """
    found: list[dict[str, Any]] = []
    several = 0
    for row in rows:
        data, annotations = row.get("data"), row.get("annotations")
        if isinstance(data, dict) and isinstance(annotations, list):
            given = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
            several += len(given) > 1
            row = {**data, **(_answers(given[0].get("result")) if given else {})}
        found.append(row)
    if several:
        warn(f"`{where}`: {several:,} row(s) have several annotations, of which the first is read")
    return found


def _answers(results: Any) -> dict[str, Any]:
    """The annotator's answer to each question: one name, several, or spans."""
    found: dict[str, Any] = {}
    for result in results if isinstance(results, list) else ():
        match result:
            case {"from_name": str(question), "value": {"start": _} as span}:
                found.setdefault(question, []).append(span)
            case {"from_name": str(question), "value": dict(value)}:
                found[question] = _first(value, ANSWERS)
    return found


def _first(value: dict[str, Any], keys: Sequence[str]) -> Any:
    """The value of the first of `keys` that `value` has; the item itself of a list of one."""
    found = next((value[key] for key in keys if key in value), None)
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def only_accepted(table: Table, label: str) -> Table:
    """`table` without rows whose annotation was rejected or ignored in Prodigy; warns of them."""
    verdicts = table.columns.get("answer", ())
    if label == "answer" or not {str(one) for one in verdicts if one is not None} <= VERDICTS:
        return table
    kept = [row for row, verdict in enumerate(verdicts) if verdict in ("accept", None)]
    if len(kept) == len(verdicts):
        return table
    warn(f"`{table.where}`: {len(table) - len(kept):,} row(s) whose `answer` is `reject` or `ignore` are left out")
    return table.take(kept)


def with_tags(table: Table, *, text: str, label: str, bad: BadRows) -> Table:
    """`table` with words and tags (B-, I-, O), if the cells of `label` are lists of character spans of `text`.

    Texts are split into words by `words_of`, and at the ends of spans. Rows with a span that is not inside its text, or
    overlaps another, are `bad`.
    """
    cells, texts = table.columns.get(label, ()), table.columns.get(text, ())
    if not _are_spans(cells) or not any(isinstance(one, str) for one in texts):
        return table
    kept: list[int] = []
    words: list[list[str]] = []
    tags: list[list[str] | None] = []
    inside = total = 0
    for row, (written, cell) in enumerate(zip(texts, cells, strict=True)):
        try:
            table.check_text(row, text, written)
            spans = _checked(table, row, label, written, cell or [])
        except DataError as error:
            bad.meet(error)
            continue
        found = list(_tagged(written, spans))
        kept.append(row)
        words.append([word for word, _ in found])
        tags.append(None if cell is None else [tag for _, tag in found])
        total += len(spans)
        inside += sum(_cuts(written, start) or _cuts(written, end) for start, end, _ in spans)
    if inside:
        warn(f"`{table.where}`: {inside:,} of {total:,} spans begin or end inside of what blanks separate as a word")
    table = table.take(kept)
    return replace(table, columns={**table.columns, text: words, label: tags})


def _are_spans(cells: Sequence[Any]) -> bool:
    filled = [span for cell in cells if isinstance(cell, list | tuple) for span in cell]
    return bool(filled) and all(_span(one) is not None for one in filled)


def _span(value: Any) -> Span | None:
    """A span in any of its forms: `[0, 4, "PER"]` (doccano, spaCy), or an object (Prodigy, doccano, Label Studio)."""
    parts: Any = value
    if isinstance(value, dict):
        parts = [_first(value, keys) for keys in (STARTS, ENDS, NAMES)]
    match parts:
        case [int(start), int(end), str(name)]:
            return start, end, name
    return None


def _checked(table: Table, row: int, label: str, text: str, cell: Sequence[Any]) -> list[Span]:
    """The spans of one text, in order. Raises `DataError` for a span that cannot be used."""
    spans: list[Span] = []
    behind = 0
    for one in sorted(cell, key=lambda one: _span(one) or (0, 0, "")):
        start, end, name = _span(one) or (0, 0, "")
        there = text[max(start, 0) : end]
        what = None
        if start < 0 or end > len(text) or not there.strip():
            what = "is no part of the text"
        elif start < behind:
            what = "overlaps another"
        elif isinstance(one, dict) and one.get("text", there) != there:
            what = f"is {shown(there)} here"
        if what is not None:
            raise DataError(
                f"{table.place(row)}: the span {shown(one)} in `{label}` {what}",
                hint="a word has one tag; spans are counted in characters (not bytes or halves of emoji), from 0",
            )
        spans.append((start, end, name))
        behind = end
    return spans


def _tagged(text: str, spans: Sequence[Span]) -> Iterator[tuple[str, str]]:
    """The words of a text with their tags."""
    position, pattern = 0, pattern_of(text)
    for start, end, name in [*spans, (len(text), len(text), "")]:
        for word in pattern.findall(text[position:start]):
            yield word, "O"
        for number, word in enumerate(pattern.findall(text[start:end])):
            yield word, f"{'I' if number else 'B'}-{name}"
        position = end


def _cuts(text: str, place: int) -> bool:
    """Whether a position in a text is inside a word, between letters or digits."""
    around = text[max(place - 1, 0) : place + 1]
    return len(around) == 2 and around.isalnum() and len(words_of(around)) == 1
