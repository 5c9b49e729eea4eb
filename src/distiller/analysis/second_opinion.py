"""Optuna's PED-ANOVA of the same trials: another method, another implementation."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from distiller.analysis.factor_space import factor_space_of
from distiller.errors import importing

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 20
"""Trials below which the best tenth of them is no distribution."""


def ped_anova(frame: "pd.DataFrame", factors: Sequence[str], *, target: str = "score") -> dict[str, float]:
    """How much each factor determines whether a trial is among the best tenth; the values sum to 1.

    Watanabe et al. 2023, arXiv:2304.10255, as implemented in Optuna: it compares the distribution of the best trials
    with that of all. It asks what makes a trial excellent, whereas fANOVA asks what moves the score anywhere, and it
    does not consider pairs. `frame` is as for `fanova`. Empty if there are fewer than `FEWEST` trials, or nothing
    differs. Raises `MissingPackageError` without Optuna.
    """
    space, codes = factor_space_of(frame, tuple(factors))
    scores = frame[target].to_numpy(dtype=float)
    if len(scores) < FEWEST or not space.names or scores.min() == scores.max():
        return {}
    with importing("PED-ANOVA needs", extra="study"):
        import optuna
    domains: dict[str, optuna.distributions.BaseDistribution] = {}
    for factor in space.factors:
        if factor.bounds:
            domains[factor.name] = optuna.distributions.FloatDistribution(*factor.bounds)
        else:
            levels = [level for level in factor.levels if level]
            domains[factor.name] = optuna.distributions.CategoricalDistribution(levels)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an experimental class; levels that few trials have
            study = optuna.create_study(direction="maximize")
            for row, score in zip(codes, scores, strict=True):
                values = {
                    factor.name: float(code) if factor.bounds else factor.levels[int(code)]
                    for factor, code in zip(space.factors, row, strict=True)
                }
                exist = {name: value for name, value in values.items() if value != ""}
                trial = optuna.trial.create_trial(
                    params=exist, distributions={name: domains[name] for name in exist}, value=float(score)
                )
                study.add_trial(trial)
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            found = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
    finally:
        optuna.logging.set_verbosity(verbosity)
    total = sum(found.values())
    return {name: found.get(name, 0.0) / total for name in space.names} if total > 0 else {}
