"""Mistakes of a user, through the command: one `error:` line, one hint, an exit code, nothing that looks finished."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cli.conftest import Answer, Command
from run.tiny import FAST, Workshop, write

Mistake = tuple[dict[str, Any], list[str], str]


def complaint(answer: Answer, code: int = 2) -> str:
    """The error and hint of a command that failed as it should."""
    assert answer.code == code, answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err
    lines = [line for line in answer.err.splitlines() if line.strip()]
    begin = [line.partition(":")[0] for line in lines]
    assert begin.count("error") == 1, answer.err
    assert begin[-2:] == ["error", "hint"], answer.err
    assert len(lines[-1]) > len("hint: ok")
    return "\n".join(lines[-2:])


def unfinished(folder: Path) -> bool:
    """Whether nothing below looks like a finished run."""
    return not any(path.name == "record.json" for path in folder.rglob("*"))


# --- what a run says, wrong in one place: (overrides, words of the error, words of the hint) -------------------------

TERM = "objective.intermediate.0"
WRONG = {
    "no such field": (["training.epoch=3"], "run.yaml: no field is called `training.epoch`", "did you mean `epochs`"),
    "no such part": (["trainign.epochs=3"], "no field is called `trainign`", "did you mean `training`"),
    "no such field of a term": (
        [f"{TERM}.wieght=3"], "no field is called `objective.intermediate.0.wieght`", "did you mean `weight`",
    ),
    "no such field of a choice": (
        [f"{TERM}.mapping.nmae=skip", f"{TERM}.mapping.name=skip"], "mapping.nmae`", "did you mean `name`",
    ),
    "an option as a field": (
        [f"{TERM}.alpha=0.1"], "no field is called `objective.intermediate.0.alpha`", f"{TERM}.options.alpha",
    ),
    "out of range": (["training.epochs=0"], "`training.epochs`: input should be greater than 0, got 0", "Passes over"),
    "not a number": (["training.batch_size=many"], "`training.batch_size`", "Examples per optimisation step"),
    "not a list": (["seeds=3"], "`seeds`: input should be a valid list, got 3", "One training per seed"),
    "seeds twice": (["seeds=[1,1]"], "seeds must be distinct", "distiller"),
    "no such rule": (["student.pick=firs"], "`student.pick`: input should be 'first', 'last'", "Which layers"),
    "no such word": (["teacher.finetune=sometimes"], "`teacher.finetune`", "`auto`: fine-tune first"),
    "no teacher": (["teacher={}"], "`teacher.model` is missing", "a folder, or"),
    "no equals sign": (["training.epochs"], "`training.epochs` is not of the form key=value", "training.epochs=5"),
    "a file": ([__file__], "test_bad_input.py` is not of the form key=value", f"task.dev={__file__}"),
    "not YAML": (["seeds=[1"], "the value of `seeds=[1` is not valid YAML", "quote"),
    "below a number": (["training.epochs.x=1"], "nothing below `1` to set", ""),
    "not a position": ([f"{TERM[:-1]}7.loss=mse"], "`7` is not a position in a list of 1", ""),
    "no such loss": ([f"{TERM}.loss=msse"], "no intermediate objective is called `msse`", "did you mean `mse`"),
    "no such option": (
        [f"{TERM}.loss=mi_alpha", f"{TERM}.options.alhpa=0.5"],
        "no option of intermediate objective `mi_alpha` is called `alhpa`", "did you mean `alpha`",
    ),
    "option out of range": (
        [f"{TERM}.loss=mi_alpha", f"{TERM}.options.alpha=3"], "option `alpha` of intermediate objective", "default",
    ),
    "no such mapping": ([f"{TERM}.mapping=skp"], "no layer mapping is called `skp`", "did you mean `skip`"),
    "mapping without pairs": ([f"{TERM}.mapping=pairs"], "`pairs` needs the option `pairs`", "options"),
    "no such layer": (
        [f"{TERM}.mapping={{name: pairs, options: {{pairs: [[9, 1]]}}}}"], "the student has no layer 9", "top layer",
    ),
    "no such prediction": (["objective.prediction=kll"], "no prediction objective is called `kll`", "did you mean"),
    "no such prediction option": (
        ["objective.prediction={name: kl, options: {temprature: 4}}"], "is called `temprature`", "`temperature`",
    ),
    "no such critic": (
        [f"{TERM}.loss=mi_alpha", f"{TERM}.critic.name=tranformer"], "is called `tranformer`", "`transformer`",
    ),
    "no such task": (["task.name=roten-tomatoes"], "no task is called `roten-tomatoes`", "`rotten-tomatoes`"),
    "no such metric": (["task.metric=acuracy"], "no metric is called `acuracy`", "`accuracy`"),
    "metric of another kind": (["task.metric=pearson"], "metric `pearson` is for regression", "accuracy"),
    "no such architecture": (["student={architecture: bert-tinny}"], "`bert-tinny`", "did you mean `bert-tiny`"),
    "no such model field": (["student.config.hidden_sise=3"], "no field `hidden_sise`", "did you mean `hidden_size`"),
    "a critic on mse": ([f"{TERM}.critic.name=mlp"], "`mse` has no critic", "mi_alpha"),
    "nothing to learn": (
        ["objective.beta1=0", "objective.gamma1=0", f"{TERM}.weight=0"], "every weight of the objective is 0", "gamma1",
    ),
    "two in a batch": (
        [f"{TERM}.loss=mi_alpha", "training.batch_size=2"], "at least three examples in a batch", "batch_size",
    ),
    "negative transport costs": (
        [f"{TERM}.loss=mi_alpha", f"{TERM}.mapping={{name: emd, options: {{update_weights: true}}}}"],
        "may be negative", "update_weights",
    ),
    "an unknown operator": (
        ["augmentation=[mixpu]"], "no augmentation operator is called `mixpu`", "did you mean `mixup`",
    ),
    "words after mixup": (["augmentation=[mixup, random]"], "leaves no words to edit", "put `mixup` last"),
    "an operator twice": (["augmentation=[random, random]"], "`random` is in the policy twice", "raise its rate"),
    "weights of no view": (["objective.beta2=1"], "no operator makes one", "name operators"),
    "a stage's field": (
        ["stages=[{name: one, objective: {}, training: {epoch: 1}}]"],
        "stage `one`, training: no field is called `epoch`", "did you mean `epochs`",
    ),
    "an objective beside stages": (
        ["stages=[{name: one, objective: {}}]"], "`objective` is read by no training", "stages.0.objective",
    ),
    "threads of a stage": (
        ["objective={}", "stages=[{name: one, objective: {}, training: {threads: 2}}]"],
        "stage `one`: `threads` is that of the whole run", "training.threads",
    ),
    "a label of no view": (["objective.augmented_label=gold"], "is for an augmented view, but no operator", "leave it"),
    "weights of no labels": (
        ["objective.class_weights=balanced", "objective.gamma1=0"], "nothing is trained on them here", "gamma1=0.5",
    ),
    "deeper than the teacher": (
        ["student={layers: 6, init: random}", f"{TERM}.mapping=last"], "the student has 6 layers, the teacher only 4",
        "skip",
    ),
    "deeper than the source": (["student.layers=6"], "of 6 layers cannot start from a source of 4", "student.layers=4"),
    "longer than the model takes": (["task.max_length=64"], "takes 40 tokens", "task.max_length=40"),
    "text too long": (
        ["task.truncate=false", "task.max_length=7"], "but task.max_length is 7", "task.truncate=true",
    ),
    "no such file": (["task.train=nowhere.csv"], "there is no file `nowhere.csv`", ""),
    "no such column": (["task.label=lable"], "has no column `lable`", "did you mean `label`"),
    "label outside the set": (["task.labels=[good, great]"], "line 2: `label` is 'bad'", "`good`, `great`"),
    "no such teacher": (["teacher.model=./nowhere"], "there is no model folder `./nowhere`", "config.json"),
    "no such package": (["teacher.model=package:nowhere"], "`nowhere` is not installed", "pip install"),
    "never fine-tuned": (
        ["task.labels=[good, bad, other]", "teacher.finetune=never"], "has no head for this task", "finetune=auto",
    ),
    "an output that is a file": (["output=run.yaml"], "run.yaml` is a file", "choose another `output`"),
    "an output below a file": (["output=run.yaml/out"], "run.yaml` is a file", "choose another `output`"),
    "a cache that is a file": (["cache=run.yaml"], "run.yaml` is a file", "choose another `cache`"),
    "no such model of an operator": (
        ["augmentation=[{name: contextual, options: {model: ./no}}]"], "no model folder `./no`", "config.json",
    ),
    "a field nobody chooses": (["student.config.vocab_size=5"], "`vocab_size` follows from", "leave it out"),
    "heads that do not divide": (
        ["student.config.num_attention_heads=3", "student.init=random"], "(32) is not a multiple", "attention_heads=2",
    ),
    "heads that were not copied": (
        ["student.config.num_attention_heads=2", "student.init=teacher"], "cannot take layers with 4", "init=random",
    ),
    "no such activation": (
        ["student.config.hidden_act=gelux", "student.init=random"], "'gelux' is not known", "did you mean `gelu",
    ),
    "fewer layers than one": (
        ["student.layers=null", "student.config.num_hidden_layers=-1"], "number of layers is -1", "student.layers=2",
    ),
    "two numbers of layers": (["student.config.num_hidden_layers=3"], "student.layers is 2, and", "leave one of them"),
    "a number without a fraction": (["student.config.layer_norm_eps=0"], "expected float, got int", "1.0"),
    "a schedule of no epochs": (
        ["training.epochs=null", "training.schedule=cosine"], "training.schedule says how", "training.epochs=5",
    ),
    "steps beside epochs": (["training.min_steps=3"], "training.min_steps is for a training that ends", "leave one"),
    "the label for a text": (["task.text=label"], "are the same column `label`", "name two"),
    "rows held out beside others": (["task.dev_fraction=0.5"], "there are development rows already", "leave it out"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_in_a_run_is_one_line_and_a_hint(
    name: str, shop: Workshop, distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides, error, hint = WRONG[name]
    file = shop.file(tmp_path)
    monkeypatch.chdir(tmp_path)
    said = complaint(distiller("check", "run.yaml", *overrides))
    assert complaint(distiller("run", "run.yaml", *overrides)) == said
    first, last = said.splitlines()
    assert error in first
    assert hint in last
    assert list(tmp_path.iterdir()) == [Path(file)]


# --- files that cannot be used ------------------------------------------------------------------------------------


def empty(path: Path) -> None:
    path.write_text("", encoding="utf-8")


def only_a_header(path: Path) -> None:
    path.write_text("text,label\n", encoding="utf-8")


def latin1(path: Path) -> None:
    path.write_bytes(b"text,label\ngood,good\nna\xefve,bad\n")


def no_label(path: Path) -> None:
    path.write_text("text,label\ngood,good\nbad,\n", encoding="utf-8")


def one_class(path: Path) -> None:
    path.write_text("text,label\ngood,good\nfine,good\n", encoding="utf-8")


def ragged(path: Path) -> None:
    path.write_text("text,label\ngood,good\nbad,bad,worse\n", encoding="utf-8")


FILES = [
    (empty, "is empty"),
    (only_a_header, "is empty: there is only a header"),
    (latin1, "line 3: byte 23 (0xef) is not UTF-8"),
    (no_label, "all 1 rows have the one `label` `good`"),  # the other one has none
    (one_class, "all 2 rows have the one `label` `good`"),
    (ragged, "line 3: 3 cells, where there should be 2"),
]


@pytest.mark.parametrize(("make", "error"), FILES, ids=lambda case: getattr(case, "__name__", ""))
def test_data_that_cannot_be_used(
    make: Callable[[Path], None], error: str, shop: Workshop, distiller: Command, tmp_path: Path
) -> None:
    make(tmp_path / "bad.csv")
    said = complaint(distiller("run", shop.file(tmp_path), f"task.train={tmp_path / 'bad.csv'}", "task.dev=null"))
    assert "bad.csv`" in said
    assert error in said
    assert not (tmp_path / "out").exists()


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def pickled(folder: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"', encoding="utf-8")


def without_tokenizer(folder: Path) -> None:
    for path in [*folder.glob("*token*"), *folder.glob("*vocab*")]:
        path.unlink()


MODELS = [
    (truncated, "truncated or not safetensors"),
    (pickled, "are not safetensors"),
    (without_weights, "holds no weights"),
    (without_config, "holds no config.json"),
    (broken_config, "cannot be loaded"),
    (without_tokenizer, "holds no tokenizer"),
]


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize(("spoil", "error"), MODELS, ids=lambda case: getattr(case, "__name__", ""))
def test_a_model_that_cannot_be_used(
    spoil: Callable[[Path], None], error: str, role: str, shop: Workshop, distiller: Command, tmp_path: Path
) -> None:
    shutil.copytree(shop.tuned, tmp_path / "model")
    spoil(tmp_path / "model")
    said = complaint(distiller("run", shop.file(tmp_path), f"{role}.model={tmp_path / 'model'}"))
    assert error in said
    assert unfinished(tmp_path)
    shutil.copytree(shop.tuned, tmp_path / "model", dirs_exist_ok=True)
    repaired = distiller("run", tmp_path / "run.yaml", f"{role}.model={tmp_path / 'model'}", "training.max_steps=2")
    assert repaired.code == 0  # nothing that a failed start left is in the way


# --- other commands -----------------------------------------------------------------------------------------------


def test_a_misspelt_recipe(distiller: Command, tmp_path: Path) -> None:
    for command in (["init", "mi-alhpa", "-o", tmp_path / "x.yaml"], ["run", "mi-alhpa"], ["check", "mi-alhpa"]):
        said = complaint(distiller(*command))
        assert "no recipe is called `mi-alhpa`" in said
        assert "did you mean `mi-alpha`" in said
    assert not list(tmp_path.iterdir())


def test_run_files_that_are_none(distiller: Command, tmp_path: Path) -> None:
    assert "there is no file" in complaint(distiller("run", tmp_path / "nothing.yaml"))
    assert "is a folder" in complaint(distiller("run", tmp_path))
    bad = tmp_path / "bad.yaml"
    for content, words in (
        (b"task: [", "is not valid YAML: line 1, column 8"),
        (b"task:\n\tname: rte\n", "write blanks for the tab"),
        (b"task: {}\ntask: {}\n", "leave one of them out"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"- 1\n", "should hold `key: value` lines"),
        (b"", "should hold `key: value` lines"),
        (b"task: 3\nteacher: {model: x}\n", "`task`"),
    ):
        bad.write_bytes(content)
        assert words in complaint(distiller("check", bad))
    toml = tmp_path / "run.toml"
    toml.write_text('[task]\nname = "rte"\n', encoding="utf-8")
    assert "a run is written in YAML" in complaint(distiller("check", toml))


OTHERS = {
    ("check", "record.json"): "is the Record of a finished run",
    ("check", "config.json"): "is the configuration of a model",
    ("run", "space.yaml"): "is a study, not a run",
    ("study run", "mine.yaml"): "is a run, not a study",
    ("study status", "trials.db"): "is a storage of studies",
    ("check", "book.xlsx"): "has an ending that is not read",
}


@pytest.mark.parametrize(("command", "name"), OTHERS)
def test_another_kind_of_file_is_named_as_what_it_is(
    command: str, name: str, distiller: Command, tmp_path: Path
) -> None:
    (tmp_path / "record.json").write_text('{"run": {"task": {}}, "seeds": []}', encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (tmp_path / "space.yaml").write_text("name: mine\nbase: {task: {name: rte}}\nspace: {}\n", encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("task: {name: rte}\n", encoding="utf-8")
    (tmp_path / "book.xlsx").write_bytes(b"PK\x03\x04")
    (tmp_path / "trials.db").write_bytes(b"SQLite format 3\x00\xff")
    answer = distiller(*command.split(), tmp_path / name)
    assert OTHERS[command, name] in complaint(answer)
    assert "hint:" in answer.err


def test_a_misspelt_family(distiller: Command) -> None:
    assert "did you mean `mapping`" in complaint(distiller("components", "maping"))


def test_records_that_are_none(distiller: Command, tmp_path: Path, shop: Workshop) -> None:
    assert "there is no Record" in complaint(distiller("show", tmp_path))
    assert "is not a Record" in complaint(distiller("show", shop.reviews))
    (tmp_path / "record.json").write_text("{}", encoding="utf-8")
    assert "is not a Record" in complaint(distiller("show", tmp_path))
    (tmp_path / "record.json").write_bytes(b"\xff")
    assert "is not a Record" in complaint(distiller("show", tmp_path))


def test_evaluating_what_cannot_be_evaluated(distiller: Command, shop: Workshop, tmp_path: Path) -> None:
    file = shop.file(tmp_path)
    assert "say which task with --run" in complaint(distiller("evaluate", shop.tuned))
    said = complaint(distiller("evaluate", shop.tuned, "--run", file, "--split", "tset"))
    assert "has no split `tset`" in said
    write(tmp_path / "more.csv", [{"text": "good"}])
    more = f"task.unlabelled={tmp_path}/more.csv"  # which is no split to score on
    said = complaint(distiller("evaluate", shop.tuned, "--run", file, "--split", "test", more))
    assert "task.test=FILE" in said
    assert "--split dev" in said
    assert "unlabelled" not in said
    assert "is not fine-tuned for the classification task" in complaint(distiller("evaluate", shop.base, "--run", file))
    assert "takes 40 tokens" in complaint(distiller("evaluate", shop.tuned, "--run", file, "task.max_length=64"))
    assert "there is no model folder" in complaint(distiller("evaluate", tmp_path / "nowhere", "--run", file))
    assert "holds no config.json" in complaint(distiller("evaluate", shop.root, "--run", file))
    write(tmp_path / "test.csv", [{"text": "good"}])
    unlabelled = distiller("evaluate", shop.tuned, "--run", file, "--split", "test", f"task.test={tmp_path}/test.csv")
    assert "has no labels" in complaint(unlabelled)


@pytest.mark.parametrize(
    ("line", "words", "hint"),
    [
        (["run", "rte", "--training.epochs=3"], "no such option: --training.epochs", "dashes: training.epochs=…"),
        (["check", "rte", "--output", "x"], "no such option: --output", "no dashes: output=…"),
        (["check", "rte", "--tme"], "no such option: --tme", "distiller check -h`"),
        (["recipes", "--a.b"], "no such option: --a.b", "distiller recipes -h`"),
        (["study", "rnu"], "no such command 'rnu'", "distiller study -h`"),
        (["check"], "missing argument 'RUN'", "distiller check -h`"),
        (["--tme"], "no such option: --tme", "distiller -h`"),
        (["advise", "x", "--top", "a"], "invalid value for '--top'", "distiller advise -h`"),
    ],
)
def test_a_command_line_that_cannot_be_read(line: list[str], words: str, hint: str, distiller: Command) -> None:
    said = complaint(distiller(*line))
    assert said.startswith(f"error: {words}")
    assert hint in said


def test_predicting_what_cannot_be_predicted(distiller: Command, shop: Workshop, tmp_path: Path) -> None:
    assert "has no head" in complaint(distiller("predict", shop.base, shop.dev))
    assert "has no column `txt`" in complaint(distiller("predict", shop.tuned, shop.dev, "--text", "txt"))
    assert "there is no file" in complaint(distiller("predict", shop.tuned, shop.root / "x.csv"))
    assert "an ending that is not read" in complaint(distiller("predict", shop.tuned, shop.file(tmp_path)))
    assert "holds no config.json" in complaint(distiller("predict", shop.root, shop.dev))
    said = complaint(distiller("predict", shop.tuned, shop.dev, "-o", tmp_path / "no" / "where.tsv"), code=1)
    assert "No such file or directory" in said
    shutil.copytree(shop.tuned, tmp_path / "half")
    shutil.copy(shop.file(tmp_path), tmp_path / "half")
    assert "holds no finished student" in complaint(distiller("predict", tmp_path / "half", shop.dev))
    shutil.copytree(shop.tuned, tmp_path / "torn" / "student")
    for command in (("predict", tmp_path / "torn", shop.dev), ("evaluate", tmp_path / "torn")):
        assert "holds the student of a run, but no run.yaml" in complaint(distiller(*command))


def test_a_text_longer_than_the_model_takes_is_cut(distiller: Command, shop: Workshop, tmp_path: Path) -> None:
    write(tmp_path / "long.csv", [{"text": "good " * 100}])
    assert distiller("predict", shop.tuned, tmp_path / "long.csv").code == 0


# --- failures while running ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "title"),
    [
        ("student", "distil, seed 0"),
        ("baseline", "fine-tune the student without a teacher, seed 0"),
        ("teacher", "fine-tune the teacher"),
    ],
)
def test_a_loss_that_is_no_number(where: str, title: str, shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    rate = {"learning_rate": 1e30}
    fields = {
        "student": {"training": FAST | rate},
        "baseline": {"training": FAST | rate, "baseline": True},
        "teacher": {"teacher": {"model": shop.base, "training": FAST | rate}, "cache": str(tmp_path / "cache")},
    }[where]
    said = complaint(distiller("run", shop.file(tmp_path, **fields), "-q"), code=1)
    assert f"{title}: " in said
    assert "is not a number at step" in said
    assert "training.learning_rate" in said
    assert unfinished(tmp_path)
    assert not list(tmp_path.glob("cache/teachers/*/scores.json"))


def test_json_is_all_there_is_on_stdout(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    json.loads(distiller("run", shop.file(tmp_path), "--json", "training.max_steps=2").out)
