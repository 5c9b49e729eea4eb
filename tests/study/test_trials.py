"""Tables of trials: into files and back, from the authors' runs, and from anyone's CSV."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.errors import ConfigError, DataError
from distiller.study.authors_table import PARAMETERS
from distiller.study.trials import (
    COLUMNS,
    FACTORS,
    NUMBERS,
    Trials,
    is_trials,
    open_table,
    read_authors,
    read_table,
    read_trials,
    tabulate,
    write_trials,
)

pd = pytest.importorskip("pandas")

# CSV has no way to tell a lone carriage return inside a cell from a line end in every reader.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=64)
ROW = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["complete", "failed"]),
        "task": TEXT,
        "seed": st.none() | st.integers(0, 99),
        "score": st.floats(-1, 1),
        **{name: NUMBER for name in NUMBERS if name not in ("score", "ratio")},
        "reason": st.sampled_from(["", "out of memory", 'a "quoted", reason\nin two lines', "NaN", "# not a header"]),
        "run": st.sampled_from(["", '{"task": {"name": "rte"}}']),
        "intermediate": st.sampled_from(["mse", "mi_alpha(alpha=0.9)", "", "none", "NA"]),
        "objective.beta1": st.sampled_from(["0.5", "1"]),
    }
)


def same(one: Trials, other: Trials) -> None:
    assert one.factors == other.factors
    pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@given(rows=st.lists(ROW, min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_trials_survive_a_file(
    ending: str, rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    trials = tabulate(rows, ["intermediate", "objective.beta1"])
    file = tmp_path_factory.mktemp("trials") / f"trials.{ending}"
    assert write_trials(trials, file) == file
    assert is_trials(file)
    same(read_trials(file), trials)
    same(open_table(file), trials)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_missing_columns_are_filled_and_the_ratio_follows() -> None:
    rows = [
        {"task": "rte", "score": 0.6, "teacher_score": 0.8, "mapping": "skip"},
        {"task": "rte", "score": 0.9, "teacher_score": 0.8, "mapping": "last", "status": "failed", "reason": "memory"},
        {"task": "cola", "score": 0.6, "teacher_score": -0.1, "mapping": "emd"},
    ]
    trials = tabulate(rows, ["mapping"])
    assert list(trials.frame) == [*COLUMNS, "mapping"]
    assert trials.frame["ratio"].fillna(-1).tolist() == pytest.approx([0.75, -1, -1])
    assert trials.frame["score"].isna().tolist() == [False, True, False]
    assert trials.complete["mapping"].tolist() == ["skip", "emd"]
    assert trials.where(task="rte", mapping="last").frame["reason"].tolist() == ["memory"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"score": None}, "row 2 is complete but has no score"),
        ({"score": float("inf")}, "row 2 is complete but has no score"),
        ({"score": "high"}, "row 2: `score` should be a number, got 'high'"),
        ({"score": 1, "seed": 0.5}, "row 2: `seed` should be a whole number"),
        ({"score": 1, "status": "done"}, "no status is called `done`"),
    ],
)
def test_rows_that_cannot_be_are_refused(row: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match="trials: " + told.replace("(", r"\(")) as error:
        tabulate([{"score": 0.5, "mapping": "skip"}, {**row, "mapping": "skip"}], ["mapping"])
    assert error.value.hint


def test_filters_name_what_there_is() -> None:
    trials = tabulate([{"score": 0.5, "mapping": "skip"}], ["mapping"])
    with pytest.raises(ConfigError, match="no trial has mapping=skp") as error:
        trials.where(mapping="skp")
    assert error.value.hint == "did you mean `skip`?"
    with pytest.raises(ConfigError, match="no column `maping`"):
        trials.where(maping="skip")


def test_any_table_can_be_read_with_its_columns_named(tmp_path: Path) -> None:
    file = tmp_path / "boolq.csv"
    file.write_text("\ufeffloss,#layers,acc,run\nmse,4,0.61,a\nmi,6,0.75,b\nmse,6,,c\n", encoding="utf-8")
    trials = read_table(file, columns={"score": "acc", "intermediate": "loss", "student.layers": "#layers"})
    assert trials.factors == ("intermediate", "student.layers")
    assert trials.frame["status"].tolist() == ["complete", "complete", "failed"]
    assert trials.frame["score"].tolist()[:2] == [0.61, 0.75]
    assert set(trials.frame["task"]) == {"boolq"}
    assert trials.frame["student.layers"].tolist() == ["4", "6", "6"]
    for columns, told in (
        ({}, "has no column `score`"),
        ({"score": "accuracy"}, "has no column `accuracy` for `score`"),
        ({"score": "acc"}, "nothing says which columns were varied"),
        ({"score": "loss", "layers": "#layers"}, "row 1: `score` should be a number, got 'mse'"),
    ):
        with pytest.raises(DataError, match=told):
            read_table(file, columns=columns)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "not.parquet").write_text("score\n1\n")
    (tmp_path / "text.txt").write_text("score\n1\n")
    for name in ("empty.csv", "bytes.csv", "not.parquet", "text.txt", "absent.csv", "absent.parquet"):
        with pytest.raises(DataError, match=name):
            open_table(tmp_path / name)
    with pytest.raises(ConfigError, match=r"trials cannot be written to `trials\.xlsx`"):
        write_trials(tabulate([{"score": 1, "mapping": "skip"}], ["mapping"]), tmp_path / "trials.xlsx")
    assert not (tmp_path / "trials.xlsx").exists()


def test_a_table_that_lost_a_column_is_refused(tmp_path: Path) -> None:
    file = write_trials(tabulate([{"score": 1, "mapping": "skip"}], ["mapping"]), tmp_path / "trials.csv")
    file.write_text(file.read_text().replace("mapping\n", "other\n"))
    with pytest.raises(DataError, match="has no column `mapping`"):
        read_trials(file)


AUTHORS = """\ufeffModel,Teacher,intermediate_loss_type,alpha,intermediate_strategy,kd_loss_type,mixup,repeated_aug,\
aug_p,#example,score,task,ratio,baseline_score,contextual,backtranslation,random
TinyBERT4,BERT_BASE,mse,0.1,skip,mse,FALSE,1,0.3,67000,0.9,sst-2,0.96,80,0,0,0
TinyBERT4,BERT_BASE,mi,0.9,emd,ce,TRUE,1,0.1,67000,0.45,sst-2,0.48,80,2,0,1
ELECTRA_SMALL,BERT_BASE,mi,1,emd,ce,FALSE,1,0.1,67000,0,sst-2,0,80,1,3,2
"""


def test_the_authors_columns_mean_what_they_mean(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(AUTHORS, encoding="utf-8")
    (tmp_path / "student_baseline.csv").write_text("task,Model,student_score\nsst-2,TinyBERT4,88.5\n", encoding="utf-8")
    trials = read_authors(tmp_path)
    assert trials.factors == FACTORS
    frame = trials.frame
    assert frame["intermediate"].tolist() == ["mse", "mi_alpha(alpha=0.9)", "mi_alpha(alpha=1)"]
    assert frame["augmentation"].tolist() == ["none", "random+contextual+mixup", "contextual+random+back_translation"]
    assert frame["teacher_score"].tolist() == [0.9375] * 3  # a score of 0 tells nothing about it
    assert frame["baseline_score"].fillna(-1).tolist() == [0.885, 0.885, -1]
    assert (frame["task"].unique(), frame["metric"].unique()) == (["sst2"], ["accuracy"])
    same(open_table(tmp_path), trials)
    same(read_authors(tmp_path / "runs.csv"), trials)


def test_sizes_are_those_of_the_architectures() -> None:
    from distiller.models.architectures import ARCHITECTURES

    assert {name: ARCHITECTURES[name].parameters for name in PARAMETERS} == PARAMETERS


def test_the_authors_runs_are_read_whole(shared: Path) -> None:
    trials = read_authors(shared / "data" / "authors_study")
    frame = trials.frame
    assert len(frame) == len(trials.complete) == 867
    assert (frame["student"] == "tinybert-4").sum() == 621
    assert frame["intermediate"].str.startswith("mi_alpha").sum() == 623
    assert set(frame["task"]) == {"mnli", "qqp", "sst2", "cola", "rte", "stsb"}
    # Printed in ALGORITHMS.md 9.1: the authors' denominators for BERT_BASE.
    base = frame[frame["teacher"] == "bert-base"].groupby("task")["teacher_score"].first()
    assert base.to_dict() == {"mnli": 0.841, "qqp": 0.892, "sst2": 0.934, "cola": 0.55, "rte": 0.65, "stsb": 0.884}


def test_no_cell_of_a_csv_file_is_a_formula(tmp_path: Path) -> None:
    row = {"score": -0.5, "task": "=1+1", "teacher": "@sum", "student": "'-x", "reason": "-1", "mapping": "+emd\t"}
    trials = tabulate([row, row | {"task": "plain", "mapping": "'"}], ["mapping"])
    written = write_trials(trials, tmp_path / "trials.csv").read_text(encoding="utf-8")
    for line in written.splitlines()[1:]:
        for cell in line.split(","):
            assert cell[:1] not in "=+@" or not cell, line
            assert not cell.startswith("-") or float(cell) < 0
    same(read_trials(tmp_path / "trials.csv"), trials)
