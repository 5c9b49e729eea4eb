"""The way of a user through the commands: from a recipe to a student that labels new texts."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import pipeline

from cli.conftest import Command
from distiller.cli.recipes import texts
from distiller.config import parse_run
from distiller.tasks.readers import read_table
from run.tiny import CRITIC, FAST, Workshop, repeatable, reviews, write


@pytest.fixture(scope="module")
def done(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a finished run with three seeds and a baseline."""
    import distiller

    folder = tmp_path_factory.mktemp("done")
    distiller.distil(parse_run(shop.run(folder, seeds=[0, 1, 2], baseline=True)))
    return folder / "out"


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_recipes_are_listed_and_written(distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = distiller("recipes")
    assert listed.code == 0
    assert {line.split()[0] for line in listed.out.splitlines() if line.strip()} >= set(texts())

    monkeypatch.chdir(tmp_path)
    assert distiller("init", "mi-alpha").code == 0
    assert yaml.safe_load(Path("run.yaml").read_text(encoding="utf-8"))["recipe"] == "mi-alpha"

    Path("run.yaml").write_text("mine", encoding="utf-8")
    refused = distiller("init", "hinton")
    assert refused.code == 2
    assert "`run.yaml` exists" in refused.err
    assert Path("run.yaml").read_text(encoding="utf-8") == "mine"
    assert distiller("init", "hinton", "--force", "-o", "run.yaml").code == 0
    assert yaml.safe_load(Path("run.yaml").read_text(encoding="utf-8"))["recipe"] == "hinton"


def test_init_writes_a_run_on_a_file_of_data(
    shop: Workshop, distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    columns = ("task.text=first", "task.text_pair=second", "task.label=verdict")
    written = distiller("init", shop.pairs, *columns, f"teacher.model={shop.base}")
    assert written.code == 0, written.err
    found = yaml.safe_load(Path("run.yaml").read_text(encoding="utf-8"))
    assert found == {
        "task": {"train": shop.pairs, "text": "first", "text_pair": "second", "label": "verdict"},
        "teacher": {"model": shop.base},
        "output": "outputs/pairs",
        "student": {"layers": 2},
    }
    assert distiller("check", "run.yaml", "task.max_length=16").code == 0
    absent = distiller("init", shop.pairs, "-o", "other.yaml")
    assert absent.code == 2
    assert "task.label names" in absent.err
    assert not Path("other.yaml").exists()


def test_columns_that_were_taken_are_written_and_said(
    shop: Workshop, distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{n},a film of {n} hours,was it long {n},{'yes' if n % 2 else 'no'}" for n in range(24)]
    Path("pairs.csv").write_text("\n".join(["idx,premise,hypothesis,gold_label", *rows]), encoding="utf-8")
    assert distiller("init", "pairs.csv", f"teacher.model={shop.base}").code == 0
    columns = {"text": "premise", "text_pair": "hypothesis", "label": "gold_label"}
    assert yaml.safe_load(Path("run.yaml").read_text("utf-8"))["task"] == {"train": "pairs.csv", **columns}
    checked = distiller("check", "pairs.csv", f"teacher.model={shop.base}", "task.max_length=16")
    assert columns.items() <= yaml.safe_load(checked.out)["task"].items()
    taken = "columns are taken to be task.text=premise task.text_pair=hypothesis task.label=gold_label"
    assert taken in " ".join(checked.err.split())


@pytest.mark.parametrize("command", ["init", "check", "run"])
def test_a_translation_of_a_file_of_data_begins_with_a_recipe_or_a_teacher(
    distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pairs.csv").write_text("de,en\nein Hund,a dog\n", encoding="utf-8")
    refused = distiller(command, "pairs.csv", "task.kind=translation")
    assert refused.code == 2
    assert "distiller init nmt-hybrid task.train=pairs.csv" in refused.err
    named = distiller("init", "pairs.csv", "task.kind=translation", "teacher.shape.architecture=wide-3x3", "--force")
    assert named.code == 0, named.err
    assert yaml.safe_load(Path("run.yaml").read_text("utf-8")) == {
        "task": {"train": "pairs.csv", "kind": "translation"},
        "output": "outputs/pairs",
        "teacher": {"shape": {"architecture": "wide-3x3"}},
    }


def test_init_takes_fields_of_a_recipe(distiller: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    assert distiller("init", "nmt-hybrid", "task.train={source: x.csv}", "task.dev=null", "-o", file).code == 0
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert (found["task"]["train"], found["task"]["dev"], found["vocabulary"]) == (
        {"source": "x.csv"},
        None,
        {"size": 8000},
    )
    written = distiller(
        "init", "hinton", "task.train=absent.csv", f"task.dev={__file__}", "-o", tmp_path / "absent.yaml"
    )
    assert (written.code, "there is no file `absent.csv` here yet" in written.err) == (0, True)
    assert "no field" in distiller("init", "hinton", "task.lable=x", "-o", tmp_path / "other.yaml").err
    assert "study run study-small" in distiller("init", "study-small", "x=1", "-o", tmp_path / "other.yaml").err


def test_check_prints_the_run_in_full_and_makes_nothing(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    file = shop.file(tmp_path, seeds=[3, 4], cache=str(tmp_path / "cache"))
    answer = distiller("check", file, "training.epochs=2", "objective.prediction=kl")
    assert answer.code == 0
    full = parse_run(yaml.safe_load(answer.out))
    assert full.training.epochs == 2
    assert full.objective.prediction.name == "kl"
    assert (full.objective.gamma1, full.objective.beta2, full.objective.gamma2) == (0.5, 0, 0)
    (tmp_path / "full.yaml").write_text(answer.out, encoding="utf-8")
    assert distiller("check", tmp_path / "full.yaml").out == answer.out
    for fact in (
        "train     160 rows",
        "dev       60 rows",
        "2.0 times less",
        "10 steps, 2 times",
        "10 at most",
    ):
        assert fact in answer.err
    assert files(tmp_path) == {tmp_path / "run.yaml", tmp_path / "full.yaml"}


def test_a_recipe_runs_with_nothing_but_overrides(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    answer = distiller(
        "run", "cos", "task.name=custom", f"task.train={shop.reviews}", f"teacher.model={shop.tuned}",
        "task.max_length=16", "student.layers=2", "training.epochs=1", "baseline=false", f"output={tmp_path / 'out'}",
        f"cache={shop.root / 'cache'}", "--json",
    )  # fmt: skip
    assert answer.code == 0
    record = json.loads(answer.out)
    assert record == json.loads((tmp_path / "out" / "record.json").read_text(encoding="utf-8"))
    assert record["run"]["objective"]["intermediate"][0]["loss"] == "cos"
    assert record["data"]["examples"] == {"train": 144, "dev": 16}  # a tenth is held out


def test_run_prints_a_table_and_keeps_progress_apart(
    shop: Workshop, distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    answer = distiller("run", shop.file(tmp_path))
    assert answer.code == 0
    for word in ("teacher", "student, distilled", "accuracy", "ms/example", "60 development examples", "seed 0"):
        assert word in answer.out
    assert "without a teacher" not in answer.out
    assert "distil, seed 0, best accuracy" in answer.err
    assert distiller("show", tmp_path / "out").out == answer.out

    quiet = distiller("run", tmp_path / "run.yaml", "--overwrite", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")


def test_several_seeds_have_mean_and_deviation(distiller: Command, done: Path) -> None:
    record = json.loads((done / "record.json").read_text(encoding="utf-8"))
    values = [one["scores"]["accuracy"] for one in record["seeds"]]
    assert [one["seed"] for one in record["seeds"]] == [0, 1, 2]
    assert record["score"] == pytest.approx(sum(values) / 3)
    assert record["student"]["spread"]["accuracy"]["values"] == values
    assert len(record["baseline"]["spread"]["accuracy"]["values"]) == 3
    best = values.index(max(values))
    assert record["student"]["fingerprint"] == record["seeds"][best]["fingerprint"]

    shown = distiller("show", done / "record.json")
    assert shown.code == 0
    assert "mean ± sd of 3 seeds" in shown.out
    # in the title, two metrics of two students, what distilled and teacher have on the fine-tuned one, and in words
    assert shown.out.count(" ± ") >= 7
    assert json.loads(distiller("show", done, "--json").out) == record


def test_evaluate_gives_the_scores_of_the_record(
    shop: Workshop, distiller: Command, done: Path, tmp_path: Path
) -> None:
    record = json.loads((done / "record.json").read_text(encoding="utf-8"))
    best = max((one["scores"] for one in record["seeds"]), key=lambda scores: scores["accuracy"])
    assert json.loads(distiller("evaluate", done, "--json").out) == pytest.approx(best)
    assert "accuracy" in distiller("evaluate", done).out

    teacher = distiller("evaluate", shop.tuned, "--run", done / "run.yaml", "--json")
    assert json.loads(teacher.out) == pytest.approx(record["teacher"]["scores"])

    write(tmp_path / "test.csv", [row | {"label": "good"} for row in reviews(20, seed=9)])
    test = distiller("evaluate", done, "--split", "test", f"task.test={tmp_path / 'test.csv'}", "--json")
    assert json.loads(test.out)["accuracy"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_predict_agrees_with_plain_transformers(
    shop: Workshop, distiller: Command, done: Path, tmp_path: Path, ending: str
) -> None:
    given = [row["text"] for row in reviews(9, seed=7)]
    if ending == "csv":
        write(tmp_path / "new.csv", [{"review": text} for text in given])
    else:
        lines = (json.dumps({"review": text}) for text in given)
        (tmp_path / "new.jsonl").write_text("\n".join(lines), encoding="utf-8")
    answer = distiller("predict", done, tmp_path / f"new.{ending}", "--text", "review")
    rows = list(csv.DictReader(io.StringIO(answer.out), delimiter="\t"))
    oracle: Any = pipeline("text-classification", str(done / "student"))
    for row, expected in zip(rows, oracle(given), strict=True):
        assert row["label"] == expected["label"]
        assert float(row[f"p({row['label']})"]) == pytest.approx(expected["score"], abs=2e-4)

    target = tmp_path / "labels.tsv"
    assert distiller("predict", done, tmp_path / f"new.{ending}", "--text", "review", "-o", target).out == ""
    assert target.read_text(encoding="utf-8") == answer.out
    assert {path.name for path in tmp_path.iterdir()} == {f"new.{ending}", "labels.tsv"}


def test_pairs_are_learnt_evaluated_and_predicted(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    task = {"train": shop.pairs, "text": "first", "text_pair": "second", "label": "verdict", "max_length": 24}
    file = shop.file(tmp_path, task=task, teacher={"model": shop.base, "training": FAST | {"epochs": 1}})
    assert distiller("run", file).code == 0
    answer = distiller("predict", tmp_path / "out", shop.pairs)
    rows = list(csv.DictReader(io.StringIO(answer.out), delimiter="\t"))
    assert len(rows) == 160
    assert list(rows[0]) == ["label", "p(agree)", "p(differ)"]
    scores = json.loads(distiller("evaluate", tmp_path / "out", "--json").out)
    assert scores == pytest.approx(json.loads((tmp_path / "out/record.json").read_text())["student"]["scores"])


def test_regression_learns_and_predicts_numbers(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    file = shop.file(
        tmp_path,
        task={"train": shop.stars, "max_length": 16},
        teacher={"model": shop.base, "training": FAST | {"epochs": 4}},
        training=FAST | {"epochs": 4},
    )
    answer = distiller("run", file, "--json")
    record = json.loads(answer.out)
    assert record["data"]["kind"] == "regression"
    assert record["run"]["objective"]["prediction"]["name"] == "mse"
    assert record["metric"] == "spearman"
    assert record["teacher"]["scores"]["pearson"] > 0.8
    assert record["score"] > 0.5

    rows = list(csv.DictReader(io.StringIO(distiller("predict", tmp_path / "out", shop.stars).out), delimiter="\t"))
    gold = [float(label) for label in read_table(shop.stars).column("label")]
    errors = [(float(row["score"]) - truth) ** 2 for row, truth in zip(rows, gold, strict=True)]
    assert sum(errors) / len(errors) < 0.7  # the variance of the labels is 1


def test_components_name_every_choice(distiller: Command) -> None:
    everything = distiller("components").out
    for word in ("mi_alpha", "emd", "kl", "transformer", "rte", "matthews", "bert-tiny", "temperature"):
        assert word in everything
    one = distiller("components", "mapping").out
    assert "skip_strict" in one
    assert "mi_alpha" not in one


def test_a_run_repeated_with_one_seed_gives_the_same_record(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    file = shop.file(tmp_path, objective={"intermediate": [{"loss": "mi_alpha", "critic": CRITIC}], "gamma1": 0.5})
    for name in ("one", "two"):
        assert distiller("run", file, f"output={tmp_path / name}").code == 0
    assert repeatable(tmp_path / "one") == repeatable(tmp_path / "two")
    other = distiller("run", file, f"output={tmp_path / 'three'}", "seeds=[5]")
    assert other.code == 0
    assert repeatable(tmp_path / "three")["seeds"][0]["history"] != repeatable(tmp_path / "one")["seeds"][0]["history"]


def test_commands_of_translations_go_by_their_new_names(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    run = shop.file(tmp_path)
    old, new = distiller("translate", "check", run, "seeds=[3]"), distiller("check", run, "seeds=[3]")
    assert (old.code, old.out) == (0, new.out)
    assert "`distiller translate check` is called `distiller check` now" in old.err
    gone = distiller("translate", "evaluate", "model", "a.de", "a.en")
    assert gone.code == 2
    assert "task.dev.source=" in gone.err
    wrong = distiller("translate", "chek")
    assert wrong.code == 2
    assert "did you mean `check`?" in wrong.err
