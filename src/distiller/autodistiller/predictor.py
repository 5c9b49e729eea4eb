"""Predicts the distillation ratio of pipelines from experience: several predictors behind one interface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
from pydantic import Field

from distiller.autodistiller import features
from distiller.autodistiller.additive import Effects, Variances, fit_additive
from distiller.autodistiller.experience import Experience
from distiller.autodistiller.fit_data import FitData, impossible, prepare
from distiller.autodistiller.target import offsets
from distiller.autodistiller.vectors import Vectors
from distiller.errors import MissingPackageError
from distiller.registry import Count, Entry, Family, NonNegative, Number, Positive

if TYPE_CHECKING:
    import pandas as pd

Z = 1.2816
"""Of the normal distribution: 80 % lie within so many standard deviations."""


class Predict(Protocol):
    """A fitted predictor: a function of rows that hold only what is known before a run."""

    def __call__(self, rows: "pd.DataFrame") -> Effects:
        """The prediction for `rows`, on the common scale of the target."""
        ...


Fit = Callable[..., Predict]
"""From a `FitData` and keyword-only options to a `Predict`."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for `n` pipelines."""

    ratio: np.ndarray
    """Distillation ratio, `[n]`."""
    low: np.ndarray
    high: np.ndarray
    """The ends of an interval that should hold 80 % of single runs."""
    order: np.ndarray
    """Ranks the pipelines, the highest is best: pipelines that cannot learn are below all others."""
    parts: Mapping[str, np.ndarray]
    """By factor, what the choice multiplies the ratio with, `[n]`; 1 does nothing."""


@dataclass(frozen=True)
class Predictor:
    """A fitted predictor."""

    fit_data: FitData
    function: Predict

    def predict(self, rows: "pd.DataFrame") -> Prediction:
        """Predict rows with the columns of trials; only what is known before a run is read."""
        known = features.before(rows, self.fit_data.factors)
        kinds = {task.name: task.kind for task in self.fit_data.tasks}
        effects = self.function(known)
        scales = {task: self.fit_data.scale(task) for task in dict.fromkeys(map(str, known["task"]))}
        level = np.array([scales[task][0].level for task in known["task"]])
        spread = np.array([scales[task][0].spread for task in known["task"]])
        unsure = np.array([scales[task][1] for task in known["task"]])
        target = self.fit_data.target
        start = offsets(known, teacher=target.teacher, baseline=target.baseline)
        middle = start + level + effects.values * spread
        width = Z * np.sqrt(unsure**2 + (effects.deviation * spread) ** 2)
        dead = impossible(known, kinds)
        return Prediction(
            ratio=np.where(dead, 0.0, np.exp(middle)),
            low=np.where(dead, 0.0, np.exp(middle - width)),
            high=np.exp(middle + width),
            order=middle - 1e3 * dead,
            parts={name: np.exp(part * spread) for name, part in effects.parts.items()},
        )


def additive(
    fit_data: FitData, *, choice: NonNegative = 0.2, student: NonNegative = 1.0, similar: NonNegative = 1.0
) -> Predict:
    """An additive model with effects shared by all tasks and by similar tasks (Gaussian process)."""
    return fit_additive(fit_data, Variances(choice=choice, student=student, similar=similar)).predict


def forest(
    fit_data: FitData,
    *,
    trees: Count = 300,
    leaf: Count = 3,
    features: Annotated[float, Field(gt=0, le=1), Number] = 0.5,
    seed: int = 0,
) -> Predict:
    """The mean of a random forest and of extremely randomised trees (scikit-learn) on the features of Table 7."""
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    columns = _Columns(fit_data)
    inputs = columns.of(fit_data.rows)
    options: Any = {"min_samples_leaf": leaf, "max_features": features, "random_state": seed, "n_jobs": 1}
    fitted = [kind(trees // 2 or 1, **options) for kind in (RandomForestRegressor, ExtraTreesRegressor)]
    for one in fitted:
        one.fit(inputs, fit_data.target.values)

    def predict(rows: "pd.DataFrame") -> Effects:
        table = columns.of(rows)
        each = np.stack([tree.predict(table) for one in fitted for tree in one.estimators_])
        return Effects(each.mean(0), np.sqrt(each.var(0) + 1.0), {})

    return predict


def autogluon(fit_data: FitData, *, seconds: Positive = 60.0) -> Predict:
    """AutoGluon-Tabular (the paper's choice) on the features of Table 7; tasks are its folds if there are three."""
    try:
        from autogluon.tabular import TabularPredictor  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingPackageError(
            "the predictor `autogluon` needs AutoGluon-Tabular", hint='pip install "distiller-nlp[auto]"; or `additive`'
        ) from None
    import tempfile

    columns = _Columns(fit_data)
    frame = columns.frame(fit_data.rows)
    frame["target"] = fit_data.target.values
    many = fit_data.rows["task"].nunique() >= 3
    if many:
        frame["task"] = fit_data.rows["task"].to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        fitted = TabularPredictor(
            "target", "regression", "root_mean_squared_error", path=folder, verbosity=0, groups="task" if many else None
        ).fit(frame, time_limit=seconds, num_gpus=0, hyperparameters={"GBM": {}, "RF": {}, "XT": {}, "KNN": {}})
        fitted.persist()
    rest = float(np.std(fit_data.target.values - fitted.predict(frame).to_numpy(float)))

    def predict(rows: "pd.DataFrame") -> Effects:
        values = fitted.predict(columns.frame(rows)).to_numpy(float)
        return Effects(values, np.full(len(values), np.hypot(rest, 1.0)), {})

    return predict


PREDICTORS: Family[Fit] = Family(
    "predictor",
    {
        "additive": Entry(additive, "ours; docs/results.md compares"),
        "forest": Entry(forest, "Breiman 2001; Geurts et al. 2006"),
        "autogluon": Entry(autogluon, "arXiv:2003.06505", {"package": "autogluon.tabular"}),
    },
)


def fit_predictor(
    experience: Experience,
    *,
    vectors: Vectors | None = None,
    predictor: str = "additive",
    options: Mapping[str, Any] | None = None,
    teacher: bool = True,
    baseline: bool = False,
) -> Predictor:
    """Fit a predictor to the trials of `experience`, for all tasks about which it has facts.

    `teacher` and `baseline` say whether those scores will be known: known scores are subtracted from the target, not
    learnt. Raises `ConfigError` for an unknown predictor, `DataError` without a finished trial, `MissingPackageError`.
    """
    chosen = PREDICTORS.options(predictor, options or {})
    fit_data = prepare(experience, vectors=vectors or {}, teacher=teacher, baseline=baseline)
    return Predictor(fit_data, PREDICTORS[predictor].function(fit_data, **chosen))


class _Columns:
    """The features of any rows, in the columns of the trials of `fit_data`, standardised; unknown ones are 0."""

    def __init__(self, fit_data: FitData) -> None:
        self._fit_data = fit_data
        raw: Any = self._raw(fit_data.rows)
        self._names = list(raw)
        self._mean = raw.mean().fillna(0.0)
        deviation = raw.std(ddof=0)
        self._deviation = deviation.where(deviation > 1e-12, 1.0).fillna(1.0)

    def frame(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        raw = self._raw(rows).reindex(columns=self._names)
        return ((raw - self._mean) / self._deviation).fillna(0.0)

    def of(self, rows: "pd.DataFrame") -> np.ndarray:
        return self.frame(rows).to_numpy(float)

    def _raw(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        return features.table(rows, self._fit_data.factors, self._fit_data.tasks, self._fit_data.vectors)
