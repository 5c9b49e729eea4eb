"""Which choice mattered: fANOVA of every task's trials, averaged over tasks, with a second opinion beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

from distiller.analysis.fanova import Fanova, variance_shares
from distiller.analysis.second_opinion import ped_anova
from distiller.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from distiller.study.trials import Trials


@dataclass(frozen=True)
class Share:
    """The share of one component, averaged over tasks."""

    factors: tuple[str, ...]
    mean: float
    tree_sd: float
    """Standard deviation over the trees of a forest, averaged over tasks."""
    task_sd: float
    """Standard deviation over tasks; 0 for one task."""

    @property
    def name(self) -> str:
        """`a`, or `a × b`."""
        return " × ".join(self.factors)


@dataclass(frozen=True)
class Importance:
    """What the trials show about the factors, for each task and together."""

    factors: tuple[str, ...]
    by_task: dict[str, Fanova]
    shares: tuple[Share, ...]
    """Means over the tasks whose forest explains anything, largest first; a factor with one level in a task has 0
    there."""
    second: dict[str, dict[str, float]]
    """PED-ANOVA by task and factor."""
    second_mean: dict[str, float]
    """PED-ANOVA, averaged over the tasks that have one."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that `shares` average over."""
        return tuple(task for task, found in self.by_task.items() if found.refusal is None)


def factor_importance(
    trials: "Trials", *, factors: Sequence[str] | None = None, order: int = 2, trees: int = 64, seed: int = 0
) -> Importance:
    """fANOVA of the scores of each task, the mean of its shares over tasks, and PED-ANOVA of the same trials.

    `factors` are columns of the trials; `None` means those that were varied, and teacher and student where a task has
    several of them, whose differences would be noise otherwise. Raises `ConfigError` for a column that is not there.
    """
    frame = trials.complete
    models = [name for name in ("teacher", "student") if (frame.groupby("task")[name].nunique() > 1).any()]
    chosen = tuple(dict.fromkeys([*trials.factors, *models] if factors is None else factors))
    for name in chosen:
        if name not in frame:
            raise ConfigError(f"trials have no column `{name}`", hint=did_you_mean(name, list(map(str, frame))))
    by_task, second = {}, {}
    for task, rows in frame.groupby("task", sort=True):
        by_task[str(task)] = variance_shares(rows, chosen, order=order, trees=trees, seed=seed)
        second[str(task)] = ped_anova(rows, by_task[str(task)].factors)
    return Importance(chosen, by_task, _mean_shares(by_task, chosen), second, _mean_second(second, chosen))


def _mean_shares(by_task: dict[str, Fanova], order: tuple[str, ...]) -> tuple[Share, ...]:
    useful = [found for found in by_task.values() if found.refusal is None]
    names = {frozenset(one.factors) for found in useful for one in found.components}
    shares = []
    for name in names:
        parts = [next((one for one in found.components if set(one.factors) == name), None) for found in useful]
        means = [part.mean if part else 0.0 for part in parts]
        deviations = [part.sd if part else 0.0 for part in parts]
        shares.append(Share(tuple(sorted(name, key=order.index)), fmean(means), fmean(deviations), pstdev(means)))
    return tuple(sorted(shares, key=lambda share: (-share.mean, share.factors)))


def _mean_second(second: dict[str, dict[str, float]], order: tuple[str, ...]) -> dict[str, float]:
    useful = [found for found in second.values() if found]
    return {name: fmean(found.get(name, 0.0) for found in useful) for name in order} if useful else {}
