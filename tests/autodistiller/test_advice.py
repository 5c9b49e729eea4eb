import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from autodistiller.synthetic import LEVELS, experience
from distiller.autodistiller import labels
from distiller.autodistiller.advice import advise, ranked, write_advice
from distiller.autodistiller.candidates import candidates_of
from distiller.autodistiller.experience import (
    Experience,
    add_experience,
    facts_file,
    join,
    names_of,
    read_experience,
    task_name,
)
from distiller.autodistiller.facts import TaskFacts
from distiller.config import Run, Task, load_run, parse_run
from distiller.errors import ConfigError, DataError, OutputError
from distiller.study.trials import FACTORS, Trials, tabulate, write_trials
from run.tiny import reviews, write

pd = pytest.importorskip("pandas")

FACTS = TaskFacts(name="new", examples=3000, labels=2, pairs=False)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write(tmp_path / "reviews.csv", reviews(100, seed=0))
    task = {"train": str(tmp_path / "reviews.csv")}
    return parse_run(
        {"task": task, "teacher": {"model": "big"}, "student": {"layers": 2}, "output": str(tmp_path / "out")}
    )


@pytest.mark.parametrize("score", ["teacher_score", "baseline_score"])
def test_a_score_in_per_cent_is_refused(run: Run, score: str) -> None:
    with pytest.raises(ConfigError, match="score is 80, and 1 is the highest") as caught:
        advise(run, experience(noise=0.0), FACTS, vectors=None, **{score: 80.0})
    assert caught.value.hint == "0.8?"


@pytest.fixture
def space(tmp_path: Path) -> str:
    study = {
        "name": "little",
        "base": "demo",
        "space": {
            "objective.intermediate": [
                [{"loss": "mse"}], [{"loss": "pkd"}],
                [{"loss": "mi_alpha", "options": {"alpha": 0.1}}], [{"loss": "mi_alpha", "options": {"alpha": 0.9}}],
            ],
            "objective.prediction": ["mse", "ce"],
            "objective.intermediate.0.mapping": ["skip", "last", "emd"],
            "augmentation": [[], ["mixup"]],
        },
        "exclude": [{"kind": "regression", "prediction": "ce"}],
    }  # fmt: skip
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(study), "utf-8")
    return str(tmp_path / "space.yaml")


def test_the_best_levels_are_advised_and_become_runs(run: Run, space: str, tmp_path: Path) -> None:
    found = advise(run, experience(noise=0.005), FACTS, space=space, top=4)
    assert found.considered == 48
    first = found.advised[0]
    assert dict(first.point) == {
        "intermediate": "mi_alpha(alpha=0.9)", "prediction": "ce", "mapping": "skip", "augmentation": "mixup",
    }  # fmt: skip
    assert [one.ratio for one in found.advised] == sorted((one.ratio for one in found.advised), reverse=True)
    files = write_advice(found, tmp_path / "advised")
    for file, one in zip(files, found.advised, strict=True):
        loaded = load_run(file)
        assert loaded == one.run
        assert loaded.task == run.task
        assert loaded.student == run.student
        assert labels.names("+".join(step.name for step in loaded.augmentation)) == labels.names(
            one.point["augmentation"]
        )
    assert len({one.run.output for one in found.advised}) == 4
    with pytest.raises(OutputError, match=r"1\.yaml"):
        write_advice(found, tmp_path / "advised")


def test_reasons_count_past_trials(run: Run, space: str) -> None:
    whole = experience(noise=0.005)
    rows = whole.complete
    for reason in advise(run, whole, FACTS, space=space, top=1).advised[0].reasons:
        same = rows[rows[reason.factor] == reason.level]
        assert (reason.trials, reason.tasks) == (len(same), same["task"].nunique())
        assert reason.effect is not None
        assert reason.effect > 1


def test_nearest_tasks_come_first(run: Run, space: str) -> None:
    whole = experience(noise=0.01)
    like = whole.tasks["task2"].model_copy(update={"name": "new"})
    nearest = advise(run, whole, like, space=space).nearest
    assert next(iter(nearest)) == "task2"
    assert set(nearest) == set(whole.tasks)


def test_ties_go_to_fewer_operators_then_the_cheaper_mapping() -> None:
    rows = pd.DataFrame(
        {
            "augmentation": ["mixup", "none", "none", "none", "random+mixup"],
            "mapping": ["last", "emd", "skip", "last", "last"],
        }
    )
    assert ranked(rows, np.zeros(5)) == [3, 2, 1, 0, 4]
    assert ranked(rows, np.array([0.0, 0, 0, 0, 1e-3])) == [4, 3, 2, 1, 0]


def test_permutations_of_operators_are_one_candidate(run: Run) -> None:
    words = {"name": "random", "options": {"ra_mode": "swap"}}
    model = {"name": "contextual", "options": {"model": "nowhere"}}
    both = parse_run(run.model_dump() | {"augmentation": [words, model]})
    candidates = candidates_of(both)
    stacks = [labels.names(point["augmentation"]) for point in candidates.points]
    assert len({frozenset(stack) for stack in stacks}) * 48 == len(stacks) == 8 * 48
    assert any("back_translation" in reason for reason in candidates.left_out)
    chosen = next(point for point in candidates.points if "contextual" in labels.names(point["augmentation"]))
    made = candidates.run(chosen, "out")
    assert {step.name: step.options for step in made.augmentation}["contextual"] == {"model": "nowhere"}


def test_a_regression_is_not_advised_cross_entropy(run: Run, space: str) -> None:
    points = candidates_of(run, space, kind="regression").points
    assert {point["prediction"] for point in points} == {"mse"}
    assert len(points) * 2 == len(candidates_of(run, space).points)


def test_what_failed_before_comes_last(run: Run, space: str) -> None:
    whole = experience(noise=0.005)
    tried = set(whole.complete[list(FACTORS)].itertuples(index=False, name=None))
    advised = advise(run, whole, FACTS, space=space, top=48).advised
    fresh = next(one.point for one in advised if tuple(map(one.point.get, FACTORS)) not in tried)
    failed = tabulate([{"task": "task0", "status": "failed", "reason": "no memory", **fresh}], FACTORS)
    again = advise(run, join([whole, Experience(failed)]), FACTS, space=space, top=48)
    assert again.advised[-1].point == fresh != advised[-1].point


def test_stages_and_empty_experience_are_refused(run: Run, space: str) -> None:
    staged = parse_run(run.model_dump() | {"stages": [{"name": "one", "objective": {}}]})
    with pytest.raises(ConfigError, match="stages"):
        candidates_of(staged, space)
    nothing = Experience(tabulate([{"status": "failed", "task": "a", "reason": "x"}], FACTORS))
    with pytest.raises(DataError, match="no finished trial"):
        advise(run, nothing, FACTS, space=space)


def test_experience_joins_without_repeating_itself(tmp_path: Path) -> None:
    whole = experience(noise=0.01, tasks=2, runs=10)
    table = write_trials(whole.trials, tmp_path / "study.csv")
    failed = tabulate([{"task": "task0", "status": "failed", "reason": "no memory", "mapping": "emd"}], FACTORS)
    other = write_trials(failed, tmp_path / "failed.csv")
    own = tmp_path / "own.csv"
    add_experience([table], own)
    found = add_experience([table], own)
    assert len(found.trials.frame) == 20
    with pytest.raises(DataError, match="no finished trial"):
        read_experience(other)
    frame = pd.concat([whole.trials.frame, failed.frame], ignore_index=True)
    mixed = write_trials(Trials(frame, FACTORS), tmp_path / "mixed.csv")
    assert add_experience([mixed], own, learn=False).trials.frame["status"].value_counts().to_dict() == {
        "complete": 20,
        "failed": 1,
    }
    assert read_experience(own).trials.frame["status"].eq("failed").sum() == 1
    assert facts_file(own).is_file()


def test_a_task_has_one_name_whoever_tried_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study calls a file by its last part, a Record knows where it is, and a user types what is short."""
    (tmp_path / "films").mkdir()
    write(tmp_path / "films" / "train.csv", reviews(100, seed=0))
    monkeypatch.chdir(tmp_path / "films")
    typed = Run.model_validate({"task": {"train": "train.csv"}, "teacher": {"model": "big"}, "output": "out"})
    rows = experience(noise=0.01, tasks=1, runs=5).trials.frame.to_dict("records")
    whole = json.dumps({"task": {"train": str(tmp_path / "films" / "train.csv")}})
    labelled = tabulate([{**row, "task": "train.csv", "run": whole} for row in rows], FACTORS)
    table = write_trials(labelled, tmp_path / "study.csv")
    assert set(read_experience(table).trials.frame["task"]) == {names_of(typed)["task"]} == {"films/train.csv"}
    sets = [Task(data="glue", config=name, train="train") for name in ("rte", "cola")]
    assert [*map(task_name, sets)] == ["glue/rte", "glue/cola"]


def test_a_source_that_fails_leaves_the_file_alone(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    add_experience([write_trials(experience(noise=0.01, tasks=2, runs=5).trials, tmp_path / "a.csv")], own)
    before = own.read_bytes()
    (tmp_path / "b.txt").write_text("no trials")
    with pytest.raises(DataError, match=r"b\.txt"):
        add_experience([tmp_path / "b.txt"], own)
    assert own.read_bytes() == before


def test_authors_facts(shared: Path) -> None:
    found = read_experience(shared / "data/authors_study")
    assert set(found.tasks) == {"mnli", "qqp", "sst2", "cola", "rte", "stsb"}
    assert found.tasks["stsb"].kind == "regression"
    assert found.tasks["rte"].bilstm == pytest.approx(0.541)
    assert len(found.tasks["rte"].context or ()) == 100
    assert found.tasks["rte"].pairs
    assert not found.tasks["cola"].pairs


def test_labels() -> None:
    assert labels.components("contextual(model=a+b, x=[1, 2])+mixup") == (
        ("contextual", "model=a+b, x=[1, 2]"),
        ("mixup", ""),
    )
    assert labels.names("none") == labels.names("") == ()
    assert labels.operators("random+mixup") == 2
    assert labels.alpha("mi_alpha(alpha=0.9, estimator=loo)") == 0.9
    assert np.isnan(labels.alpha("mse"))
    assert set(map(labels.operators, LEVELS["augmentation"])) == {0, 1, 2}


def test_nothing_here_imports_torch() -> None:
    import subprocess
    import sys

    code = "import sys, distiller.autodistiller.advice, distiller.cli.advise;sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=False).returncode == 0


def test_own_tasks_are_replaced_not_doubled() -> None:
    whole = experience(noise=0.1, tasks=2, runs=5)
    other = replace(whole, tasks={"task0": FACTS})
    assert join([whole, other]).tasks["task0"] == FACTS
    assert len(join([whole, other]).trials.frame) == len(whole.trials.frame)
