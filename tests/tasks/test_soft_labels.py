"""Probabilities as labels: every form in which they are written, and what is refused."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distiller.config import Task
from distiller.errors import ConfigError, DataError, DistillerError
from distiller.tasks import load_task
from distiller.tasks.data import Split, TaskData
from distiller.tasks.readers import read_table
from distiller.tasks.transfer import with_gold_as_soft
from distiller.tasks.written_lists import parsed_cell
from tasks.test_unlabelled import lines, table


@pytest.fixture
def dev(tmp_path: Path) -> str:
    return table(tmp_path / "dev.csv", "text,label", ("d", "n"), ("e", "y"))


def soft(data: TaskData, split: str = "train") -> Any:
    rows = data.splits[split]
    assert isinstance(rows, Split)
    return None if rows.soft is None else rows.soft.tolist()


def near(values: Any) -> Any:
    return pytest.approx(np.asarray(values), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    "cells",
    [
        ([0.25, 0.75], [1, 0.0]),
        ("[0.25, 0.75]", "[1.0, 0.0]"),
        ("(0.25, 0.75)", "[1., 0.]"),
        ("[0.25 0.75]", "[1. 0.]"),
        ({"n": 0.25, "y": 0.75}, {"n": 1.0}),
        ("{'y': 0.75, 'n': 0.25}", '{"n": 1, "y": 0}'),
        (["y", "n", "y", "y"], ["n", "n"]),
        ("['y', 'n', 'y', 'y']", "['n']"),
    ],
)
def test_every_form_says_the_same(tmp_path: Path, dev: str, cells: tuple[Any, Any]) -> None:
    rows = [{"text": text, "label": cell} for text, cell in zip("ab", cells, strict=True)]
    data = load_task(Task(train=lines(tmp_path / "t.jsonl", *rows), dev=dev))
    assert (data.kind, data.labels, data.soft, data.labelled) == ("classification", ("n", "y"), 2, 2)
    assert np.asarray(soft(data)) == near([[0.25, 0.75], [1, 0]])
    assert data.splits["train"].labels == (1, 0)  # type: ignore[union-attr]


def test_columns_of_classes(tmp_path: Path, dev: str) -> None:
    path = table(tmp_path / "t.csv", "text,y,n,label", ("a", 0.9, 0.1, ""), ("b", "", "", "n"), ("c", 0.2, 0.8, "y"))
    data = load_task(Task(train=path, dev=dev, probabilities=["n", "y"]))
    assert np.asarray(soft(data)) == near([[0.1, 0.9], [np.nan, np.nan], [0.8, 0.2]])
    assert data.splits["train"].labels == (1, 0, 1)  # type: ignore[union-attr]  # the label before the most probable
    written = table(tmp_path / "p.csv", "text,p(n),p(y)", ("a", 0.9, 0.1), ("b", 0.3, 0.7))
    data = load_task(Task(train=written, dev=dev, probabilities="p(*)"))
    assert (data.labels, data.soft) == (("n", "y"), 2)
    with pytest.raises(DataError, match=r"no `label` is one of the columns of probabilities, `p\(n\)`") as error:
        load_task(Task(train=written, dev=dev, probabilities=["p(n)", "p(y)"]))
    assert "task.probabilities='p(*)'" in str(error.value.hint)
    bare = table(tmp_path / "bare.csv", "text", ("z",))
    texts = load_task(Task(train=path, dev=dev, probabilities=["n", "y"], unlabelled=bare))
    assert soft(texts, "unlabelled") is None
    texts = load_task(Task(train=dev, dev=table(tmp_path / "d.csv", "text,label", ("q", "y")), unlabelled=written))
    assert (texts.labels, texts.soft, texts.unlabelled) == (("n", "y"), 2, 2)  # as `distiller label` writes them


def test_the_order_of_bare_numbers_is_that_of_the_labels(tmp_path: Path, dev: str) -> None:
    path = lines(tmp_path / "t.jsonl", {"text": "a", "label": [0.9, 0.1]}, {"text": "b", "label": [0.2, 0.8]})
    data = load_task(Task(train=path, dev=dev))
    assert data.splits["train"].labels == (0, 1)  # type: ignore[union-attr]
    assert any("numbers in `label` are taken for `n`, `y`, in this order" in note for note in data.notes)
    task = Task(train=path, dev=dev, labels=["y", "n"])
    assert (load_task(task).labels, load_task(task).splits["dev"].labels) == (("y", "n"), (1, 0))  # type: ignore[union-attr]
    assert load_task(Task(train=path, dev=dev), head=["Y", "N"]).labels == ("y", "n")
    three = lines(tmp_path / "3.jsonl", {"text": "a", "label": [0.5, 0.3, 0.2]}, {"text": "b", "label": [0, 0.3, 0.7]})
    with pytest.raises(DataError, match="has 3 numbers in each row, and nothing says of which classes"):
        load_task(Task(train=three, dev=dev))


def test_rows_that_are_not_sure_enough_are_left_out_and_counted(tmp_path: Path, dev: str) -> None:
    rows = [{"text": f"t{n}", "label": [n / 10, 1 - n / 10]} for n in range(1, 10)]
    task = Task(train=lines(tmp_path / "t.jsonl", *rows), dev=dev)
    data = load_task(task.model_copy(update={"min_confidence": 0.75}))
    assert (len(data.splits["train"]), data.unsure) == (4, 5)
    with pytest.raises(DataError, match="in no training row"):
        load_task(task.model_copy(update={"min_confidence": 0.99}))
    with pytest.raises(ConfigError, match="no training row has probabilities"):
        load_task(Task(train=dev, dev=dev, min_confidence=0.5))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([0.6, 0.6], r"t\.jsonl`, line 3: `label` is \[0\.6, 0\.6\], and probabilities sum to one"),
        ([1.5, -0.5], "probabilities sum to one"),
        ([0.5, 0.25, 0.25], "line 3: `label` has 3 numbers for 2 classes"),
        ({"maybe": 1.0, "n": 0.0}, "line 3: `label` names 'maybe', which is no class"),
        ("high", "line 3: `label` should be probabilities, got 'high'"),
        (["a", 0.5], "should be probabilities"),
    ],
)
def test_what_is_no_distribution_is_located(tmp_path: Path, dev: str, bad: Any, said: str) -> None:
    rows = [{"text": "a", "label": [0.5, 0.5]}, {"text": "b", "label": [0.1, 0.9]}, {"text": "c", "label": bad}]
    with pytest.raises(DistillerError, match=said) as caught:
        load_task(Task(train=lines(tmp_path / "t.jsonl", *rows), dev=dev, labels=["n", "y"]))
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_label_is_certain_where_nothing_else_is_said() -> None:
    train = Split("train", ("a", "b"), labels=(0, 1), soft=np.asarray([[np.nan] * 2, [0.3, 0.7]], dtype=np.float32))
    data = TaskData("t", "classification", ("n", "y"), ("accuracy",), {"train": train})
    assert np.asarray(soft(with_gold_as_soft(data))) == near([[1, 0], [0.3, 0.7]])
    silent = Split("train", ("a", "b"), labels=(0, 1))
    with pytest.raises(ConfigError, match="no training row has probabilities"):
        with_gold_as_soft(TaskData("t", "classification", ("n", "y"), ("accuracy",), {"train": silent}))
    more = {"train": train, "unlabelled": Split("unlabelled", ("c",))}
    with pytest.raises(ConfigError, match="1 training rows have neither a label nor probabilities"):
        with_gold_as_soft(TaskData("t", "classification", ("n", "y"), ("accuracy",), more))


@pytest.mark.parametrize("text", ["[a comment", "(sic)", "{", "[deep" * 50, "[x] done"])
def test_a_text_in_brackets_stays_a_text(text: str) -> None:
    assert parsed_cell(text) == text


def test_parquet_and_its_arrays(tmp_path: Path, dev: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    parquet.write_table(arrow.table({"text": ["a", "b"], "label": [[0.5, 0.5], [0.1, 0.9]]}), path)
    assert read_table(path).columns["label"] == [[0.5, 0.5], [0.1, 0.9]]
    assert load_task(Task(train=str(path), dev=dev)).soft == 2
    assert json.dumps(soft(load_task(Task(train=str(path), dev=dev))))


@pytest.mark.parametrize("odd", [[0.9, 0.9], [1, 0], None])
def test_the_first_row_alone_does_not_say_what_a_column_holds(tmp_path: Path, odd: Any) -> None:
    rows = [{"text": f"words {n}", "label": [0.9, 0.1] if n % 2 else [0.25, 0.75]} for n in range(20)]
    rows[0]["label"] = odd
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = load_task(Task(train=str(tmp_path / "t.jsonl"), labels=["a", "b"], skip_bad=True))
    assert (data.kind, data.skipped) == ("classification", {"train": 1} if odd == [0.9, 0.9] else {})


@pytest.mark.parametrize("total", [100, 5])
@pytest.mark.parametrize("named", [True, False])
def test_percentages_and_counts_are_no_probabilities(tmp_path: Path, total: int, named: bool) -> None:
    numbers = [[total - n % 3, n % 3] for n in range(20)]
    cells: list[Any] = [dict(zip("ab", pair, strict=True)) for pair in numbers] if named else numbers
    rows = [{"text": f"words {n}", "label": cell} for n, cell in enumerate(cells)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match=f"sum to {total} in every row") as caught:
        load_task(Task(train=str(tmp_path / "t.jsonl"), labels=["a", "b"]))
    assert caught.value.hint == f"divide them by {total}"
