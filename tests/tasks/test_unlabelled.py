"""More text than labels: where rows without a label come from, and what becomes of them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distiller.config import Task
from distiller.errors import ConfigError, DataError
from distiller.tasks import load_task
from distiller.tasks.data import QuestionSplit, Split, TaggedSplit, TaskData, joined, without_labels
from distiller.tasks.encode import EncodedSplit
from distiller.tasks.joined import JoinedSplit
from distiller.tasks.sources import located
from tasks.tiny import table


def lines(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def dev(tmp_path: Path) -> str:
    return table(tmp_path / "dev.csv", "text,label", ("d", "n"), ("e", "y"))


def counts(data: TaskData) -> tuple[int, int]:
    return data.labelled, data.unlabelled


def test_rows_with_an_empty_label_are_rows_without_one(tmp_path: Path, dev: str) -> None:
    train = table(tmp_path / "t.csv", "text,label", ("a", "y"), ("b", ""), ("c", "n"), ("z", " "), ("d", ""))
    data = load_task(Task(train=train, dev=dev))
    assert (counts(data), data.repeated) == ((2, 1 + 1), 1)  # the text d is one of the development set
    rows = data.splits["unlabelled"]
    assert isinstance(rows, Split)
    assert (rows.texts, rows.labels, rows.ids) == (("b", "z"), None, (1, 3))
    assert data.splits["train"].ids == (0, 2)
    assert data.labels == ("n", "y")
    with pytest.raises(DataError, match=r"t\.csv`, line 4: `label` is 'n', which is not in"):  # lines of the file
        load_task(Task(train=train, dev=dev, labels=["y", "x"]))


def test_development_rows_are_held_out_of_labelled_ones(tmp_path: Path) -> None:
    rows = [(f"t{n}", "yn"[n % 2] if n < 20 else "") for n in range(100)]
    data = load_task(Task(train=table(tmp_path / "t.csv", "text,label", *rows), dev_fraction=0.3))
    assert len(data.splits["dev"]) == 6
    assert data.splits["dev"].labelled
    assert counts(data) == (14, 80)


def test_a_training_file_without_labels_needs_labelled_development_rows(tmp_path: Path, dev: str) -> None:
    bare = table(tmp_path / "bare.csv", "text", ("a",), ("b",))
    data = load_task(Task(train=bare, dev=dev))
    assert (counts(data), data.labels, data.kind) == ((0, 2), ("n", "y"), "classification")
    assert load_task(Task(train=bare, dev=dev), head=["Y", "maybe", "N"]).labels == ("y", "maybe", "n")
    assert load_task(Task(train=bare, dev=dev), head=["other", "n"]).labels == ("n", "y")
    with pytest.raises(DataError, match=r"bare\.csv` has no column `label`"):
        load_task(Task(train=bare))
    empty = table(tmp_path / "empty.csv", "text,label", ("a", ""), ("b", ""))
    with pytest.raises(DataError, match=r"empty\.csv`: `label` is empty in every row"):
        load_task(Task(train=empty))
    scores = table(tmp_path / "scores.csv", "text,label", ("f", "1.5"), ("g", "0.25"))
    assert load_task(Task(train=bare, dev=scores)).kind == "regression"


def test_files_of_texts(tmp_path: Path, dev: str) -> None:
    train = table(tmp_path / "t.csv", "message,label,other", ("a", "y", 1), ("b", "n", 2))
    dev = table(tmp_path / "dev.csv", "message,label", ("c", "y"))
    (tmp_path / "more.txt").write_text("b\nf, g\n\nh\n", encoding="utf-8")
    csv_file = table(tmp_path / "more.csv", "id,message", (1, "k"), (2, "c"))
    task = Task(train=train, dev=dev, text="message", unlabelled=[str(tmp_path / "more.txt"), csv_file])
    data = load_task(task)
    rows = data.splits["unlabelled"]
    assert isinstance(rows, Split)
    assert rows.texts == ("f, g", "h", "k")  # `b` is a training text, `c` a development text
    assert (data.repeated, rows.labels, len(set(rows.ids))) == (2, None, 3)
    few = load_task(task.model_copy(update={"unlabelled_limit": 2})).splits["unlabelled"]
    assert len(few) == 2
    alone = table(tmp_path / "alone.csv", "sentence", ("k",))  # one column, whatever it is called
    assert load_task(task.model_copy(update={"unlabelled": alone})).splits["unlabelled"].texts == ("k",)
    other = table(tmp_path / "other.csv", "id,words", (1, "k"))
    with pytest.raises(DataError, match=r"other\.csv` has no column `message`"):
        load_task(task.model_copy(update={"unlabelled": other}))
    with pytest.raises(ConfigError, match="`unsupervised` is no file name"):
        load_task(task.model_copy(update={"unlabelled": "unsupervised"}))


def test_paths_are_spelt_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "more.txt").write_text("x\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert located(Task(unlabelled="more.txt")).unlabelled == [str(tmp_path / "more.txt")]
    assert located(Task(data="hub/name", unlabelled=["unsupervised"])).unlabelled == ["unsupervised"]
    assert located(Task()).unlabelled is None


def test_labels_of_only_so_many_rows(tmp_path: Path) -> None:
    rows = [(f"t{n}", "yn"[n % 2]) for n in range(60)]
    task = Task(train=table(tmp_path / "t.csv", "text,label", *rows), label_limit=10)
    data = load_task(task)
    assert counts(data) == (10, 44)
    assert set(data.splits["train"].ids).isdisjoint(data.splits["unlabelled"].ids)
    assert load_task(task.model_copy(update={"label_limit": 500})).unlabelled == 0
    again = load_task(task.model_copy(update={"split_seed": 14}))
    assert set(again.splits["train"].ids) != set(data.splits["train"].ids)


def test_pairs(tmp_path: Path) -> None:
    train = table(tmp_path / "t.csv", "q,a,label", ("a", "b", "y"), ("c", "d", "n"), ("e", "f", ""))
    more = table(tmp_path / "more.csv", "q,a", ("a", "b"), ("a", "x"))
    dev = table(tmp_path / "dev.csv", "q,a,label", ("a", "z", "y"))
    data = load_task(Task(train=train, dev=dev, text="q", text_pair="a", unlabelled=more))
    rows = data.splits["unlabelled"]
    assert isinstance(rows, Split)
    assert (rows.texts, rows.pairs) == (("e", "a"), ("f", "x"))


def test_sentences_without_tags(tmp_path: Path) -> None:
    train = lines(
        tmp_path / "t.jsonl",
        {"text": ["a", "b"], "label": ["X", "Y"]},
        {"text": ["c"], "label": ["X"]},
        {"text": ["d", "e"], "label": None},
    )
    dev = lines(tmp_path / "dev.jsonl", {"text": ["f", "g"], "label": ["Y", "X"]})
    (tmp_path / "more.txt").write_text("two words\n  \nf g\n", encoding="utf-8")
    listed = lines(tmp_path / "more.jsonl", {"text": ["h", "i", "j"]})
    data = load_task(Task(train=train, dev=dev, unlabelled=[str(tmp_path / "more.txt"), listed]))
    rows = data.splits["unlabelled"]
    assert isinstance(rows, TaggedSplit)
    assert (rows.words, rows.tags) == ((("d", "e"), ("two", "words"), ("h", "i", "j")), None)
    assert (data.labels, data.labelled) == (("X", "Y"), 2)


def test_questions_without_answers(tmp_path: Path) -> None:
    def question(number: int, **more: Any) -> dict[str, Any]:
        return {"id": f"q{number}", "question": "who?", "context": f"it was Ann {number}", **more}

    right = {"answers": {"text": ["Ann"], "answer_start": [7]}}
    train = lines(tmp_path / "t.jsonl", question(0, **right), question(1, **right))
    more = lines(tmp_path / "more.jsonl", question(5), question(1))
    data = load_task(Task(kind="qa", train=train, dev=train, unlabelled=more))
    rows = data.splits["unlabelled"]
    assert isinstance(rows, QuestionSplit)
    assert (rows.question_ids, rows.answers, data.repeated) == (("q5",), None, 1)


SPLITS = [
    (Split("a", ("x", "y"), labels=(0, 1)), (0, 1, -100)),
    (Split("a", ("x", "y"), labels=(0.5, 1.5)), (0.5, 1.5, math.nan)),
    (TaggedSplit("a", (("x", "y"), ("z",)), ((0, 1), (1,))), ((0, 1), (1,), (-100, -100))),
]


@pytest.mark.parametrize(("split", "labels"), SPLITS)
def test_rows_without_labels_beside_labelled_ones_are_marked(split: Any, labels: tuple[Any, ...]) -> None:
    both = joined(split, without_labels(split.take([0])))
    found = both.tags if isinstance(both, TaggedSplit) else both.labels  # type: ignore[union-attr]
    np.testing.assert_equal(found, labels)
    assert (both.name, both.ids) == ("a", (0, 1, 2))
    neither = joined(without_labels(split), without_labels(split))
    assert not neither.labelled
    assert len(set(neither.ids)) == 4


@pytest.mark.parametrize(
    ("labels", "per_token", "missing"),
    [
        (np.asarray([1, 0]), False, -100),
        (np.asarray([1.5, 0.5], dtype=np.float32), False, math.nan),
        (np.asarray([[1, 2], [0, 1]]), False, [-100, -100]),
        (np.asarray([1, 2, 3, 1, 1]), True, [-100, -100, -100]),
        (None, False, None),
    ],
)
def test_tokens_of_several_splits_end_to_end(labels: Any, per_token: bool, missing: Any) -> None:
    def encoded(labels: Any, lengths: list[int]) -> EncodedSplit:
        tokens = np.arange(sum(lengths), dtype=np.int32)
        return EncodedSplit("s", lengths, tokens, None, labels, 0, per_token=per_token)

    first, second = encoded(labels, [2, 3]), encoded(None, [3, 1])
    both = JoinedSplit([first, second], [2, 2])
    assert (len(both), both.lengths) == (4, [2, 3, 3, 1])
    for row in range(2):
        assert both[row] == first[row]
        assert both[2 + row]["input_ids"] == second[row]["input_ids"]
        assert both[2 + row]["example_id"] == 2 + row
    np.testing.assert_equal(both[2].get("labels"), missing)
    assert both[-1]["example_id"] == 3
    with pytest.raises(IndexError):
        both[4]
    assert both.fingerprint != JoinedSplit([second, first], [2, 2]).fingerprint
