"""Files as users have them: read as they were meant, refused in one line, or read as they stand and spoken of."""

import json
from pathlib import Path
from typing import Any

import pytest

from distiller.config import Task
from distiller.errors import DistillerError, Notice
from distiller.tasks import load_task
from distiller.tasks.data import Split

TEXTS = [f"the {('dull', 'lovely')[row % 2]} film of {row}" for row in range(24)]
LABELS = [("bad", "good")[row % 2] for row in range(24)]


def rows(*columns: list[Any], header: str = "text,label", mark: str = ",") -> str:
    """A table of text, with a header unless that is empty."""
    lines = [mark.join(str(cell) for cell in row) for row in zip(*columns, strict=True)]
    return "\n".join([*([header] if header else []), *lines]) + "\n"


def objects(**columns: list[Any]) -> str:
    return "\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True))


SEVERAL = [("bad", "good;long", "good", "long;bad", "long")[row % 5] for row in range(24)]
SENTENCES = [f"Ann{row} met Bo" for row in range(24)]
TAGS = ["B-PER O B-PER"] * 24
ANSWERED = {"question": ["Where?"] * 12, "context": [f"In Rome{row}." for row in range(12)]}
READ: dict[str, tuple[str, str, dict[str, Any], str, tuple[str, ...]]] = {
    "a header in other case": ("t.csv", rows(TEXTS, LABELS, header="Text,LABEL"), {"columns": ["text", "label"]},
                               "classification", ("bad", "good")),
    "commas in .txt": ("t.txt", rows(TEXTS, LABELS), {}, "classification", ("bad", "good")),
    "thousands and fractions": ("t.csv", rows(TEXTS, [f"1.0{row + 10},5" for row in range(24)], header="text;label",
                                              mark=";"), {}, "regression", ()),
    "several names in a cell": ("t.csv", rows(TEXTS, SEVERAL), {}, "multilabel", ("bad", "good", "long")),
    "several names, asked for": ("t.csv", rows(TEXTS, [f'"{one}"'.replace(";", ", ") for one in SEVERAL]),
                                 {"kind": "multilabel"}, "multilabel", ("bad", "good", "long")),
    **{
        f"several names between `{mark}`": ("t.csv", rows(TEXTS, [one.replace(";", mark) for one in SEVERAL]),
                                            {"kind": "multilabel"}, "multilabel", ("bad", "good", "long"))
        for mark in ("/", "+", "&", " ")
    },
    "a name with blanks, asked for": ("t.csv", rows(TEXTS, ["very good", "good", "bad/ill", "bad"] * 6),
                                      {"kind": "multilabel"}, "multilabel", ("bad", "bad/ill", "good", "very good")),
    "sets as pandas writes them": ("t.csv", rows(TEXTS, ["\"{'a', 'b'}\"", "{'a'}"] * 12), {}, "multilabel",
                                   ("a", "b")),
    "a column for each class": ("t.csv", rows(TEXTS, [0, 1] * 12, [1, 1, 0] * 8, header="text,rude,loud"),
                                {"labels": ["rude", "loud"]}, "multilabel", ("rude", "loud")),
    "tags between blanks": ("t.csv", rows(SENTENCES, TAGS), {}, "tagging", ("B-PER", "O")),
    "tags between blanks, asked for": ("t.csv", rows(SENTENCES, ["N V N"] * 24), {"kind": "tagging"}, "tagging",
                                       ("N", "V")),
    "questions without ids": ("t.jsonl", objects(**ANSWERED, answers=[{"text": ["Rome"], "answer_start": [3]}] * 12),
                              {}, "qa", ()),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_is_meant_is_read(name: str, tmp_path: Path) -> None:
    file, content, fields, kind, labels = READ[name]
    (tmp_path / file).write_text(content, encoding="utf-8")
    data = load_task(Task(train=str(tmp_path / file), **fields))
    assert (data.kind, data.labels) == (kind, labels)
    assert sum(map(len, data.splits.values())) == (12 if kind == "qa" else 24)


def test_bytes_in_parquet_are_texts(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"text": [text.encode() for text in TEXTS], "label": [label.encode() for label in LABELS]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    data = load_task(Task(train=str(tmp_path / "t.parquet")))
    assert data.labels == ("bad", "good")


NUMBERS = [f"{row / 7:.3f}" for row in range(24)]
BITS = [[row % 2, 1] for row in range(24)]
REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a header among rows": ("t.csv", rows(TEXTS, LABELS, header="review,mood"), {"columns": ["text", "label"]},
                            "line 1: 'review', 'mood' looks like a header"),
    "a header before numbers": ("t.csv", rows(TEXTS, NUMBERS, header="review,stars"), {"columns": ["text", "label"]},
                                "looks like a header"),
    "a header in another order": ("t.csv", rows(LABELS, TEXTS, header="Label,Text"), {"columns": ["text", "label"]},
                                  "names its columns Label, Text"),
    "a header of words": ("t.conll", "token tag\n\nAnn N\nran V\n\nBo N\nran V\n", {}, "line 1: 'token tag' names"),
    "thousands or fractions": ("t.tsv", rows(TEXTS, [f"1,{row + 100}" for row in range(24)], header="text\tlabel",
                                             mark="\t"), {}, "line 2: `label` is '1,100', where the comma may"),
    "bits without names": ("t.jsonl", objects(text=TEXTS, label=BITS), {}, "1 and 0 for 2 classes without names"),
    "no column of lists": ("t.csv", rows(TEXTS, [0, 1] * 12, header="text,rude"), {"kind": "multilabel"},
                           "has no column `label` of lists"),
    "lists on lines": ("t.jsonl", '["a", "b"]\n["c", "d"]\n', {}, "line 1: not a JSON object but"),
    "one column twice": ("t.csv", rows(TEXTS, LABELS), {"text": "label"}, "are the same column `label`"),
    "a name twice": ("t.csv", rows(TEXTS, LABELS, header=""), {"columns": ["text", "text"]}, "names `text` twice"),
    "another encoding": ("t.csv", rows(TEXTS, LABELS) + " ", {"encoding": "utf-16"}, "is not written in utf-16"),
    "a pattern that no column has": ("t.csv", rows(TEXTS, LABELS), {"probabilities": "p_*"}, "task.probabilities"),
    "windows of classes": ("t.csv", rows(TEXTS, LABELS), {"stride": 8}, "task.stride has no meaning"),
    "a configuration of a file": ("t.csv", rows(TEXTS, LABELS), {"config": "sst2"}, "task.config has no meaning"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_refused(name: str, tmp_path: Path) -> None:
    file, content, fields, words = REFUSED[name]
    (tmp_path / file).write_text(content, encoding="utf-8")
    with pytest.raises(DistillerError) as error:
        load_task(Task(train=str(tmp_path / file), **fields))
    assert words in error.value.message
    assert error.value.hint


def spoken(tmp_path: Path, labels: list[str], *, dev: str | None = None, texts: list[str] | None = None) -> str:
    train = tmp_path / "train.csv"
    train.write_text(rows(texts or TEXTS, labels), encoding="utf-8")
    if dev is not None:
        (tmp_path / "dev.csv").write_text(dev, encoding="utf-8")
    return "\n".join(load_task(Task(train=str(train), dev=dev and str(tmp_path / "dev.csv"))).notes)


def test_odd_classes_and_rows_are_spoken_of(tmp_path: Path) -> None:
    assert "differ in case only: `Bad`, `bad`" in spoken(tmp_path, ["Bad", *LABELS[1:]])
    assert "`N/A`, often a missing value, is a class of 2 rows" in spoken(tmp_path, [*LABELS[:22], "N/A", "N/A"])
    assert "`None`, often a missing value, is a class of 2 rows" in spoken(tmp_path, [*LABELS[:22], "None", "None"])
    assert "missing" not in spoken(tmp_path, ["none", "some"] * 12)
    for odd in ("go\u0301\u200bod", "gó  od", "gó\u00a0od"):
        assert "in nothing that can be seen" in spoken(tmp_path, [odd, *["gó od", "góod"] * 11, "gó od"])
    for mark in "/+& ":
        said = spoken(tmp_path, [one.replace(";", mark) for one in SEVERAL])
        assert f"classes such as `good{mark}long` are others with `{mark}` between: task.kind=multilabel" in said
    assert "between" not in spoken(tmp_path, ["very good", "good", "bad/ill", "bad"] * 6)
    assert "`label`, the name of the column, is a class" in spoken(tmp_path, ["label", *LABELS[1:]])
    assert "23 classes in 24 rows" in spoken(tmp_path, [f"{max(1, row)} stars" for row in range(24)])
    assert "look like tags of words" in spoken(tmp_path, ["B-PER", "O"] * 12, texts=[f"w{row}" for row in range(24)])
    assert "24 of 24 rows of dev are also in train" in spoken(tmp_path, LABELS, dev=rows(TEXTS, LABELS))
    assert "0 `bad`, 1 `good`" in spoken(tmp_path, LABELS, dev=rows([f"{text}!" for text in TEXTS], [0, 1] * 12))
    assert spoken(tmp_path, LABELS).count("\n") == 1  # its kind, and what is held out


def test_an_encoding_that_garbles_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(rows([f"{text} é" for text in TEXTS], LABELS), encoding="utf-8")
    with pytest.warns(Notice, match="can be read as UTF-8; task.encoding=latin-1"):
        train = load_task(Task(train=str(file), encoding="latin-1")).splits["train"]
    assert isinstance(train, Split)
    assert train.texts[0].endswith("Ã©")
