"""A study as data: which fields of a run vary over which levels, on which tasks, and how trials are carried out."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, model_validator

from distiller.config import Component, Config, apply_override, parse, read_yaml
from distiller.config.base import Choice, spelt_out
from distiller.errors import ConfigError
from distiller.recipes import is_name, recipe_text
from distiller.registry import Count, NonNegative, Positive, Seed

Words = Annotated[list[str], Field(min_length=1)]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Factor(Config):
    """One field of the run that varies. In YAML a list, or a mapping from labels to values, is short for `levels`."""

    levels: Annotated[dict[str, Any], Field(min_length=1)]
    """What the field may be, by label. A list is labelled by its values: `[{loss: mi_alpha, options: {alpha: 0.9}}]`
    is `mi_alpha(alpha=0.9)`."""
    name: str
    """Its column in tables and reports."""
    when: dict[str, Annotated[Words, BeforeValidator(_listed)]] = {}
    """Only where these other factors have one of these levels; elsewhere the field stays the base run's."""


CANONICAL = {
    "objective.intermediate": "intermediate",
    "objective.prediction": "prediction",
    "objective.intermediate.0.mapping": "mapping",
    "augmentation": "augmentation",
}
"""The four factors of arXiv:2109.11105 have short names; every other field is called by its dotted path."""


def label_of(value: Any) -> str:
    """A short name for a level: components by name and options, lists joined by `+`, nothing as `none`."""
    if isinstance(value, list):
        return "+".join(label_of(item) for item in value) or "none"
    if isinstance(value, Mapping):
        name = value.get("name") or value.get("loss")
        rest = {key: item for key, item in value.items() if key not in ("name", "loss", "options")}
        named = {**(value.get("options") or {}), **rest}
        inner = ", ".join(f"{key}={label_of(item)}" for key, item in named.items())
        return f"{name or ''}({inner})" if inner or not name else str(name)
    return yaml.safe_dump(value).partition("\n")[0] if value is None or isinstance(value, bool) else str(value)


def _factors(value: Any) -> Any:
    """A space with its short forms written out."""
    if not isinstance(value, Mapping):
        return value
    spelt = {}
    for field, given in value.items():
        factor = dict(given) if isinstance(given, Mapping) and "levels" in given else {"levels": given}
        if isinstance(levels := factor["levels"], list):
            labels = [label_of(level) for level in levels]
            if twice := next((label for label in labels if labels.count(label) > 1), None):
                raise ValueError(f"`{field}` has two levels called `{twice}`; give them labels: {{label: value, …}}")
            factor["levels"] = dict(zip(labels, levels, strict=True))
        elif isinstance(levels, Mapping):
            factor["levels"] = {label_of(label): level for label, level in levels.items()}
        spelt[field] = {"name": CANONICAL.get(field, field), **factor}
    return spelt


TASK_LABEL = ("name", "train", "data", "source")
TEACHER_LABEL = ("model", "architecture")
STUDENT_LABEL = ("architecture", "model", "layers")
"""The fields that tasks, teachers and students are called after, the first that says something."""


def _named(value: Any, key: str, *further: str) -> Any:
    """Tasks, teachers or students by label; members of a list are labelled by their content."""
    if not isinstance(value, list):
        return value
    spelt: dict[str, Any] = {}
    for item in value:
        fields = {key: item} if isinstance(item, str) else item
        label = part_label(fields, key, *further) if isinstance(fields, Mapping) else str(fields)
        if label in spelt:
            raise ValueError(f"two are called `{label}`; give them labels: {{label: …}}")
        spelt[label] = fields
    return spelt


def part_label(fields: Mapping[str, Any], *keys: str) -> str:
    """The label of a task, teacher or student: the first of its fields `keys` that is informative.

    For a translation model that is the architecture in its `shape`, or its layers (`6x3`), for a translation task the
    file in `train`.
    """
    if isinstance(shape := fields.get("shape"), Mapping):
        layers = [str(shape[name]) for name in ("encoder_layers", "decoder_layers") if name in shape]
        fields = {**fields, "shape": None, "architecture": shape.get("architecture") or "x".join(layers) or None}
    if isinstance(train := fields.get("train"), Mapping):
        fields = {**fields, "train": None, **train}
    for key in keys:
        if fields.get(key) is not None and fields[key] != "custom":
            text = str(fields[key]).removeprefix("package:").rstrip("/").rpartition("/")[2]
            return f"{text}-{key}" if isinstance(fields[key], int) else text
    return label_of(fields) if fields else "default"


class Engine(Config):
    """What carries out the trials. In YAML `ray` is short for `{name: ray}`."""

    name: Literal["local", "ray"] = "local"
    """`local`: worker processes on this machine; `ray`: workers on a Ray cluster."""
    workers: Annotated[Count, Field(le=4096)] | None = None
    """Trials at a time. `null`: 1; as many as fit into the free memory, where `gigabytes` says what one takes; or as
    many as the Ray cluster has room for."""
    gigabytes: Positive | None = None
    """Memory that one local trial takes, in 10^9 bytes: of its device, or of this machine without `devices`."""
    threads: Annotated[Count, Field(le=1024)] | None = None
    """CPU threads of each worker. `null`: this machine's cores shared out, or `cpus` with Ray."""
    devices: list[str] = []
    """Accelerators dealt out to local workers in turn, as in CUDA_VISIBLE_DEVICES. Empty: each sees all."""
    address: str | None = None
    """Address of a Ray cluster, `auto` for the one this machine belongs to. `null`: Ray starts here."""
    cpus: Positive = 1
    """CPUs of each Ray worker."""
    gpus: NonNegative = 0
    """GPUs of each Ray worker; a fraction shares one."""


class Study(Config):
    """Many runs that differ in some fields: everything that determines what is tried, and how."""

    name: str
    """Names the study in its storage."""
    base: dict[str, Any] | str = {}
    """The run that all trials share, of encoders or of translation models: a mapping as in a run file, a file, or the
    name of a recipe."""
    space: Annotated[dict[str, Factor], BeforeValidator(_factors)] = {}
    """Dotted fields of a run, and the levels over which each varies."""
    exclude: list[dict[str, Annotated[Words, BeforeValidator(_listed)]]] = []
    """Combinations that are never tried, e.g. `{kind: regression, prediction: ce}`. Keys: factors, and `task`,
    `teacher`, `student`, `kind` (of the task)."""
    tasks: Annotated[dict[str, dict[str, Any]], BeforeValidator(lambda value: _named(value, *TASK_LABEL))] = {}
    """Tasks by label, each laid over the base run's. Empty: the base run's."""
    teachers: Annotated[dict[str, dict[str, Any]], BeforeValidator(lambda value: _named(value, *TEACHER_LABEL))] = {}
    """Teachers by label, each laid over the base run's. Empty: the base run's. `{task}` in a `model` is the label of
    the task: `{bert-base: {model: "my-org/bert-base-{task}"}}` has a teacher of its own for each."""
    students: Annotated[dict[str, dict[str, Any]], BeforeValidator(lambda value: _named(value, *STUDENT_LABEL))] = {}
    """Students by label, each in place of the base run's. Empty: the base run's."""
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]
    """Every point is tried once with each."""
    trials: Count | Literal["all"] = "all"
    """Points tried for each task, teacher, student and seed."""
    sampler: Choice = Component(name="random")
    """`random` (uniform, without replacement), `grid`, or a sampler of Optuna: `tpe`, `gp`, `nsga2`, `qmc`."""
    pruner: Choice = Component(name="none")
    """`none`, or a pruner of Optuna: `median`, `percentile`, `asha`, `hyperband`. Stops poor trials early."""
    sampler_seed: Seed = 0
    """Fixes which points are tried, and in which order."""
    engine: Annotated[Engine, BeforeValidator(spelt_out)] = Engine()
    storage: str | None = None
    """Where the trials are kept: a .db file (SQLite), a .journal file, or a URL of a database that SQLAlchemy knows.
    `null`: `study.db` in the study's folder."""
    folder: str | None = None
    """Where the study's files lie. `null`: `outputs/NAME`."""
    cache: str | None = None
    """Folder of what trials share. `null`: the base run's."""
    cache_gb: Positive = 20.0
    """Room for it in 10^9 bytes; what was not used for longest makes room for what is new."""
    keep: Literal["best", "all", "none"] = "best"
    """Whose student is kept: the best one's of each task, teacher and student, everyone's, or nobody's."""

    @model_validator(mode="after")
    def _sound(self) -> "Study":
        if not re.fullmatch(r"[\w.+-]+", self.name) or self.name.startswith("."):
            raise ValueError(f"a name has letters, digits, `.`, `_`, `+` and `-`, got `{self.name}`")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct, got {self.seeds}")
        names = [factor.name for factor in self.space.values()]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two factors are called `{twice}`; give one another name: {{name: …, levels: …}}")
        return self

    @property
    def place(self) -> Path:
        """The study's folder."""
        return Path(self.folder or f"outputs/{self.name}").expanduser()


def parse_study(data: Mapping[str, Any], overrides: Sequence[str] = (), *, where: str = "study") -> Study:
    """A `Study` from plain data and `a.b=value` overrides. Raises `ConfigError` that names the field."""
    merged = dict(data)
    for override in overrides:
        field, equals, _ = override.removeprefix("space.").partition("=")
        if override.startswith("space.") and equals:  # the fields of a space contain dots
            levels = apply_override({}, f"levels={override.partition('=')[2]}")["levels"]
            merged["space"] = {**(merged.get("space") or {}), field: levels}
        else:
            merged = apply_override(merged, override)
    return parse(Study, merged, where=where)


def load_study(source: str | Path, overrides: Sequence[str] = ()) -> Study:
    """The study in a YAML file, in the folder of a study, or in the recipe of that name."""
    path = Path(source)
    if is_name(source):
        return parse_study(yaml.safe_load(recipe_text(str(source))), overrides, where=f"recipe {source}")
    if "://" in str(source) or path.suffix in STORAGES:
        raise ConfigError(f"`{source}` is a storage of studies", hint="name the file or the folder of one study")
    if not path.is_dir():
        data = read_yaml(path)
        if "task" in data and "name" not in data:
            raise ConfigError(f"`{source}` is a run, not a study", hint=f"distiller run {source}")
        return parse_study(data, overrides, where=str(source))
    if not (path / STUDY_FILE).is_file():
        raise ConfigError(f"`{path}` is not the folder of a study", hint="`distiller study run` makes one")
    stored = {**read_yaml(path / STUDY_FILE), "folder": str(path)}  # it may have been moved
    return parse_study(stored, overrides, where=str(path / STUDY_FILE))


def base_of(study: Study) -> dict[str, Any]:
    """The run that all trials of `study` share, as plain data. Raises `ConfigError`."""
    if not isinstance(study.base, str):
        return dict(study.base)
    return yaml.safe_load(recipe_text(study.base)) if is_name(study.base) else read_yaml(study.base)


STORAGES = (".db", ".sqlite", ".sqlite3", ".journal", ".log")
"""What files are called that hold the trials of studies."""
STUDY_FILE = "study.yaml"
"""The study in full, in its folder."""
TRIALS = "trials"
"""The folder beside it with the outputs of its trials."""
