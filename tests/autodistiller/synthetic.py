"""Trials made by a known rule: ratio = exp(g(pipeline) + h(task) + noise)."""

from itertools import product

import numpy as np

from distiller.autodistiller.experience import Experience
from distiller.autodistiller.facts import TaskFacts
from distiller.study.trials import FACTORS, tabulate

LEVELS = {
    "intermediate": ["mse", "cos", "pkd", "mi_alpha(alpha=0.1)", "mi_alpha(alpha=0.9)"],
    "prediction": ["mse", "ce"],
    "mapping": ["skip", "last", "emd"],
    "augmentation": ["none", "mixup", "random", "contextual+mixup"],
}
EFFECTS = {
    "mse": 0.0, "cos": -0.01, "pkd": -0.02, "mi_alpha(alpha=0.1)": 0.01, "mi_alpha(alpha=0.9)": 0.02,
    "ce": 0.015, "skip": 0.01, "last": -0.015, "emd": 0.005,
    "none": 0.0, "mixup": 0.01, "random": 0.005, "contextual+mixup": 0.02,
}  # fmt: skip


def effect(point: tuple[str, ...]) -> float:
    """g: the sum of the effects of the levels."""
    return sum(EFFECTS["mse" if level == "mse" else level] for level in point)


def experience(*, noise: float, seed: int = 0, tasks: int = 5, runs: int = 60) -> Experience:
    """`runs` random pipelines on each of `tasks` tasks, which differ in level and in what is known of them."""
    rng = np.random.default_rng(seed)
    grid = list(product(*LEVELS.values()))
    rows = []
    facts = {}
    for number in range(tasks):
        name, level = f"task{number}", rng.normal(0, 0.2)
        facts[name] = TaskFacts(name=name, examples=int(10 ** rng.uniform(3, 5)), labels=2, pairs=bool(number % 2))
        for place in rng.choice(len(grid), runs, replace=False):
            ratio = float(np.exp(effect(grid[place]) + level + rng.normal(0, noise)))
            teacher = {"task": name, "teacher": "big", "student": "small", "metric": "accuracy", "teacher_score": 0.9}
            rows.append({**teacher, **dict(zip(FACTORS, grid[place], strict=True)), "score": 0.9 * ratio})
    return Experience(tabulate(rows, FACTORS), facts)
