"""The names that a user imports: what they are, and that a script with them passes a strict type checker."""

import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import pytest
import torch
from typer.testing import CliRunner

import distiller
from distiller import losses
from distiller.cli import app
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.objectives.prediction import LABEL, PREDICTION
from distiller.recipes import texts

SCRIPT = """
import torch
from transformers import PreTrainedModel, TrainingArguments

from distiller import (
    DistillationTrainer, DistillerError, Objective, Predictor, Record, Run, Student, Study, Task, Teacher, Term,
    Training, distil, evaluate, load_record, load_run, load_study, parse_run, predict, run_study,
)
from distiller.analysis import factor_importance
from distiller.losses import cos, kl
from distiller.models import build_student, load_model
from distiller.study import load_trials
from distiller.tasks import load_task


def train(student: PreTrainedModel, teacher: PreTrainedModel) -> float:
    objective = Objective(gamma1=0.5, intermediate=[Term(loss="mse", weight=1.0)])
    arguments = TrainingArguments(output_dir="out")
    trainer = DistillationTrainer(student, arguments, teacher=teacher, objective=objective)
    trainer.train()
    return sum(trainer.evaluate().values())


def whole_run() -> Record:
    task = Task(train="reviews.csv", text="review")
    run = Run(task=task, teacher=Teacher(model="bert"), student=Student(), training=Training(epochs=3))
    try:
        return distil(run, resume=True)
    except DistillerError as error:
        print(error.message, error.hint)
        return load_record("outputs/reviews")


def own_loop(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return kl(student, teacher, temperature=2.0).mean() + cos(student, teacher, mask).mean()


def labels(folder: str) -> list[str | float]:
    predictor = Predictor(folder)
    print(predict(folder, [("a question", "its text")]), evaluate(folder, "dev.csv")["accuracy"])
    return [row["label"] for row in predictor(["a text"])]


def parts(task: Task) -> None:
    data = load_task(task)
    teacher = load_model("bert-base-uncased", kind=data.kind, labels=data.label_names)
    print(build_student, teacher.config.num_hidden_layers, factor_importance(load_trials("outputs/study")).shares)


def study(path: str) -> int:
    found: Study = load_study(path)
    print(load_run(path, ["training.epochs=5"]), parse_run({}))
    return run_study(found).finished
"""


PACKAGES = ["distiller", *(f"distiller.{found.name}" for found in iter_modules(distiller.__path__) if found.ispkg)]
GIVING = [name for name in PACKAGES if name not in ("distiller.cli", "distiller.recipes")]


@pytest.mark.parametrize("package", GIVING)
def test_a_package_gives_what_it_says(package: str) -> None:
    module = import_module(package)
    assert module.__all__ == sorted(set(module.__all__), key=module.__all__.index)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        found = getattr(module, name)
        assert not isinstance(found, ModuleType), name
        assert found.__doc__, name
    below = {found.name for found in iter_modules(module.__path__)}
    assert not below & set(module.__all__), "a module of that name would take its place"


def test_every_loss_has_a_name() -> None:
    named = {inspect.unwrap(getattr(losses, name)) for name in losses.__all__}
    in_tables = {entry.function for family in (PREDICTION, LABEL, INTERMEDIATE) for entry in family.entries.values()}
    assert named == in_tables


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    for module in (distiller, losses):
        with pytest.raises(AttributeError, match="no attribute `nothing`"):
            module.nothing  # noqa: B018


@pytest.mark.slow
def test_a_script_passes_the_strict_type_checker(tmp_path: Path) -> None:
    pytest.importorskip("pyright", reason="the type checker is a package of the extra `dev`")
    assert (Path(distiller.__file__).parent / "py.typed").is_file()
    (tmp_path / "script.py").write_text(SCRIPT)
    source = str(Path(distiller.__file__).parents[1])
    settings = {"typeCheckingMode": "strict", "extraPaths": [source], "reportPrivateImportUsage": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    call = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=600)
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert not found, [(one["range"]["start"]["line"], one["message"]) for one in found]


def test_the_command_says_its_version_and_gives_lists_as_json() -> None:
    def said(*arguments: str) -> str:
        shown = CliRunner().invoke(app, arguments)
        assert shown.exit_code == 0, shown.output
        return shown.output

    assert said("--version") == f"distiller {distiller.__version__}\n"
    assert "--install-completion" in said("--help")
    assert set(json.loads(said("recipes", "--json"))) >= set(texts())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kl", {"temperature": 0}),
        ("ce", {"temperature": -1.0}),
        ("mse", {"divide_by": 0.0}),
        ("hidden_mse", {"reduce": "sum"}),
        ("pkd", {"tokens": "first"}),
        ("mi_alpha", {"alpha": 2}),
    ],
)
def test_a_loss_refuses_options_out_of_their_range(name: str, options: dict[str, object]) -> None:
    scores = torch.ones(2, 3, 3) if name in ("hidden_mse", "pkd") else torch.ones(3, 3)
    with pytest.raises(ValueError, match=next(iter(options))):
        getattr(losses, name)(scores, scores, torch.ones(2, 3), **options)
    assert getattr(losses, name) is getattr(losses, name)
