"""Runs as data: what may be written, how overrides change it, and that YAML keeps it."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from distiller.config import (
    Component,
    Config,
    Objective,
    Optimisation,
    Run,
    Task,
    Teacher,
    Term,
    Training,
    apply_override,
    load_run,
    load_yaml,
    parse,
    parse_run,
    to_yaml,
)
from distiller.config.names import COMPONENTS
from distiller.config.translation import TranslationRun
from distiller.errors import ConfigError
from distiller.study.config import Study
from distiller.tasks import load_task

SMALL: dict[str, Any] = {"task": {"train": "a.csv"}, "teacher": {"model": "big"}}

names = st.sampled_from(["mse", "cos", "mi_alpha", "naïve ‘loss’", "yes", "1.0", "null", "a: b # c"])
options = st.dictionaries(names, st.one_of(st.integers(), st.floats(-1e6, 1e6), st.booleans(), names, st.none()))
losses, mappings = (st.sampled_from(COMPONENTS[kind]) for kind in ("intermediate objective", "layer mapping"))
terms = st.fixed_dictionaries(
    {"loss": losses, "weight": st.floats(0, 1e6), "options": options},
    optional={"mapping": st.one_of(mappings, st.fixed_dictionaries({"name": mappings, "options": options}))},
)
runs = st.fixed_dictionaries(
    {
        "task": st.fixed_dictionaries({"train": names}, optional={"labels": st.lists(names, min_size=1)}),
        "teacher": st.fixed_dictionaries({"model": names}),
        "objective": st.fixed_dictionaries({"intermediate": st.lists(terms, max_size=3)}),
        "seeds": st.lists(st.integers(0, 2**31), min_size=1, max_size=3, unique=True),
        "training": st.fixed_dictionaries({"learning_rate": st.floats(1e-12, 1e3)}),
    }
)


@settings(deadline=None, max_examples=50)
@given(data=runs, exclude_defaults=st.booleans())
def test_yaml_keeps_a_run(data: dict[str, Any], exclude_defaults: bool) -> None:
    run = parse_run(data)
    assert parse_run(yaml.safe_load(to_yaml(run, exclude_defaults=exclude_defaults))) == run


def test_a_name_is_short_for_a_component() -> None:
    run = parse_run(SMALL | {"objective": {"prediction": "kl", "intermediate": [{"loss": "mse", "mapping": "last"}]}})
    assert run.objective.prediction == Component(name="kl")
    assert run.objective.intermediate[0].mapping == Component(name="last")


def test_a_run_is_frozen_and_refuses_what_it_does_not_know() -> None:
    run = parse_run(SMALL)
    with pytest.raises(ConfigError, match="a `Run` stays as it was made"):
        run.output = "elsewhere"  # type: ignore[misc]
    assert run.model_copy(update={"seeds": [3]}).seeds == [3]
    with pytest.raises(ConfigError, match="no field is called `seed`"):
        run.model_copy(update={"seed": [3]})
    with pytest.raises(ConfigError, match="`training` is a `Training`, not a mapping"):
        run.model_copy(update={"training": {"epochs": 3}})
    with pytest.raises(ConfigError):
        parse_run(SMALL | {"sedes": [1]})
    with pytest.raises(ConfigError, match='quote a class that is called null: \\["null", …\\]'):
        parse_run(SMALL, ["task.labels=[null, bad]"])
    assert parse_run(SMALL, ['task.labels=["null", bad, no]']).task.labels == ["null", "bad", "no"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs=5", {"training": {"epochs": 5}}),
        ("training.learning_rate=3.0e-5", {"training": {"learning_rate": 3e-5}}),
        ("seeds=[0, 1]", {"seeds": [0, 1]}),
        ("task.max_length=null", {"task": {"train": "a.csv", "max_length": None}}),
        ("task.text=a=b", {"task": {"train": "a.csv", "text": "a=b"}}),
        ("objective.prediction.options.temperature=4", {"objective": {"prediction": {"options": {"temperature": 4}}}}),
        ("objective.intermediate.0.loss=mse", {"objective": {"intermediate": [{"loss": "mse"}]}}),
        ("student={layers: 2}", {"student": {"layers": 2}}),
        ("student=layers: 2", {"student": {"layers": 2}}),
        ("cache=rot: ", {"cache": "rot: "}),
        ("cache=Translate to English: {source}", {"cache": "Translate to English: {source}"}),
        ("cache=German: good day", {"cache": "German: good day"}),
        ('cache="{source} in English"', {"cache": "{source} in English"}),
    ],
)
def test_an_override_sets_one_value(override: str, expected: dict[str, Any]) -> None:
    assert apply_override(SMALL, override) == SMALL | expected
    assert SMALL == {"task": {"train": "a.csv"}, "teacher": {"model": "big"}}  # the original stays


def test_the_hint_about_what_is_no_yaml_can_be_typed() -> None:
    with pytest.raises(ConfigError) as error:
        apply_override(SMALL, "cache={source} in English: ")
    typed = shlex.split(str(error.value.hint).removeprefix("quote it: "))
    assert apply_override(SMALL, *typed) == SMALL | {"cache": "{source} in English: "}


def test_overrides_reach_into_lists_and_short_forms() -> None:
    data = SMALL | {"objective": {"prediction": "kl", "intermediate": [{"loss": "mse", "mapping": "skip"}]}}
    run = parse_run(
        data,
        [
            "objective.prediction.options.temperature=4",
            "objective.intermediate.0.mapping.options.include_embeddings=false",
            "objective.intermediate.1.loss=cos",
        ],
    )
    assert run.objective.prediction == Component(name="kl", options={"temperature": 4})
    assert run.objective.intermediate[0].mapping == Component(name="skip", options={"include_embeddings": False})
    assert [term.loss for term in run.objective.intermediate] == ["mse", "cos"]


@pytest.mark.parametrize("number", ["3e-5", "1e-4", "2.5e3"])
def test_numbers_that_yaml_takes_for_text_are_numbers(number: str) -> None:
    """YAML 1.1 reads `3e-5` as a word, since it has no point."""
    assert parse_run(SMALL, [f"training.learning_rate={number}"]).training.learning_rate == float(number)


def test_files_are_read_and_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(parse_run(SMALL)), encoding="utf-8")
    assert load_run(path, ["seeds=[4]"]).seeds == [4]
    with pytest.raises(ConfigError, match=r"mine\.yaml: no field is called `training\.epoch`"):
        load_run(path, ["training.epoch=4"])


def test_parts_are_parsed_with_the_same_words() -> None:
    assert parse(Training, {"epochs": 2}, where="here") == Training(epochs=2)
    with pytest.raises(ConfigError) as error:
        parse(Objective, {"intermedate": []}, where="here")
    assert error.value.message == "here: no field is called `intermedate`"
    assert error.value.hint == "did you mean `intermediate`?"


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (lambda: Run(**SMALL, sedes=[1]), "Run: no field is called `sedes`", "did you mean `seeds`?"),  # type: ignore[call-arg]
        (lambda: Run(**SMALL, seeds=[1, 1]), "Run: seeds must be distinct, got [1, 1]", "`distiller init"),
        (lambda: Run(teacher=SMALL["teacher"]), "Run: `task` is missing", "`distiller init"),  # type: ignore[call-arg]
        (lambda: Run(**SMALL | {"task": {"metrc": "f1"}}), "Run: no field is called `task.metrc`", "did you mean"),
        (lambda: Training(epochs=0), "Training: `epochs`: input should be greater than 0, got 0", "`epochs`: Passes"),
        (
            lambda: Term(loss="mze"),
            "Term: `loss`: no intermediate objective is called `mze`",
            "did you mean `mse`?",
        ),
        (
            lambda: Objective(prediction={"name": "{kl}"}),  # type: ignore[arg-type]
            "Objective: `prediction`: no prediction objective is called `{kl}`",
            "did you mean `kl`?",
        ),
        (
            lambda: Run(**SMALL, objective={"intermediate": [{"loss": "mse", "mapping": "frist"}]}),  # type: ignore[arg-type]
            "Run: `objective.intermediate.0.mapping`: no layer mapping is called `frist`",
            "one of `skip`, `skip_strict`, `last`, `emd`, `pairs`",
        ),
        (lambda: Study(seeds=[0]), "Study: `name` is missing", "`name`: Names the study"),  # type: ignore[call-arg]
        (lambda: Study(name="a b"), "Study: a name has letters", "`distiller init"),
        (lambda: Study(name="a", seeds=[]), "Study: `seeds`: list should have at least 1 item", "`seeds`: Every"),
        (
            lambda: Run(task={"kind": "translation", "train": {"sauce": "a"}}),  # type: ignore[arg-type]
            "TranslationRun: `task.train.source` is missing",
            "`source`: A text file",
        ),
        (
            lambda: Run(task={"kind": "translation", "train": {"source": "a", "target": "b"}}, teacher="big"),  # type: ignore[arg-type]
            "TranslationRun: `teacher` has fields, got 'big'",
            "they are model, languages, ",
        ),
        (
            lambda: Run(**SMALL, objective={"intermediate": ["mse"]}),  # type: ignore[arg-type]
            "Run: `objective.intermediate.0` has fields, got 'mse'",
            "`{loss: mse}`",
        ),
    ],
)
def test_what_is_made_wrongly_in_python_is_said_as_for_yaml(
    make: Callable[[], object], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    assert error.value.message.startswith(message)
    assert "\n" not in error.value.message
    assert (error.value.hint or "").startswith(hint)


def test_an_error_explains_the_field() -> None:
    with pytest.raises(ConfigError) as error:
        parse_run(SMALL | {"student": {"pick": [1, "two"]}})
    assert error.value.message.startswith("run: `student.pick")
    assert (error.value.hint or "").startswith("`pick`: Which layers of the source are kept")
    assert "\n" not in str(error.value.hint)


@pytest.mark.parametrize(
    "override",
    [
        "seeds=[-1]",
        "seeds=[4294967296]",
        "teacher.seed=-1",
        "task.split_seed=4294967296",
        "training.epochs=.inf",
        "training.epochs=1e9",
        "training.batch_size=1000000000000",
        "training.accumulate=1000000000000",
        "training.max_steps=99999999999",
        "training.threads=1000000000",
        "training.workers=100000",
        "training.checkpoint_minutes=-1",
        "training.learning_rate=true",
        "training.batch_size=true",
        "objective.beta1=false",
        "seeds=[true]",
        "output=$HOME/out",
        "cache=${HOME}/cache",
        "stages=[{name: ../../x, objective: {}}]",
        "stages=[{name: a/b, objective: {}}]",
        "stages=[{name: a, objective: {}}, {name: A, objective: {}}]",
        "stages=[{name: student, objective: {}}]",
        'output="a\\0b"',
        'task.train="\\ud800"',
        "training={epochs: 1, epochs: 2}",
        "seeds=[" + "9" * 5000 + "]",
        "seeds=[0x" + "f" * 5000 + "]",
        "student.config.x=" + "[" * 60 + "]" * 60,
        "student.config.x=" + "[" * 5000,
        "student.config.x=2020-13-45",
    ],
)
def test_what_no_run_can_have_is_refused_before_anything_starts(override: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_run(SMALL, [override])
    assert error.value.hint
    assert "\n" not in error.value.message
    assert len(error.value.message) < 400


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: {b: 1, b: 2}\n", "- {x: 1, x: 1}\n"])
def test_a_key_given_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is given twice"):
        load_yaml(text)


def parts(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is put together of."""
    yield annotation
    for inner in get_args(annotation):
        yield from parts(inner)


def configs(root: type[Config]) -> set[type[Config]]:
    """`root`, and the classes of its parts."""
    found = {root}
    for field in root.model_fields.values():
        for part in parts(field.annotation):
            if isinstance(part, type) and issubclass(part, Config) and part is not root:
                found |= configs(part)
    return found


KINDS = sorted(configs(Run) | configs(TranslationRun) | configs(Study), key=str)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_no_number_may_be_a_truth_value(kind: type[Config]) -> None:
    for field in kind.model_fields.values():
        types = set(parts(field.annotation))
        if not types & {int, float} or types & {bool, Any}:
            continue
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])
        for value in (True, [True], {"x": True}, [True, True]):
            with pytest.raises(ValidationError):
                adapter.validate_python(value)


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ("true", "0.weight`: should be a number, got True"),
        ("-1", "0.weight`: input should be greater than or equal to 0, got -1"),
        ("{shar: 0.3}", "0.weight.share` is missing"),
        ("{share: true}", "0.weight.share`: should be a number, got True"),
    ],
)
def test_a_number_or_a_part_is_refused_as_what_it_looks_like(weight: str, words: str) -> None:
    with pytest.raises(ConfigError, match="weight") as error:
        parse_run(SMALL, [f"objective.intermediate=[{{loss: mse, weight: {weight}}}]"])
    assert words in error.value.message


def test_a_path_is_text_wherever_a_file_is_named() -> None:
    task = Task(train=Path("a.csv"), dev=Path("b.csv"))  # pyright: ignore[reportArgumentType]
    assert Task(train="a.csv", unlabelled=[Path("b.txt"), "c.txt"]).unlabelled == ["b.txt", "c.txt"]  # pyright: ignore[reportArgumentType]
    run = Run(task=task, teacher=Teacher(model=Path("m")), output=Path("o"), cache=Path("c"))  # pyright: ignore[reportArgumentType]
    assert (run.task.train, run.task.dev, run.teacher and run.teacher.model) == ("a.csv", "b.csv", "m")
    assert to_yaml(run) == to_yaml(Run.model_validate(yaml.safe_load(to_yaml(run))))


def test_rows_at_hand_are_told_how_a_run_names_them(tmp_path: Path) -> None:
    datasets, pandas = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    rows = {"text": ["good", "bad", "fine", "dull"], "label": ["p", "n", "p", "n"]}
    frame, data = pandas.DataFrame(rows), datasets.Dataset.from_dict(rows)
    for held, told in (
        (frame, 'frame.to_csv("train.csv", index=False)'),
        (data, 'data.to_json("train.jsonl")'),
        (datasets.DatasetDict(train=data), 'data["train"].to_json("train.jsonl")'),
        ({"train": frame}, 'data["train"].to_json("train.jsonl")'),
        (rows, 'pandas.DataFrame(rows).to_csv("train.csv", index=False)'),
        (frame.to_dict("records"), 'pandas.DataFrame(rows).to_csv("train.csv", index=False)'),
    ):
        for place in ("train", "data", "unlabelled"):
            for make in (Task, lambda **task: Run(task=task)):  # pyright: ignore[reportArgumentType]
                with pytest.raises(ConfigError, match=f"{place}` is a file or a name, got") as error:
                    make(**{place: held})
                assert told in str(error.value.hint)
                assert "Translation" not in error.value.message
    frame.to_csv(tmp_path / "train.csv", index=False)
    data.to_json(tmp_path / "train.jsonl")
    for name in ("train.csv", "train.jsonl"):
        assert load_task(Task(train=str(tmp_path / name))).labels == ("n", "p")


@pytest.mark.parametrize("key", [1, 1.5, None, True])
def test_a_key_that_is_no_text_is_refused_in_a_line(key: Any) -> None:
    with pytest.raises(ConfigError, match="keys should be strings"):
        parse_run({**SMALL, key: 1})


def test_merged_keys_may_be_given_again() -> None:
    # names of one letter would not do: PyYAML 6.0.4 takes the first of two of them
    text = "base: &base {rate: 1, seed: 2}\none: &one {<<: *base, rate: 3}\ntwo: {<<: *one, seed: 4}\n"
    assert load_yaml(text)["two"] == {"rate": 3, "seed": 4}


def test_the_names_of_components_are_those_of_their_tables() -> None:
    from distiller.augment.operators import AUGMENTERS
    from distiller.objectives.critics import CRITICS
    from distiller.objectives.intermediate import INTERMEDIATE
    from distiller.objectives.mapping import MAPPING
    from distiller.objectives.prediction import PREDICTION

    tables: list[Any] = [PREDICTION, INTERMEDIATE, MAPPING, CRITICS, AUGMENTERS]
    assert {table.kind: tuple(table) for table in tables} == COMPONENTS


def test_the_training_of_a_teacher_is_its_optimisation() -> None:
    teacher = Teacher(model="teacher", training=Training(max_steps=120))
    assert type(teacher.training) is Optimisation
    assert teacher == Teacher.model_validate({"model": "teacher", "training": {"max_steps": 120}})
    assert Teacher.model_validate(teacher.model_dump()) == teacher
    with pytest.raises(ConfigError, match=r"a teacher's training has no `precision`"):
        Teacher(model="teacher", training=Training(precision="fp32"))
