"""Advice on tasks that nobody has tried: the five pipelines it names against five drawn at random, measured.

    python benchmarks/teachers.py --tasks subj sst5
    python benchmarks/unseen.py run
    python benchmarks/unseen.py table

Subj and SST-5 are in none of the studies that the shipped experience comes from. Both fives are trained alike; run
files, logs and Records stay in `--out`, and finished ones are passed over.
"""

import argparse
import random
import statistics
from pathlib import Path
from typing import Any

from cells import run_cells

from distiller.autodistiller.advice import Advice, advise
from distiller.autodistiller.candidates import candidates_of
from distiller.autodistiller.experience import names_of, read_experience, shipped
from distiller.autodistiller.facts import facts_of
from distiller.config import Run, parse_run
from distiller.record import load_record

SPACE = str(Path(__file__).with_name("studies") / "unseen.yaml")
TASKS: dict[str, dict[str, Any]] = {
    "subj": {"train": "text/subj/all.tsv", "train_limit": 2000},
    "sst5": {"train": "text/sst5/train.tsv", "dev": "text/sst5/dev.tsv", "train_limit": 2000},
}
DESCRIPTIONS = {
    "subj": "Decide whether a sentence from a film review or a plot summary is subjective or objective.",
    "sst5": "Predict the sentiment of a sentence from a film review on a scale of five classes.",
}


def base_run(task: str, given: argparse.Namespace) -> Run:
    """What all pipelines of a task share: data, teacher, student, and how long they train."""
    fields = {name: f"{given.data}/{v}" if name in ("train", "dev") else v for name, v in TASKS[task].items()}
    return parse_run(
        {
            "task": {**fields, "max_length": 64},
            "teacher": {"model": f"{given.teachers}/{task}", "finetune": "never"},
            "student": {"model": f"{given.models}/bert-tiny"},
            "training": {"epochs": 2, "batch_size": 16, "learning_rate": 5e-4, "log_every": 100},
            "baseline": False,
            "output": f"{given.out}/{task}",
            "cache": given.cache,
        }
    )


def advice_for(task: str, given: argparse.Namespace) -> Advice:
    """The five pipelines that the shipped experience speaks for."""
    run, file = base_run(task, given), shipped()
    assert file is not None, "this checkout ships no experience: see benchmarks/ship_experience.py"
    facts = facts_of(run.task, name=names_of(run)["task"], description=DESCRIPTIONS[task])
    return advise(run, read_experience(file), facts, top=5, space=SPACE)


def runs_of(task: str, given: argparse.Namespace) -> dict[str, Run]:
    """Ten runs by name: `advised.1` to `advised.5`, and five points of the space drawn by lot."""
    run = base_run(task, given)
    candidates = candidates_of(run, SPACE)
    drawn = random.Random(f"{task} {given.seed}").sample(candidates.points, 5)
    advised = {f"advised.{n}": one.run for n, one in enumerate(advice_for(task, given).advised, 1)}
    by_lot = {f"random.{n}": candidates.run(point, "") for n, point in enumerate(drawn, 1)}
    return {
        name: one.model_copy(update={"output": f"{given.out}/{task}/{name}"})
        for name, one in (advised | by_lot).items()
    }


def table(given: argparse.Namespace) -> None:
    """Markdown: predicted and measured ratio of each, and both means."""
    for task in given.tasks:
        said = {f"advised.{n}": one for n, one in enumerate(advice_for(task, given).advised, 1)}
        ratios: dict[str, list[float]] = {"advised": [], "random": []}
        print(f"\n{task}\n\n| | pipeline | predicted | measured | score |\n|---|---|---|---|---|")
        for name in sorted(path.name for path in Path(given.out, task).iterdir() if (path / "record.json").is_file()):
            record = load_record(f"{given.out}/{task}/{name}")
            ratio = record.distillation_ratio or float("nan")
            ratios[name.partition(".")[0]].append(ratio)
            guess = f"{said[name].ratio:.3f} ({said[name].low:.3f}–{said[name].high:.3f})" if name in said else ""
            print(f"| {name} | {_words(record.run)} | {guess} | {ratio:.3f} | {100 * record.score:.1f} |")
        for kind, found in ratios.items():
            if len(found) > 1:
                mean, spread = statistics.fmean(found), statistics.stdev(found)
                print(f"\n{kind}: mean {mean:.3f} ± {spread:.3f}, best {max(found):.3f}")


def _words(run: Run) -> str:
    term = run.objective.intermediate[0]
    alpha = f"({term.options['alpha']})" if "alpha" in term.options else ""
    policy = "+".join(one.name for one in run.augmentation) or "none"
    assert run.objective.prediction is not None
    return f"{term.loss}{alpha} × {term.mapping.name} × {run.objective.prediction.name} × {policy}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--models", default="../shared/models")
    parser.add_argument("--teachers", default="outputs/teachers")
    parser.add_argument("--out", default="outputs/unseen")
    parser.add_argument("--cache", default="outputs/cache")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seed", type=int, default=0, help="of the lot")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    if given.what == "table":
        table(given)
        return
    runs = {f"{task}.{name}": run for task in given.tasks for name, run in runs_of(task, given).items()}
    data = {name: run.model_dump(mode="json", exclude_defaults=True) for name, run in runs.items()}
    run_cells(data, Path(given.out) / "runs", workers=given.workers)


if __name__ == "__main__":
    main()
