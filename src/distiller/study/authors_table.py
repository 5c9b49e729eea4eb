"""The table of runs that the authors of arXiv:2109.11105 published beside their code, in our terms."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distiller.errors import DataError
from distiller.study.table_files import read_frame

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("Model", "Teacher", "intermediate_loss_type", "alpha", "intermediate_strategy", "kd_loss_type")
METRICS = {
    "mnli": "accuracy", "qqp": "f1", "qnli": "accuracy", "sst2": "accuracy", "cola": "matthews", "mrpc": "f1",
    "rte": "accuracy", "stsb": "spearman", "boolq": "accuracy",
}  # fmt: skip
OPERATORS = {"contextual": "contextual", "backtranslation": "back_translation", "random": "random"}
MODELS = {"TinyBERT4": "tinybert-4", "TinyBERT_4": "tinybert-4", "TinyBERT6": "tinybert-6", "TinyBERT_6": "tinybert-6"}
"""Names that are more than a change of case."""
PARAMETERS = {
    "tinybert-4": 14_350_248, "tinybert-6": 66_955_008, "electra-small": 13_483_008, "bert-base": 109_482_240,
    "bert-medium": 41_373_184, "bert-small": 28_763_648, "bert-mini": 11_170_560, "bert-tiny": 4_385_920,
}  # fmt: skip
"""As in `distiller.models.architectures`, which needs torch; a test compares them."""


def is_authors(source: Path) -> bool:
    """Whether this is that table, or the folder that contains it."""
    file = source / "runs.csv" if source.is_dir() else source
    return file.suffix == ".csv" and file.is_file() and set(HEADER) <= set(read_frame(file))


def authors_frame(source: Path) -> "pd.DataFrame":
    """The runs as a frame of trials; the factors are the four of `FACTORS`. Raises `DataError` for another table.

    `alpha` is 0.1 in rows without mutual information and is dropped there; the ranks of the operators and the mixup
    flag become one ordered augmentation. `baseline_score` there is that of a BiLSTM: ours, the student without a
    teacher, is in `student_baseline.csv`. `aug_p`, `repeated_aug` and `examples` are kept as well.
    """
    file = source / "runs.csv" if source.is_dir() else source
    table = read_frame(file)
    missing = [name for name in HEADER if name not in table]
    if missing:
        raise DataError(f"`{file}` has no column `{missing[0]}`: not the authors' runs", hint="use `--map`")
    rows: list[dict[str, Any]] = table.to_dict("records")
    frame = table[["aug_p", "repeated_aug"]].assign(
        examples=table["#example"],
        task=[row["task"].replace("-", "") for row in rows],
        teacher=[_model(row["Teacher"]) for row in rows],
        student=[_model(row["Model"]) for row in rows],
        intermediate=[_intermediate(row) for row in rows],
        prediction=table["kd_loss_type"],
        mapping=table["intermediate_strategy"],
        augmentation=[_augmentation(row) for row in rows],
        score=table["score"],
        ratio=table["ratio"],
    )
    frame["metric"] = [METRICS.get(task, "") for task in frame["task"]]
    frame["parameters"] = [PARAMETERS.get(student) for student in frame["student"]]
    # The authors' own denominators have no column: they follow from the ratio, where the score is not 0.
    quotient = (table["score"].astype(float) / table["ratio"].astype(float)).where(table["ratio"].astype(float) != 0)
    frame["teacher_score"] = quotient.groupby([frame["task"], frame["teacher"]]).transform("median").round(4)
    return _with_baselines(frame, file.with_name("student_baseline.csv"))


def _with_baselines(frame: "pd.DataFrame", file: Path) -> "pd.DataFrame":
    if not file.is_file():
        return frame
    rows: list[dict[str, Any]] = read_frame(file).to_dict("records")
    known = {(row["task"].replace("-", ""), _model(row["Model"])): float(row["student_score"]) / 100 for row in rows}
    keys = zip(frame["task"], frame["student"], strict=True)
    return frame.assign(baseline_score=[known.get(key) for key in keys])


def _model(name: str) -> str:
    return MODELS.get(name, name.lower().replace("_", "-"))


def _intermediate(row: dict[str, Any]) -> str:
    name = row["intermediate_loss_type"]
    return f"mi_alpha(alpha={float(row['alpha']):g})" if name == "mi" else name


def _augmentation(row: dict[str, Any]) -> str:
    ranked = sorted((int(row[theirs]), ours) for theirs, ours in OPERATORS.items() if int(row[theirs]))
    mixup = ["mixup"] if row["mixup"].strip().lower() == "true" else []
    return "+".join([*(name for _, name in ranked), *mixup]) or "none"
