"""Files and data sets of one's own: what comes out, and every way in which they can be wrong."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.config import Task, load_run
from distiller.errors import ConfigError, DataError, Notice
from distiller.tasks import data as task_data
from distiller.tasks import load_task
from distiller.tasks.data import Split, TaskData, hold_out, sample
from distiller.tasks.sources import located
from tasks.tiny import refused, table


@pytest.fixture
def train(tmp_path: Path) -> str:
    return table(tmp_path / "train.csv", "text,label", *((f"text {i}", "yn"[i % 2]) for i in range(40)))


def test_labels_of_the_training_rows_sorted_are_the_classes(tmp_path: Path, train: str) -> None:
    dev = table(tmp_path / "dev.csv", "text,label", ("a", "y"), ("b", "n"))
    data = load_task(Task(train=train, dev=dev))
    assert (data.name, data.kind, data.labels, data.metric) == (tmp_path.name, "classification", ("n", "y"), "accuracy")
    assert data.splits["train"].labels == (1, 0) * 20
    assert data.splits["dev"].labels == (1, 0)
    assert load_task(Task(train=train, dev=dev, labels=["y", "n"])).splits["dev"].labels == (0, 1)
    numbers = table(tmp_path / "numbers.csv", "text,label", ("a", "10"), ("b", "2"), ("c", "1"))
    assert load_task(Task(train=numbers, dev=numbers)).labels == ("1", "2", "10")


def test_what_is_there_is_located_and_names_stay(tmp_path: Path, train: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("train", "glue", "inner"):  # a split and a data set may be called like a folder
        (tmp_path / name).mkdir()
    inside = table(tmp_path / "inner" / "train.csv", "text,label", ("a", "y"), ("b", "n"))
    for task, expected in [
        (Task(train="train.csv", dev="dev.csv"), {"train": train, "dev": "dev.csv"}),  # dev.csv is missing
        (Task(train="train.csv", data="inner"), {"train": inside, "data": str(tmp_path / "inner")}),
        (Task(data="someone/reviews", train="train"), {"data": "someone/reviews", "train": "train"}),
        (Task(name="rte", data="glue"), {"name": "rte", "data": str(tmp_path / "glue")}),
    ]:
        found = located(task)
        assert found == task.model_copy(update=expected)
        assert located(found) == found


def test_held_out_rows_are_fixed_by_the_seed_and_in_neither_side_twice(train: str) -> None:
    first, again = (load_task(Task(train=train, dev_fraction=0.25)) for _ in range(2))
    other = load_task(Task(train=train, dev_fraction=0.25, split_seed=14))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    kept, held_out = first.splits["train"], first.splits["dev"]
    assert len(held_out) == 10
    assert sorted(kept.ids + held_out.ids) == list(range(40))
    assert all(
        text == f"text {row}" for split in (kept, held_out) for text, row in zip(split.texts, split.ids, strict=True)
    )


def test_limits_keep_a_fixed_sample_and_a_metric_comes_first(train: str) -> None:
    data = load_task(Task(train=train, dev=train, train_limit=12, dev_limit=3, metric="f1"))
    assert [len(data.splits[name]) for name in ("train", "dev")] == [12, 3]
    assert data.metrics == ("f1", "accuracy", "f1_macro")
    assert set(data.splits["dev"].ids) < set(data.splits["train"].ids)
    assert "metric `rmse` is for regression" in refused(Task(train=train, metric="rmse"), ConfigError).message


@given(rows=st.integers(2, 200), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_holding_out_divides_the_rows(rows: int, fraction: float, seed: int) -> None:
    kept, aside = hold_out(rows, fraction, seed=seed)
    assert kept
    assert aside
    assert sorted([*kept, *aside]) == list(range(rows))
    assert abs(len(aside) - rows * fraction) <= 1
    assert set(sample(rows, 3, seed=seed)) <= set(sample(rows, 9, seed=seed))


def test_the_sample_of_a_seed_never_changes() -> None:
    assert sample(20, 5, seed=13) == [6, 9, 11, 12, 13]


def test_numbers_with_a_fraction_are_a_regression_and_pairs_are_kept(tmp_path: Path) -> None:
    path = table(tmp_path / "pairs.csv", "q,a,score", ("x", "y", "2.5"), ("z", "w", "5.000"), ("u", "v", "-1e3"))
    task = Task(train=path, dev=path, text="q", text_pair="a", label="score")
    data = load_task(task)
    assert (data.kind, data.labels, data.metrics) == ("regression", (), ("spearman", "pearson", "rmse"))
    assert data.splits["dev"].labels == (2.5, 5.0, -1000.0)
    assert data.splits["dev"].pairs == ("y", "w", "v")
    assert data.published_max_length == 128
    assert load_task(task.model_copy(update={"kind": "classification"})).labels == ("-1e3", "2.5", "5.000")
    whole = table(tmp_path / "whole.csv", "text,label", ("a", "0.0"), ("b", "1.0"))
    assert load_task(Task(train=whole, dev=whole)).kind == "classification"


@pytest.mark.parametrize("bad", ["nan", "inf", "high", "1,5"])
def test_a_regression_label_is_a_finite_number(tmp_path: Path, bad: str) -> None:
    path = table(tmp_path / "scores.csv", "text,label", ("a", "1.5"), ("b", bad), ("c", "2.5"))
    error = refused(Task(train=path, kind="regression"))
    assert error.message == f"`{path}`, line 3: `label` should be a finite number, got {bad!r}"


def test_an_absent_column_lists_those_there_are(tmp_path: Path, train: str) -> None:
    error = refused(Task(train=train, text="txt"))
    assert error.message == f"`{train}` has no column `txt`; its columns are `text`, `label`"
    assert (error.hint or "").startswith("did you mean `text`?")
    assert "no column `labels`" in refused(Task(train=train, label="labels")).message
    assert "no column `pair`" in refused(Task(train=train, text_pair="pair")).message


@pytest.mark.parametrize("order", [("review", "mark"), ("mark", "review")])
@pytest.mark.parametrize("given", [{}, {"text": "review"}])
def test_of_two_columns_it_is_said_which_is_the_text(tmp_path: Path, order: tuple[str, str], given: Any) -> None:
    row = {"review": "a film of {n} hours", "mark": "{n}"}
    lines = [",".join(row[name].format(n=n % 3) for name in order) for n in range(9)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(order), *lines]), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_task(Task(train=str(tmp_path / "t.csv"), **given))
    assert str(caught.value.hint).startswith("task.text=review task.label=mark")


@pytest.mark.parametrize(
    "row",
    [{"number": 1, "row": {"text": "a", "label": "b"}}, {"text": "a", "label": {"name": "b", "id": 3}}],
    ids=["rows in objects", "objects as classes"],
)
def test_cells_of_objects_are_named_in_the_hint(tmp_path: Path, row: dict[str, Any]) -> None:
    file = tmp_path / "train.jsonl"
    rows = [json.dumps(row).replace('"a"', f'"text {n}"').replace('"b"', f'"{"xy"[n % 2]}"') for n in range(8)]
    file.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_task(Task(train=str(file)))
    fields = dict(field.removeprefix("task.").split("=") for field in str(caught.value.hint).split(" or ")[0].split())
    assert load_task(Task(train=str(file), **fields)).labels == ("x", "y")


def test_a_label_outside_the_label_set_is_located(tmp_path: Path, train: str) -> None:
    dev = table(tmp_path / "dev.csv", "text,label", ("a", "y"), ("b", "maybe"))
    error = refused(Task(train=train, dev=dev))
    assert error.message == f"`{dev}`, line 3: `label` is 'maybe', which is not in the label set"
    assert (error.hint or "").startswith("the label set is `n`, `y`; --skip-bad")
    assert "train.csv`, line 2: `label` is 'y'" in refused(Task(train=train, labels=["n", "no"])).message
    none = table(tmp_path / "none.csv", "text,label", ("a", ""), ("b", ""))
    assert "none.csv`, line 2: `label` is empty" in refused(Task(train=train, dev=none)).message


def test_one_label_alone_teaches_nothing(tmp_path: Path) -> None:
    path = table(tmp_path / "same.csv", "text,label", ("a", "y"), ("b", "y"))
    assert "all 2 rows have the one `label` `y`" in refused(Task(train=path)).message
    number = table(tmp_path / "number.csv", "text,label", ("a", "2.5"), ("b", "2.5"))
    assert "the one `label` 2.5" in refused(Task(train=number)).message


def test_test_rows_may_be_unlabelled_but_not_wrongly_labelled(tmp_path: Path, train: str) -> None:
    bare = table(tmp_path / "bare.csv", "text", ("a",))
    hidden = table(tmp_path / "hidden.csv", "text,label", ("a", ""))
    for path in (bare, hidden):
        assert load_task(Task(train=train, test=path)).splits["test"].labels is None
    wrong = table(tmp_path / "wrong.csv", "text,label", ("a", "y"), ("a", "maybe"))
    assert "line 3" in refused(Task(train=train, test=wrong)).message
    partly = table(tmp_path / "partly.csv", "text,label", ("a", ""), ("b", "y"))
    data = load_task(Task(train=train, test=partly))
    assert (data.splits["test"].ids, data.splits["test"].labels) == ((1,), (1,))
    assert "1 of 2 rows of test have no label, and no score" in data.notes
    assert "no column `label`" in refused(Task(train=train, dev=bare)).message


def test_no_data_is_said_in_words(tmp_path: Path, train: str) -> None:
    assert "names its data" in refused(Task(), ConfigError).message
    assert "is no file name" in refused(Task(train="train"), ConfigError).message
    assert "task.data is the file" in refused(Task(data=train), ConfigError).message
    assert "names a label twice" in refused(Task(train=train, labels=["y", "y"]), ConfigError).message
    assert "there is no file" in refused(Task(train=str(tmp_path / "trains.csv"))).message
    with pytest.raises(ConfigError, match="no task is called `rtee`"):
        load_task(Task(name="rtee"))


def test_json_numbers_and_csv_text_name_the_same_classes(tmp_path: Path) -> None:
    train = tmp_path / "train.jsonl"
    train.write_text("".join(json.dumps({"text": "a", "label": i % 2}) + "\n" for i in range(4)), encoding="utf-8")
    dev = table(tmp_path / "dev.csv", "text,label", ("a", "1"))
    data = load_task(Task(train=str(train), dev=dev))
    assert (data.labels, data.splits["dev"].labels) == (("0", "1"), (1,))


def test_files_may_be_named_inside_the_folder(tmp_path: Path, train: str) -> None:
    inside = load_task(Task(data=str(tmp_path), train="train.csv"))
    assert inside.fingerprint == load_task(Task(train=train)).fingerprint


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5])
def test_a_fingerprint_made_in_pieces_is_that_of_the_whole(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_data, "PIECE", 2)
    texts = tuple(f'"ä" {row}' for row in range(rows))
    for pairs in (None, texts[::-1]):
        for labels in (None, tuple(range(rows)), ((0.0, 1.0),) * rows):
            whole = json.dumps([texts, pairs, labels]).encode()
            assert Split("train", texts, pairs, labels).fingerprint == hashlib.sha256(whole).hexdigest()


def test_the_fingerprint_follows_every_part() -> None:
    def build(**given: Any) -> str:
        parts = {"texts": ("a", "b"), "pairs": ("c", "d"), "labels": (0, 1)} | given
        kind, labels = parts.pop("kind", "classification"), parts.pop("names", ("n", "y"))
        split = Split("train", **parts)
        return TaskData("t", kind, labels, ("accuracy",), {"train": split, "dev": split}).fingerprint

    variants = [
        build(),
        build(texts=("a", "x")),
        build(pairs=("ac", "d")),
        build(pairs=None),
        build(labels=(1, 0)),
        build(labels=None),
        build(kind="regression"),
        build(names=("y", "n")),
    ]
    assert build() == variants[0]
    assert len(set(variants)) == len(variants)


def test_some_numbers_with_fractions_are_a_regression_and_a_word_among_them_is_named(tmp_path: Path) -> None:
    rows = [(f"pair {row}", ("4", "3.6", "1")[row % 3]) for row in range(30)]
    path = table(tmp_path / "likeness.csv", "text,label", *rows)
    data = load_task(Task(train=path))
    assert (data.kind, data.labels) == ("regression", ())
    assert "task.kind is taken to be regression, from numbers with fractions in `label`" in data.notes
    gap = table(tmp_path / "gap.csv", "text,label", *rows, ("the last", "n/a"))
    error = refused(Task(train=gap))
    assert error.message == f"`{gap}`, line 32: `label` should be a finite number, got 'n/a'"
    assert load_task(Task(train=gap, skip_bad=True)).skipped == {"train": 1}


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_rows_that_cannot_be_used_are_left_out_and_listed(tmp_path: Path, kind: Any) -> None:
    marks = ("2.5", "0.5") if kind == "regression" else ("y", "n")
    good = [(f"text {row}", marks[row % 2]) for row in range(20)]
    train = table(tmp_path / "train.csv", "text,label", ("", marks[0]), *good, ("no label", ""), ("short",))
    dev = table(tmp_path / "dev.csv", "text,label", ("a", marks[0]), ("b", "maybe"), ("c", marks[1]), ("d", "x", "z"))
    with pytest.warns(Notice, match=r"left out 2 bad row\(s\)"):
        data = load_task(Task(train=train, dev=dev, kind=kind, skip_bad=True))
    assert data.skipped == {"train": 2, "dev": 2}
    assert [len(data.splits[name]) for name in ("train", "dev", "unlabelled")] == [20, 2, 1]
    assert data.splits["train"].ids == tuple(range(1, 21))
    lines = sorted(int(line.partition(", line ")[2].partition(":")[0]) for line in data.left_out)
    assert lines == [2, 3, 5, 24]
    assert "--skip-bad" in (refused(Task(train=train, dev=dev, kind=kind)).hint or "")


def test_numbers_written_by_two_programs_name_the_same_classes(tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", "text,label", ("a", "1"), ("b", "0"), ("c", "1.0"), ("d", "2"))
    dev = table(tmp_path / "dev.csv", "text,label", ("a", "1.0"), ("b", "2.0"))
    data = load_task(Task(train=train, dev=dev))
    assert (data.labels, data.splits["dev"].labels) == (("0", "1", "2"), (1, 2))


def test_a_task_is_called_after_what_its_user_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reviews" / "data").mkdir(parents=True)
    rows = [(f"text {row}", "yn"[row % 2]) for row in range(10)]
    for name in ("train.csv", "stars.csv", "data/train_all.csv"):
        table(tmp_path / "reviews" / name, "text,label", *rows)
    monkeypatch.chdir(tmp_path / "reviews")
    for task, name in [
        (Task(train="train.csv"), "reviews"),
        (Task(train="data/train_all.csv"), "reviews"),
        (Task(train="stars.csv"), "stars"),
        (Task(data=str(tmp_path / "reviews"), train="stars.csv"), "reviews"),
    ]:
        assert load_task(task).name == name


def test_words_that_yaml_takes_for_something_else_are_class_names(tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", "text,label", *((f"t {row}", ("no", "yes")[row % 2]) for row in range(20)))
    file = tmp_path / "run.yaml"
    file.write_text(f"task: {{train: {train}, labels: [no, yes]}}\nteacher: {{model: m}}\nbaseline: no\n", "utf-8")
    run = load_run(file, ["task.truncate=off"])
    assert (run.task.labels, run.baseline, run.task.truncate) == (["no", "yes"], False, False)
    assert load_task(run.task).labels == ("no", "yes")
    assert Task(labels=[0, 1]).labels == ["0", "1"]  # pyright: ignore[reportArgumentType]


def test_what_describes_files_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n', encoding="utf-8")
    assert "task.separator has no meaning" in refused(Task(train=str(path), separator=";"), ConfigError).message
    assert "task.columns has no meaning" in refused(Task(train=str(path), columns=["a"]), ConfigError).message


@pytest.mark.parametrize("split", ["dev", "test"])
def test_rows_to_be_scored_may_lack_labels_here_and_there(tmp_path: Path, train: str, split: str) -> None:
    partly = table(tmp_path / "partly.csv", "text,label", ("a", "y"), ("b", ""), ("c", "n"))
    data = load_task(Task(train=train, **{split: partly}))
    assert len(data.splits[split]) == 2
    assert f"1 of 3 rows of {split} have no label, and no score" in data.notes


def test_a_label_column_that_is_not_there_is_said_for_numbers_too(train: str) -> None:
    assert "has no column `stars`" in refused(Task(train=train, label="stars", kind="regression")).message


def test_decimal_commas_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "german.csv"
    path.write_text("text;score\n" + "".join(f"t{n};{n},5\n" for n in range(12)), encoding="utf-8")
    data = load_task(Task(train=str(path), label="score"))
    assert (data.kind, sorted(data.splits["train"].labels)[-1]) == ("regression", 11.5)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["classification", "multilabel", "tagging"])
def test_names_that_dev_writes_otherwise_are_those_of_train(tmp_path: Path, kind: str) -> None:
    def file(name: str, *labels: str) -> str:
        rows = [{"text": f"words {n}", "label": labels[n % len(labels)]} for n in range(12)]
        if kind == "tagging":
            rows = [{"text": row["text"].split(), "label": [row["label"], labels[0]]} for row in rows]
        elif kind == "multilabel":
            rows = [{**row, "label": [row["label"], labels[0]]} for row in rows]
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return str(tmp_path / name)

    train, dev = file("train.jsonl", "very good", "bad"), file("dev.jsonl", "Very_Good", "BAD")
    data = load_task(Task(train=train, dev=dev, kind=kind))
    assert (
        data.splits["dev"].fingerprint == load_task(Task(train=train, dev=train, kind=kind)).splits["dev"].fingerprint
    )
    assert "`label` of dev has `BAD`, `Very_Good`, taken for `bad`, `very good`" in data.notes
    ambiguous = file("dev.jsonl", "Very_Good", "bad", "BAD")
    assert "`BAD`" in str(refused(Task(train=train, dev=ambiguous, kind=kind)).message).replace("'", "`")


def test_development_rows_of_one_number_are_said(tmp_path: Path) -> None:
    train = table(tmp_path / "t.csv", "text,label", *((f"words {n}", n / 4) for n in range(20)))
    dev = table(tmp_path / "d.csv", "text,label", *((f"others {n}", 1.5) for n in range(4)))
    notes = load_task(Task(train=train, dev=dev)).notes
    assert "`label` is 1.5 in all rows of dev, so no correlation says what was learnt" in notes
