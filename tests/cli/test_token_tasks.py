"""Tagging, question answering and the GLUE leaderboard through the commands, on tiny models."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification

from cli.conftest import Command
from distiller.config import Component, parse_run
from distiller.record import load_record
from distiller.run.plan import make_plan
from distiller.tasks.leaderboard import SUBMISSION_FILES, validate_submission
from run.tiny import BAD, CRITIC, FAST, FILLER, GOOD, Workshop, reviews

TERMS = [{"loss": "mse"}, {"loss": "mi_alpha", "critic": CRITIC}]
TEACHER = {**FAST, "epochs": 12}
LONGER = {**TEACHER, "threads": 1}


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Words of mood are entities, everything else is not."""
    folder = tmp_path_factory.mktemp("tagged")
    names = dict.fromkeys(GOOD, "B-GOOD") | dict.fromkeys(BAD, "B-BAD")
    for name, seed, rows in (("train", 0, 160), ("dev", 1, 40)):
        sentences = [row["text"].split() for row in reviews(rows, seed=seed)]
        lines = ["\n".join(f"{word} {names.get(word, 'O')}" for word in words) for words in sentences]
        (folder / f"{name}.conll").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return {name: str(folder / f"{name}.conll") for name in ("train", "dev")}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The answer to `good` or `bad` is the word of that mood."""
    folder = tmp_path_factory.mktemp("asked")
    for name, seed, rows in (("train", 0, 160), ("dev", 1, 40)):
        paragraphs = []
        for number, row in enumerate(reviews(rows, seed=seed)):
            answer = next(word for word in row["text"].split() if word in {*GOOD, *BAD})
            context = " ".join([*FILLER[:2], row["text"]])
            asked = {"id": f"{name}-{number}", "question": "the mood", "answers": []}
            asked["answers"] = [{"text": answer, "answer_start": context.index(answer)}]
            paragraphs.append({"context": context, "qas": [asked]})
        content = {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return {name: str(folder / f"{name}.json") for name in ("train", "dev")}


def test_what_a_tagger_learns_by_default(shop: Workshop, tagged: dict[str, str], tmp_path: Path) -> None:
    small = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
    fields: dict[str, Any] = {"objective": {}, "student": {"config": small, "init": "random"}}
    tagger = make_plan(
        parse_run(shop.run(tmp_path / "tags", **fields, task={**tagged, "kind": "tagging", "max_length": 16}))
    ).run
    assert tagger.objective.prediction == Component(name="kl", options={"temperature": 1.0})
    assert tagger.objective.intermediate == []
    assert tagger.objective.gamma1 == 0.5
    assert not tagger.taught_words
    classifier = make_plan(parse_run(shop.run(tmp_path / "classes", **fields))).run
    assert classifier.objective.prediction == Component(name="kl", options={"temperature": 4.0})
    assert [term.loss for term in classifier.objective.terms] == ["mse"]
    assert classifier.taught_words


def test_tags_are_learnt_distilled_and_predicted(
    shop: Workshop, tagged: dict[str, str], distiller: Command, tmp_path: Path
) -> None:
    run = shop.run(tmp_path, task={**tagged, "kind": "tagging", "max_length": 16})
    run |= {"teacher": {"model": shop.base, "training": TEACHER}, "objective": {"gamma1": 0.5, "intermediate": TERMS}}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(run | {"training": LONGER}), encoding="utf-8")
    assert distiller("run", file, "-q").code == 0
    record = load_record(tmp_path / "out")
    assert record.metric == "entity_f1"
    assert record.score > 0.9
    assert {"loss/prediction", "loss/label", "loss/mse", "loss/mi_alpha"} <= set(record.seeds[0].history[0])
    AutoModelForTokenClassification.from_pretrained(tmp_path / "out" / "student")

    scored = json.loads(distiller("evaluate", tmp_path / "out", "--json").out)
    assert scored["entity_f1"] == pytest.approx(record.score)
    (tmp_path / "new.csv").write_text("text\nthe film was lovely\nthe awful plot\n", encoding="utf-8")
    told = distiller("predict", tmp_path / "out", tmp_path / "new.csv").out.splitlines()
    assert told == ["words\ttags", "the film was lovely\tO O O B-GOOD", "the awful plot\tO B-BAD O"]
    (tmp_path / "new.conll").write_text("the\nfilm\nwas\nlovely\n\nthe\nawful\nplot\n", encoding="utf-8")
    (tmp_path / "new.jsonl").write_text(
        '{"text": ["the", "film", "was", "lovely"]}\n{"text": ["the", "awful", "plot"]}\n', encoding="utf-8"
    )
    for name in ("new.conll", "new.jsonl"):
        assert distiller("predict", tmp_path / "out", tmp_path / name).out.splitlines() == told


def test_answers_are_learnt_and_distilled_over_windows(
    shop: Workshop, asked: dict[str, str], distiller: Command, tmp_path: Path
) -> None:
    task: dict[str, Any] = {**asked, "kind": "qa", "max_length": 12, "stride": 3}
    run = shop.run(tmp_path, task=task, training=LONGER, teacher={"model": shop.base, "training": TEACHER})
    run["objective"] = {"gamma1": 0.5, "intermediate": [{"loss": "mse"}]}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(run), encoding="utf-8")
    assert distiller("run", file, "-q").code == 0
    record = load_record(tmp_path / "out")
    assert record.data.examples == {"train": 160, "dev": 40}  # not their windows
    assert set(record.student.scores) == {"exact_match", "answer_f1"}
    assert record.score > 0.8
    AutoModelForQuestionAnswering.from_pretrained(tmp_path / "out" / "student")
    scored = json.loads(distiller("evaluate", tmp_path / "out", "--json").out)
    assert scored["answer_f1"] == pytest.approx(record.student.scores["answer_f1"])

    refused = distiller("run", file, "task.truncate=false", "task.max_question_length=1", f"output={tmp_path}/no")
    assert refused.code == 2
    assert "max_question_length" in refused.err

    written = tmp_path / "predictions.json"
    assert distiller("predict", tmp_path / "out", asked["dev"], "-o", written).code == 0
    told = json.loads(written.read_text(encoding="utf-8"))
    gold = [qa for part in json.loads(Path(asked["dev"]).read_text())["data"][0]["paragraphs"] for qa in part["qas"]]
    right = sum(told[qa["id"]] == qa["answers"][0]["text"] for qa in gold) / len(gold)
    assert right == pytest.approx(scored["exact_match"])  # these answers have nothing to normalise
    for given, words in (
        ("-", "reads a file of them"), ("who was it", "reads a file of them"), (asked["dev"], "gives JSON")
    ):  # fmt: skip
        refused = distiller("predict", tmp_path / "out", given, *["--json"] * (given == asked["dev"]))
        assert (refused.code, words in refused.err) == (2, True)


@pytest.mark.slow
def test_questions_without_an_answer_are_learnt_distilled_and_exported(
    shop: Workshop, asked: dict[str, str], distiller: Command, tmp_path: Path
) -> None:
    task: dict[str, Any] = {"kind": "qa", "max_length": 14, "stride": 3}
    for name, file in asked.items():
        content = json.loads(Path(file).read_text(encoding="utf-8"))
        for number, part in enumerate(content["data"][0]["paragraphs"]):
            part["qas"][0]["is_impossible"] = number % 2 == 1
            if number % 2:
                part["qas"][0] |= {"question": "the actors", "answers": []}  # other words ask for nothing that is there
        task[name] = str(tmp_path / f"{name}.json")
        Path(task[name]).write_text(json.dumps(content), encoding="utf-8")
    run = shop.run(tmp_path, task=task, training=LONGER, teacher={"model": shop.base, "training": TEACHER})
    run["objective"] = {"gamma1": 0.5, "intermediate": [{"loss": "mse"}]}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(run), encoding="utf-8")
    told = distiller("run", file)
    assert told.code == 0
    assert "80 of 160 questions of" in told.err
    scores = load_record(tmp_path / "out").student.scores
    assert scores["has_answer_f1"] > 0.8
    assert scores["no_answer_accuracy"] > 0.8
    scored = json.loads(distiller("evaluate", tmp_path / "out", "--json").out)
    assert scored == pytest.approx(scores)

    said = json.loads(distiller("predict", tmp_path / "out", task["dev"]).out)
    gold = [qa for part in json.loads(Path(task["dev"]).read_text())["data"][0]["paragraphs"] for qa in part["qas"]]
    right = sum(said[qa["id"]] == (qa["answers"] or [{"text": ""}])[0]["text"] for qa in gold) / len(gold)
    assert right == pytest.approx(scored["exact_match"])
    never = distiller("evaluate", tmp_path / "out", "task.null_threshold=1000", "--json")
    assert json.loads(never.out)["no_answer_accuracy"] == 0
    pytest.importorskip("onnxruntime")
    exported = distiller("export", tmp_path / "out", "--to", "onnx")
    assert exported.code == 0
    facts = json.loads(next(tmp_path.rglob("export.json")).read_text(encoding="utf-8"))
    assert facts["null_token"] == 2
    assert facts["script_agrees"] == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_tagger_learns_from_a_teacher_of_another_tokenizer(
    precision: str, shop: Workshop, tagged: dict[str, str], distiller: Command, tmp_path: Path
) -> None:
    """Its outputs are compared with what the teacher says where the same words stand, cached or not."""
    losses: list[list[float]] = []
    for cache in ("always", "never"):
        file = tmp_path / f"{cache}.yaml"
        run = shop.run(
            tmp_path,
            task={**tagged, "kind": "tagging", "max_length": 16},
            student={"model": shop.stranger},
            teacher={"model": shop.base, "training": FAST},
            objective={"gamma1": 0.0},
            training=FAST | {"cache_teacher": cache, "precision": precision, "threads": 1},
            output=str(tmp_path / cache),
        )
        file.write_text(yaml.safe_dump(run), encoding="utf-8")
        assert distiller("run", file, "-q").code == 0
        history = load_record(tmp_path / cache).seeds[0].history
        losses.append([float(str(entry["loss"])) for entry in history if "loss" in entry])
    assert losses[0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3 if precision == "fp32" else 2e-2)


def test_bad_rows_are_named_or_left_out_and_counted(
    shop: Workshop, tagged: dict[str, str], distiller: Command, tmp_path: Path
) -> None:
    broken = tmp_path / "train.conll"
    broken.write_text(Path(tagged["train"]).read_text(encoding="utf-8") + "\ngood B-GOOD extra\n", encoding="utf-8")
    task = {"train": str(broken), "dev": tagged["dev"], "kind": "tagging", "columns": ["text", "label"]}
    file = tmp_path / "run.yaml"
    run = shop.run(tmp_path, task=task | {"max_length": 16}, objective={})
    file.write_text(yaml.safe_dump(run | {"teacher": {"model": shop.base, "training": FAST}}), encoding="utf-8")
    refused = distiller("run", file, "-q")
    assert refused.code == 2
    assert "train.conll`, line" in refused.err
    assert "hint:" in refused.err
    assert "--skip-bad" in refused.err
    kept = distiller("run", file, "-q", "--skip-bad")
    assert kept.code == 0
    record = load_record(tmp_path / "out")
    assert record.data.skipped["train"] == 1
    assert any("left out" in note for note in record.notes)


def misplaced(questions: list[dict[str, Any]]) -> None:
    questions[3]["answers"][0]["answer_start"] += 1


def doubled(questions: list[dict[str, Any]]) -> None:
    questions[5]["id"] = questions[4]["id"]


def too_long(questions: list[dict[str, Any]]) -> None:
    questions[7]["question"] = "the mood the mood the mood"


def unanswered(questions: list[dict[str, Any]]) -> None:
    questions[9]["answers"] = None


SPOILT = {
    misplaced: "row 4, question `train-3`: the answer",
    doubled: "row 6: the id `train-4` is also that of row 5",
    too_long: "row 8, question `train-7`: task.stride is 3",
    unanswered: "row 10, question `train-9` has no answer",
}


def test_bad_questions_are_named_or_left_out_and_counted(
    shop: Workshop, asked: dict[str, str], distiller: Command, tmp_path: Path
) -> None:
    file, broken = tmp_path / "run.yaml", tmp_path / "train.json"
    task = {"train": str(broken), "dev": asked["dev"], "max_length": 12, "stride": 3}
    training = {"max_steps": 2, "batch_size": 8}
    run = shop.run(tmp_path, task=task, teacher={"model": shop.base, "training": training}, objective={})
    file.write_text(yaml.safe_dump(run | {"training": {**training, "threads": 1}}), encoding="utf-8")

    def spoil(*ways: Any) -> None:
        content = json.loads(Path(asked["train"]).read_text(encoding="utf-8"))
        for way in ways:
            way([part["qas"][0] for part in content["data"][0]["paragraphs"]])
        broken.write_text(json.dumps(content), encoding="utf-8")

    for way, words in SPOILT.items():
        spoil(way)
        refused = distiller("run", file, "-q")
        assert refused.code == 2
        assert f"train.json`, {words}" in refused.err
        assert "hint:" in refused.err
        assert "--skip-bad" in refused.err
    spoil(*SPOILT)
    kept = distiller("run", file, "-q", "--skip-bad")
    assert kept.code == 0, kept.err
    assert "left out 3 bad row(s)" in kept.err
    assert "left out 1 bad row(s)" in kept.err
    record = load_record(tmp_path / "out")
    assert record.data.skipped == {"train": 4}
    assert "4 rows of train could not be used and were left out" in record.notes

    spoil(misplaced, unanswered)  # what is right is of no concern to a prediction
    assert len(json.loads(distiller("predict", tmp_path / "out", broken).out)) == 160
    spoil(doubled)
    assert "train.json`, row 6" in distiller("predict", tmp_path / "out", broken).err
    assert len(json.loads(distiller("predict", tmp_path / "out", broken, "--skip-bad").out)) == 159


def test_skip_bad_is_refused_where_it_would_be_ignored(
    shop: Workshop, shared: Path, distiller: Command, tmp_path: Path
) -> None:
    task = {"name": "wnli", "data": str(shared / "data" / "glue"), "max_length": 16}
    answer = distiller("run", shop.file(tmp_path, task=task), "--skip-bad")
    assert answer.code == 2
    assert "skip_bad" in answer.err


def test_a_submission_has_every_file_of_the_leaderboard(
    shop: Workshop, shared: Path, distiller: Command, tmp_path: Path
) -> None:
    task = {"name": "wnli", "data": str(shared / "data" / "glue"), "train_limit": 64, "max_length": 16}
    file = shop.file(tmp_path, task=task, objective={}, student={"layers": 1})
    assert distiller("run", file, "-q").code == 0
    archive = tmp_path / "submission.zip"
    answer = distiller("predict", "--glue", tmp_path / "out", "-o", archive)
    assert answer.code == 0
    assert "CoLA" in answer.err  # filled, and said so
    assert validate_submission(archive) == []
    with zipfile.ZipFile(archive) as opened:
        rows = opened.read("WNLI.tsv").decode().splitlines()
    assert len(rows) == 147

    assert "diagnostic" not in answer.err  # no run on MNLI, so no word about its further set
    assert distiller("predict", "--glue", tmp_path / "out").code == 2
    assert "two runs" in distiller("predict", "--glue", tmp_path / "out", tmp_path / "out", "-o", archive).err


@pytest.mark.parametrize("place", ["AX/AX.tsv", "MNLI/diagnostic.tsv", None])
def test_the_student_of_mnli_predicts_the_diagnostic_set(
    place: str | None, shop: Workshop, distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"QQP": 3, "MNLI-m": 4, "MNLI-mm": 5, "AX": 6}
    for name, rows in sizes.items():
        monkeypatch.setitem(SUBMISSION_FILES, name, replace(SUBMISSION_FILES[name], rows=rows))
    folder = tmp_path / "glue" / "MNLI"
    folder.mkdir(parents=True)
    moods = {"entailment": "good", "neutral": "story", "contradiction": "bad"}
    labels = list(moods) * 20

    def write(path: Path, rows: list[str], *, labelled: bool) -> None:
        path.parent.mkdir(exist_ok=True)
        lines = [f"{n}\tthe film\twas {moods[row]}" + f"\t{row}" * labelled for n, row in enumerate(rows)]
        header = "index\tsentence1\tsentence2" + "\tgold_label" * labelled
        path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")

    for name, rows in (("train", 60), ("dev_matched", 9), ("dev_mismatched", 9)):
        write(folder / f"{name}.tsv", labels[:rows], labelled=True)
    for name, rows in (("test_matched", 4), ("test_mismatched", 5)):
        write(folder / f"{name}.tsv", labels[:rows], labelled=False)
    if place:
        write(tmp_path / "glue" / place, labels[:6][::-1], labelled=False)
    file = shop.file(
        tmp_path,
        task={"name": "mnli", "data": str(folder if place is None else folder.parent), "max_length": 16},
        teacher={"model": shop.base, "training": {**TEACHER, "batch_size": 16}},
        objective={"gamma1": 1.0},
        training={**LONGER, "batch_size": 16},
    )
    assert distiller("run", file, "-q").code == 0
    archive = tmp_path / "submission.zip"
    answer = distiller("predict", "--glue", tmp_path / "out", "-o", archive)
    assert answer.code == 0, answer.err
    assert validate_submission(archive) == []
    with zipfile.ZipFile(archive) as opened:
        found = {name: opened.read(f"{name}.tsv").decode().splitlines()[1:] for name in sizes}
    told = {name: [line.split("\t")[1] for line in lines] for name, lines in found.items()}
    asked = ["--text", "sentence1", "--text-pair", "sentence2"]
    for name, given in {"MNLI-m": "MNLI/test_matched.tsv", "AX": place}.items():
        if given:
            rows = distiller("predict", tmp_path / "out", tmp_path / "glue" / given, *asked).out.splitlines()[1:]
            assert told[name] == [row.split("\t")[0] for row in rows]
    if place is None:
        assert told["AX"] == ["entailment"] * 6
    filled = next(line for line in answer.err.splitlines() if line.startswith("no predictions for"))
    assert ("AX" in filled) == (place is None)
    assert ("AX/AX.tsv or diagnostic.tsv, is not in the data folder" in answer.err) == (place is None)
