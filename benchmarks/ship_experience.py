"""Writes the experience that the package ships from the folders of our own study.

    distiller study run benchmarks/studies/plain.yaml
    distiller study run benchmarks/studies/augmented.yaml
    python benchmarks/ship_experience.py outputs/studies/plain outputs/studies/augmented

What is shipped are our own measurements: scores, sizes and the choices behind them, and counts of the words of each
task that occur often. No text of a data set, no paths of a machine.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import distiller.autodistiller.experience as experience
from distiller.autodistiller.facts import TaskFacts, write_facts
from distiller.study.trials import write_trials

OFTEN = 3
"""Words that occur less often in the texts that are read may be names, and say little of a task."""


def common_words(facts: TaskFacts) -> TaskFacts:
    """Without rare words, in the order of the alphabet."""
    return facts.model_copy(update={"words": {word: n for word, n in sorted(facts.words.items()) if n >= OFTEN}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--out", type=Path, default=Path(experience.__file__).with_name(experience.SHIPPED))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        joined = experience.add_experience(given.studies, Path(folder) / "joined.csv")
    # a run names folders of this machine; the factors say what was varied
    write_trials(replace(joined.trials, frame=joined.trials.frame.assign(run="")), given.out)
    write_facts({name: common_words(facts) for name, facts in joined.tasks.items()}, experience.facts_file(given.out))
    print(f"{given.out}: {len(joined.complete)} trials of {len(joined.tasks)} tasks")


if __name__ == "__main__":
    main()
