"""The columns that are taken where a task names none, and those among which a user has to choose."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks import load_task
from distiller.tasks.usual_columns import LABELS, PAIRS

ROWS = 20


def cells(name: str) -> list[str]:
    """The cells of a made-up column: texts, but for a few names."""
    made = {
        "idx": "{n}",
        "uid": "u{n}x",
        "author": "Ann Lee {n}",
        "sentence1_parse": "( a ( film {n} ) )",
        "length": "{n}.5",
        "question_id": "q{n}",
        "p(a)": "0.{n}",
    }
    plain = "the {name} of number {n}"
    labels = {label.casefold() for label in (*LABELS, "verdict")}
    shape = "a{m}" if name.strip().casefold() in labels else made.get(name, plain)
    return [shape.format(name=name, n=n, m=n % 2) for n in range(ROWS)]


def written(folder: Path, *names: str, ending: str = ".csv") -> str:
    rows = list(zip(*map(cells, names), strict=True))
    file = folder / f"rows{ending}"
    with file.open("w", encoding="utf-8", newline="") as out:
        if ending == ".csv":
            csv.writer(out).writerows([names, *rows])
        else:
            out.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    return str(file)


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_pairs_are_known_by_their_names(tmp_path: Path, first: str, second: str, ending: str) -> None:
    data = load_task(Task(train=written(tmp_path, "idx", second, first, "label", ending=ending)))
    assert data.pairs
    train = data.splits["train"]
    assert train.texts[0].startswith(f"the {first} of")
    assert train.pairs[0].startswith(f"the {second} of")
    assert {"text": "text", **data.columns} == {"text": first, "text_pair": second}
    assert "columns are taken to be" in data.notes[0]
    assert f"task.text_pair={second}" in data.notes[0]


@pytest.mark.parametrize(
    ("names", "taken"),
    {
        ("text", "label"): {},
        ("text", "title", "label"): {},
        ("Text", "Label"): {"text": "Text", "label": "Label"},
        ("text", "sentiment"): {"label": "sentiment"},
        ("anything", "label"): {"text": "anything"},
        ("idx", "anything", "length", "label"): {"text": "anything"},
        ("uid", "anything", "label"): {"text": "anything"},
        ("Stars", "anything"): {"text": "anything", "label": "Stars"},
        ("pairID", "premise", "hypothesis", "sentence1_parse", "gold_label"): {
            "text": "premise",
            "text_pair": "hypothesis",
            "label": "gold_label",
        },
        ("Sentence1", "Sentence2", "score"): {"text": "Sentence1", "text_pair": "Sentence2", "label": "score"},
    }.items(),
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_where_there_is_one_choice_it_is_taken(tmp_path: Path, names: tuple[str, ...], taken: dict[str, str]) -> None:
    assert load_task(Task(train=written(tmp_path, *names))).columns == taken


@pytest.mark.parametrize(
    ("names", "given", "complaint"),
    {
        "two texts": (("title", "body", "label"), {}, "no column `text`"),
        "a text and names of people": (("author", "body", "label"), {}, "no column `text`"),
        "two pairs": (("premise", "hypothesis", "text_a", "text_b", "label"), {}, "no column `text`"),
        "two labels": (("text", "stars", "sentiment"), {}, "no column `label`"),
        "no label": (("text", "length"), {}, "no column `label`"),
        "neither": (("anything", "verdict"), {}, "no column `label`"),
        "another name given": (("sentence", "label"), {"text": "review"}, "no column `review`"),
        "another label given": (("text", "stars"), {"label": "mark"}, "no column `mark`"),
    }.values(),
)
def test_where_there_are_several_it_is_refused(
    tmp_path: Path, names: tuple[str, ...], given: Any, complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        load_task(Task(train=written(tmp_path, *names), **given))
    assert "task." in str(caught.value.hint)


def test_a_label_of_the_development_rows_is_the_label(tmp_path: Path) -> None:
    dev = written(tmp_path, "text", "label")
    train = tmp_path / "train.csv"
    train.write_text("".join(f"{text},{n}\n" for text, n in [("text", "score"), ("a b", 1), ("b c", 2)]), "utf-8")
    data = load_task(Task(train=str(train), dev=dev))
    assert (data.labels, data.labelled) == (("a0", "a1"), 0)


def test_unlabelled_texts_have_the_columns_of_the_others(tmp_path: Path) -> None:
    train = written(tmp_path, "question1", "question2", "is_duplicate")
    more = tmp_path / "more.csv"
    more.write_text("question1,question2\na new one,and another\n", encoding="utf-8")
    data = load_task(Task(train=train, unlabelled=str(more)))
    assert (data.splits["unlabelled"].texts, data.splits["unlabelled"].pairs) == (("a new one",), ("and another",))


def test_words_and_tags_by_their_usual_names(tmp_path: Path) -> None:
    rows = [{"id": str(n), "tokens": [f"Ann{n}", "sings"], "ner_tags": ["B-PER", "O"]} for n in range(ROWS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    data = load_task(Task(train=str(tmp_path / "rows.jsonl")))
    assert (data.kind, data.labels) == ("tagging", ("B-PER", "O"))
    assert data.columns == {"text": "tokens", "label": "ner_tags"}


def test_a_data_set_is_read_by_its_usual_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    names = ("premise", "hypothesis", "label", "idx")
    whole = datasets.Dataset.from_dict({name: cells(name) for name in names})
    datasets.DatasetDict({"train": whole}).save_to_disk(tmp_path / "saved")
    data = load_task(Task(data=str(tmp_path / "saved")))
    assert data.columns == {"text": "premise", "text_pair": "hypothesis"}
