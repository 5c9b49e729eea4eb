"""Trials out of a study into tables and back."""

import json
from pathlib import Path
from typing import Any

import pytest

from distiller.config import Run, parse_run
from distiller.errors import ConfigError, DataError, OutputError
from distiller.study.queue import claim, identity, prune
from distiller.study.trial_io import canonical, export_trials, import_csv, load_trials
from distiller.study.trials import COLUMNS
from distiller.study.worker import work
from study.conftest import Small, started

pd = pytest.importorskip("pandas")

RUN: dict[str, Any] = {"task": {"train": "t.csv"}, "teacher": {"model": "m"}}


def test_a_row_says_what_was_tried_and_what_came_out(small: Small) -> None:
    space = {
        "training.epochs": {"levels": [1, 2], "when": {"augmentation": "none"}},
        "augmentation": [[], ["random"]],
        "training.batch_size": [4],
    }
    study = small(space=space, tasks={"ours": {}}, seeds=[3], sampler="grid")
    started(study)
    work(study, "w", "study.fakes:failing")
    trials = load_trials(study.place)
    assert trials.factors == ("training.epochs", "augmentation")
    frame = trials.frame
    assert list(frame)[: len(COLUMNS)] == list(COLUMNS)
    assert frame["training.epochs"].tolist() == ["1", "2", ""]  # with augmentation there is no such factor
    assert frame["augmentation"].tolist() == ["none", "none", "random"]
    assert frame["status"].tolist() == ["complete", "failed", "complete"]
    first = frame.iloc[0].to_dict()
    assert first["score"] == pytest.approx(0.104)
    wanted = {
        "trial": 0, "task": "ours", "teacher": "big", "student": "default", "seed": 3, "metric": "accuracy",
        "teacher_score": 2.0, "baseline_score": 0.1, "ratio": first["score"] / 2, "seconds": 1.5, "parameters": 5,
        "milliseconds": 0.25, "megabytes": 0.5, "reason": "", "training.batch_size": "4", "intermediate": "none",
        "prediction": "", "mapping": "",
    }  # fmt: skip
    assert {name: first[name] for name in wanted} == wanted
    for text, epochs in zip(frame["run"], (1, 2, 3), strict=True):
        run = parse_run(json.loads(text))
        assert (run.training.epochs, run.training.batch_size, run.seeds) == (epochs, 4, [3])
        assert str(study.place) not in text


def test_trials_of_two_studies_are_taken_together_only_with_a_word(small: Small, tmp_path: Path) -> None:
    where = str(tmp_path / "both.db")
    for name, space in (("first", {"training.epochs": [1, 2]}), ("second", {"student.layers": [1, 2, 3]})):
        study = small(name=name, space=space, storage=where, sampler="grid", folder=str(tmp_path / name))
        started(study)
        work(study, "w", "study.fakes:failing")
    with pytest.warns(UserWarning, match="holds the studies `first`, `second`, and the trials of all"):
        assert len(load_trials(where).frame) == 5
    file = tmp_path / "mine.yaml"
    file.write_text((tmp_path / "second" / "study.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    for one in (load_trials(where, name="second"), load_trials(file)):
        assert (len(one.frame), one.factors) == (3, ("student.layers",))


def test_what_runs_or_waits_is_no_row_and_what_was_pruned_has_no_score(small: Small) -> None:
    stored = started(small())
    for _ in range(2):
        claimed = claim(stored, identity("w"))
        assert claimed is not None
    prune(claimed)
    frame = load_trials(stored.study.place).frame
    assert frame["status"].tolist() == ["pruned"]
    assert frame["score"].isna().all()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_exported_is_imported_as_it_was(small: Small, tmp_path: Path, ending: str) -> None:
    study = small()
    started(study)
    work(study, "w", "study.fakes:failing")
    trials = load_trials(study.place)
    file = export_trials(trials, tmp_path / f"trials.{ending}")
    for again in (load_trials(file), import_csv(file)):
        assert again.factors == trials.factors
        pd.testing.assert_frame_equal(again.frame, trials.frame)


def test_results_from_elsewhere_are_imported_by_naming_their_columns(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("f1,layers,job\n0.5,skip,a\n0.75,last,b\n,emd,c\n", encoding="utf-8")
    trials = import_csv(file, columns={"score": "f1", "mapping": "layers"})
    assert trials.factors == ("mapping",)
    assert trials.frame["status"].tolist() == ["complete", "complete", "failed"]
    assert trials.frame["task"].tolist() == ["mine"] * 3
    with pytest.raises(DataError, match="no column `f2`"):
        import_csv(file, columns={"score": "f2"})
    with pytest.raises(DataError, match="no column `score`"):
        import_csv(file)


def test_the_authors_runs_are_imported_in_one_call(shared: Path) -> None:
    trials = import_csv(shared / "data" / "authors_study" / "runs.csv")
    assert len(trials.complete) == 867
    assert trials.factors == ("intermediate", "prediction", "mapping", "augmentation")
    assert (trials.frame["intermediate"].str.startswith("mi_alpha")).sum() == 623


def test_the_four_factors_of_any_run() -> None:
    def of(**fields: Any) -> tuple[str, ...]:
        return tuple(canonical(Run.model_validate({**RUN, **fields})).values())

    assert of() == ("none", "", "", "none")
    terms = [
        {"loss": "mse", "mapping": "emd"},
        {"loss": "mi_alpha", "options": {"alpha": 0.9}, "mapping": {"name": "emd"}},
        {"loss": "cos", "weight": 0},
    ]
    assert of(
        objective={"prediction": {"name": "kl", "options": {"temperature": 2}}, "intermediate": terms},
        augmentation=["contextual", "mixup"],
    ) == ("mse+mi_alpha(alpha=0.9)", "kl(temperature=2)", "emd", "contextual+mixup")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", "there is no study at `nowhere`"),
        ("nowhere.db", "there are no trials at `nowhere.db`"),
        ("nowhere.csv", "`nowhere.csv` cannot be read"),
        (".", "is not the folder of a study"),
        ("nowhere.txt", "`nowhere.txt` is no storage of studies"),
    ],
)
def test_what_is_no_source_of_trials_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((OutputError, ConfigError, DataError), match=words):
        load_trials(source)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_said(small: Small, tmp_path: Path) -> None:
    started(small())
    trials = load_trials(small().place)
    with pytest.raises(ConfigError, match=r"\.xlsx"):
        export_trials(trials, tmp_path / "trials.xlsx")
    with pytest.raises(OutputError, match="cannot write"):
        export_trials(trials, tmp_path / "nowhere" / "trials.csv")
