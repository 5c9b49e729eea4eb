"""Several labels at once: how they are written, and how they are scored."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from distiller.config import Task
from distiller.errors import DataError, ShapeError
from distiller.tasks import load_task
from distiller.tasks.data import Split, TaskData
from distiller.tasks.metrics import scores
from tasks.test_unlabelled import lines, table

CELLS = (["plot", "sound"], ["plot"], [], ["sound"])
WANTED = ((1.0, 1.0), (1.0, 0.0), (0.0, 0.0), (0.0, 1.0))


def labels(data: TaskData) -> Any:
    train = data.splits["train"]
    assert isinstance(train, Split)
    return train.labels


@pytest.mark.parametrize("form", ["lists", "text", "bits", "truths", "columns", "columns of 1.0"])
def test_every_form_says_the_same(tmp_path: Path, form: str) -> None:
    given: dict[str, Any] = {}
    if form.startswith("columns"):
        number = int if form == "columns" else float
        rows = [(text, number(a), number(b)) for text, (a, b) in zip("abcd", WANTED, strict=True)]
        path, given = table(tmp_path / "t.csv", "text,plot,sound", *rows), {"labels": ["plot", "sound"]}
    elif form == "text":
        path = table(tmp_path / "t.csv", "text,label", *zip("abcd", map(str, CELLS), strict=True))
    else:
        cells: Any = CELLS if form == "lists" else [[int(one) for one in row] for row in WANTED]
        if form == "truths":
            cells = [{"plot": bool(a), "sound": bool(b)} for a, b in WANTED]
        path = lines(tmp_path / "t.jsonl", *({"text": t, "label": c} for t, c in zip("abcd", cells, strict=True)))
        given = {} if form in ("lists", "truths") else {"labels": ["plot", "sound"]}
    kind = None if form in ("lists", "text", "truths") else "multilabel"
    data = load_task(Task(train=path, dev=path, kind=kind, **given))
    assert (data.kind, data.labels, labels(data)) == ("multilabel", ("plot", "sound"), WANTED)
    assert data.metric == "micro_f1"
    assert load_task(Task(train=path, kind=kind, dev_fraction=0.5, **given)).splits["dev"].labelled


def test_rows_of_which_nobody_said_anything(tmp_path: Path) -> None:
    rows = [{"text": text, "label": cell} for text, cell in zip("abcde", [*CELLS, None], strict=True)]
    path = lines(tmp_path / "t.jsonl", *rows)
    dev = lines(tmp_path / "d.jsonl", *({**row, "text": row["text"] * 2} for row in rows[:4]))
    data = load_task(Task(train=path, dev=dev))
    assert (data.labelled, data.unlabelled) == (4, 1)


def test_what_excludes_each_other_is_no_list(tmp_path: Path) -> None:
    path = lines(tmp_path / "t.jsonl", *({"text": t, "label": c} for t, c in zip("ab", CELLS, strict=False)))
    with pytest.raises(DataError, match=r"line 1: `label` is a list, \['plot', 'sound'\]") as caught:
        load_task(Task(train=path, dev=path, kind="classification"))
    assert "task.kind=multilabel" in (caught.value.hint or "")
    strange = lines(tmp_path / "d.jsonl", {"text": "a", "label": ["light"]})
    with pytest.raises(DataError, match="`label` has 'light', which is not in the label set"):
        load_task(Task(train=path, dev=strange))


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    gold = (rng.random((30, 4)) < 0.4).astype(np.float32)
    gold[:, 3] = 0
    logits = rng.normal(size=(30, 4)) + gold
    logits[:, 3] = -1
    data = TaskData(
        "t", "multilabel", tuple("abcd"), ("micro_f1", "macro_f1", "subset_accuracy", "average_precision"), {}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scores(data, logits, gold)
    predicted = logits > 0
    assert found["micro_f1"] == pytest.approx(f1_score(gold, predicted, average="micro"))
    assert found["macro_f1"] == pytest.approx(f1_score(gold, predicted, average="macro", zero_division=0))  # pyright: ignore[reportArgumentType]
    assert found["subset_accuracy"] == pytest.approx(
        np.mean([(a == b).all() for a, b in zip(gold, predicted, strict=True)])
    )
    assert found["average_precision"] == pytest.approx(
        np.mean([average_precision_score(gold[:, n], logits[:, n]) for n in range(3)])
    )
    with pytest.raises(ShapeError):
        scores(data, logits[:, :3], gold)


@pytest.mark.parametrize("form", ["lists", "mappings", "columns", "text"])
def test_probabilities_of_several_classes_stand_each_for_itself(tmp_path: Path, form: str) -> None:
    shares = [[0.2, 0.9], [0.8, 0.7], [0.0, 1.0], [0.4, 0.1]]
    given: dict[str, Any] = {"labels": ["plot", "sound"], "kind": "multilabel"}
    rows: list[dict[str, Any]] = []
    for text, (plot, sound) in zip("abcd", shares, strict=True):
        cells = {
            "lists": {"label": [plot, sound]},
            "text": {"label": str([plot, sound])},
            "mappings": {"label": {"plot": plot, "sound": sound}},
            "columns": {"p(plot)": plot, "p(sound)": sound},
        }
        rows.append({"text": text, **cells[form]})
    if form == "columns":
        given = {"kind": "multilabel", "probabilities": "p(*)"}
    path = lines(tmp_path / "soft.jsonl", *rows)
    data = load_task(Task(train=path, dev=lines(tmp_path / "dev.jsonl", {"text": "e", "label": ["plot"]}), **given))
    train = data.splits["train"]
    assert isinstance(train, Split)
    assert train.soft is not None
    np.testing.assert_allclose(train.soft, shares)
    assert labels(data) == ((0, 1), (1, 1), (0, 1), (0, 0))
    sure = load_task(Task(train=path, dev=str(tmp_path / "dev.jsonl"), min_confidence=0.75, **given))
    assert (len(sure.splits["train"]), sure.unsure) == (2, 2)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["plot;", "plot;sound;", "sound; "], "multilabel"),  # as some tools end every name
        (["plot", "plot;sound", "sound"], "multilabel"),
        (["plot;", "sound;", "plot;"], "classification"),
    ],
)
def test_a_mark_behind_the_last_name_separates_names_too(tmp_path: Path, cells: list[str], kind: str) -> None:
    rows = [(f"text {n}", cells[n % 3]) for n in range(12)]
    data = load_task(Task(train=table(tmp_path / "t.csv", "text,label", *rows), dev_fraction=0.3))
    assert data.kind == kind
    assert kind == "classification" or data.labels == ("plot", "sound")


def test_bad_rows_of_several_labels_are_left_out_and_listed(tmp_path: Path) -> None:
    good = [{"text": f"t{n}", "label": [name]} for n, name in enumerate(["plot", "sound"] * 4)]
    bad = [{"text": "x", "label": [{"plot": 1}]}, {"text": None, "label": ["plot"]}, {"text": "y", "label": [" "]}]
    path = lines(tmp_path / "t.jsonl", *good, *bad)
    with pytest.raises(DataError, match="--skip-bad") as told:
        load_task(Task(train=path, kind="multilabel"))
    assert "line 10" in told.value.message or "line 9" in told.value.message
    data = load_task(Task(train=path, kind="multilabel", skip_bad=True))
    assert (data.skipped, len(data.left_out), data.labels) == ({"train": 3}, 3, ("plot", "sound"))
    wrong = lines(tmp_path / "s.jsonl", {"text": "a", "label": [0.5, 1.5]}, *good)
    data = load_task(Task(train=wrong, kind="multilabel", labels=["plot", "sound"], skip_bad=True))
    assert data.skipped["train"] >= 1
