"""Does distilling pay by the defaults? Each cell says a task, a teacher and a student, and nothing about how to train.

    python benchmarks/pays.py run   --data ../shared/data --models ../shared/models --out outputs/pays
    python benchmarks/pays.py table --out outputs/pays
    python benchmarks/pays.py unseen --out outputs/pays
    python benchmarks/pays.py run   --tasks mr stsb --students bert-tiny --labels 0 300 --seeds 0 1 2

`--labels N` keeps the labels of N training rows; the others are texts without labels, which the student learns from
and the fine-tuned one cannot (0: all rows have theirs). `--equal-time` fine-tunes for as many steps as distilling
took: `fine-tune` cells are made after their distilled ones. Run files, logs and Records stay in `--out`; cells that are
there are passed over, so the command can be repeated after an interruption. `unseen` scores teacher, fine-tuned and
distilled student once more, on training rows that `--rows` left out: nothing was chosen by them, and they are many.
"""

import argparse
import csv
import hashlib
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from cells import run_cells

from distiller.config import Run, Task
from distiller.models.folders import load_tokenizer
from distiller.models.load import load_model
from distiller.record import ModelFacts, Record, load_record
from distiller.tasks import load_task
from distiller.tasks.data import TaskData, keys_of, sample
from distiller.tasks.encode import Collator, EncodedSplit
from distiller.tasks.outcomes import Difference, difference, outcomes, score_of
from distiller.tasks.tokens import encode_split
from distiller.training.evaluate import predict_logits

GLUE = {"sst2": "SST-2", "cola": "CoLA", "rte": "RTE", "mrpc": "MRPC", "stsb": "STS-B"}
TEXT = {"mr": "mr/all.tsv", "subj": "subj/all.tsv", "sst5": "sst5", "ag-news": "ag_news"}
EQUAL = "-equal-time"
"""Behind the name of a cell: the same student, fine-tuned for as many steps as distilling took."""
TASKS = [*GLUE, *TEXT, "ud-ewt", "squad"]


def task_of(name: str, data: Path, out: Path) -> dict[str, Any]:
    """The task as a run says it; files without a split get a fixed one (SHA-256 of the text modulo 10)."""
    if name in GLUE:
        return {"name": name, "data": str(data / "glue" / GLUE[name])}
    if name == "ud-ewt":
        return {"name": name, "data": str(data / "ud_en_ewt")}
    if name == "squad":
        return {"name": name, "data": str(data / "squad"), "dev_limit": 1000}
    folder = data / "text" / TEXT[name]
    if name == "sst5":
        return {"train": str(folder / "train.tsv"), "dev": str(folder / "dev.tsv")}
    if name == "ag-news":
        return {"train": str(folder / "train-10k.tsv"), "dev": str(folder / "test.tsv"), "dev_limit": 2000}
    return _split(folder, out / "data" / name)


def _split(source: Path, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    files = {split: folder / f"{split}.csv" for split in ("train", "dev")}
    for split, path in files.items():
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["label", "text"])
            writer.writeheader()
            for row in rows:
                held_out = int(hashlib.sha256(row["text"].encode()).hexdigest(), 16) % 10 == 0
                if held_out == (split == "dev"):
                    writer.writerow({"label": row["label"], "text": row["text"]})
    return {split: str(path) for split, path in files.items()}


def student_of(name: str, models: Path) -> dict[str, Any]:
    """BERT_TINY from its pretrained weights, or layers of the teacher (`layers-3`)."""
    if name == "bert-tiny":
        return {"model": str(models / "bert-tiny")}
    return {"layers": int(name.removeprefix("layers-"))}


def place(out: Path, cell: tuple[str, str, int]) -> Path:
    """The output folder of a cell."""
    task, student, labels = cell
    return out / task / f"{student}-{labels or 'all'}"


def run_file(cell: tuple[str, str, int], given: argparse.Namespace) -> dict[str, Any]:
    """A cell as a run: the defaults alone decide how."""
    task, student, labels = cell
    out = Path(given.out)
    wish = task_of(task, Path(given.data), out) | {"train_limit": given.rows}
    if labels:
        wish["label_limit"] = labels
    run = {
        "task": wish,
        "teacher": {"model": given.teacher or str(Path(given.models) / "minilm-l6-h384")},
        "student": student_of(student, Path(given.models)),
        "seeds": given.seeds,
        "output": str(place(out, cell)),
        "cache": str(out / "cache"),
    }
    if given.equal_time:
        taken = load_record(place(out, cell)).student.steps
        steps = round(sum(taken) / len(taken))
        run["objective"] = {"beta1": 0.0, "gamma1": 1.0}
        run["training"] = {"min_steps": steps, "max_steps": steps}
        run |= {"output": f"{place(out, cell)}{EQUAL}", "baseline": False}
    return run


def table(out: Path) -> None:
    """Markdown of all finished cells, and what they come to."""
    print("| task | student | labels | metric | teacher | fine-tuned | distilled | gain | gap closed | steps |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    closed: list[float] = []
    for file in sorted(out.glob("*/*/record.json")):
        record = load_record(file)
        name = file.parent.name
        student, _, labels = name.rpartition("-")
        if record.comparison is None or record.baseline is None:
            continue
        gap = record.comparison.gap_closed
        if gap is not None:
            closed.append(gap)
        cells = [
            file.parent.parent.name,
            student,
            labels,
            record.metric,
            *map(_percent, _scores(record)),
            _gain(record),
        ]
        cells += [
            f"{100 * gap:.0f} %" if gap is not None else "–",
            f"{sum(record.student.steps) / len(record.seeds):,.0f}",
        ]
        print("| " + " | ".join(cells) + " |")
    if closed:
        mean, some = sum(closed) / len(closed), sum(value > 0 for value in closed)
        print(f"\nWhere the teacher leads by more than two standard errors ({len(closed)} cells), ", end="")
        print(f"{100 * mean:.0f} % of its lead is made up for on average, some of it in {some}.")


def unseen(out: Path) -> None:
    """Markdown of all finished cells with at least `FEWEST` rows that nobody learnt from; of several seeds the best."""
    print("| task | student | labels | metric | rows | teacher | fine-tuned | distilled | gain | gap closed |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for file in sorted(out.glob("*/*/record.json")):
        record = load_record(file)
        if record.baseline is None or record.teacher is None or not isinstance(record.run, Run):
            continue
        data = _left_out(record.run.task)
        if data is None:
            continue
        folders = [
            _kept(out / "cache" / "teachers", record.teacher),
            _kept(out / "cache" / "baselines", record.baseline),
        ]
        encoded, said = _said(data, record.run.task, [*folders, file.parent / "student"])
        scores = [score_of(data, outcome, encoded.gold) for outcome in said]
        gain = difference(data, [said[2]], [said[1]], encoded.gold)
        lead = difference(data, [said[0]], [said[1]], encoded.gold)
        student, _, labels = file.parent.name.rpartition("-")
        cells = [file.parent.parent.name, student, labels, record.metric, f"{len(encoded):,}", *map(_percent, scores)]
        cells.append(_with_error(gain))
        cells.append(f"{100 * gain.value / lead.value:.0f} %" if lead.clear and lead.value > 0 else "–")
        print("| " + " | ".join(cells) + " |", flush=True)
        for longer in sorted(file.parent.parent.glob(f"{file.parent.name}{EQUAL}/student")):
            (outcome,) = _said(data, record.run.task, [longer])[1]
            gain = difference(data, [said[2]], [outcome], encoded.gold)
            score = _percent(score_of(data, outcome, encoded.gold))
            cells[2], cells[6:] = f"{labels}, for as long", [score, cells[7], _with_error(gain), ""]
            print("| " + " | ".join(cells) + " |", flush=True)


def _with_error(gain: Difference) -> str:
    return f"{100 * gain.value:+.1f} ± {100 * gain.error:.1f}"


FEWEST, MOST = 500, 5_000
"""Rows of a cell that are scored again."""


def _left_out(task: Task) -> TaskData | None:
    """The task with the training rows that a cell did not use as its development set."""
    used = set(load_task(task.model_copy(update={"label_limit": None})).splits["train"].ids)
    whole = load_task(task.model_copy(update={"train_limit": None, "label_limit": None}))
    train = whole.splits["train"]
    known = {key for name, split in whole.splits.items() if name != "train" for key in keys_of(split)}
    rest = [row for row, key in enumerate(keys_of(train)) if train.ids[row] not in used and key not in known]
    if len(rest) < FEWEST:
        return None
    chosen = [rest[place] for place in sample(len(rest), MOST, seed=task.split_seed)]
    return TaskData(whole.name, whole.kind, whole.labels, whole.metrics, {"train": train, "dev": train.take(chosen)})


def _kept(cache: Path, model: ModelFacts) -> Path:
    """The folder of the cache that holds this model: no two have the same scores to the last digit."""
    for scores in cache.glob("[!.]*/scores.json"):
        if json.loads(scores.read_text(encoding="utf-8")) == model.scores:
            return scores.parent
    raise SystemExit(f"error: {model.name} is not in {cache} any more")


def _said(data: TaskData, task: Task, folders: list[Path]) -> tuple[EncodedSplit, list[np.ndarray]]:
    """The development set in tokens, and what each model says of it."""
    assert task.max_length is not None
    limits = {"n_best": task.n_best, "max_answer_length": task.max_answer_length}
    found: list[np.ndarray] = []
    for folder in folders:
        tokenizer = load_tokenizer(str(folder))
        encoded = encode_split(data.splits["dev"], tokenizer, task, task.max_length)
        model = load_model(str(folder), kind=data.kind, labels=data.label_names)
        logits = predict_logits(model, encoded, Collator(tokenizer)).numpy()
        found.append(outcomes(data, encoded, logits, limits=limits))
    return encoded, found  # every model of these cells reads the same tokens


def _scores(record: Record) -> list[float]:
    models = (record.teacher, record.baseline, record.student)
    return [model.scores[record.metric] if model else float("nan") for model in models]


def _percent(score: float) -> str:
    return f"{100 * score:.1f}"


def _gain(record: Record) -> str:
    assert record.comparison is not None
    return f"{100 * record.comparison.difference:+.1f} ± {100 * record.comparison.error:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table", "unseen"])
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--models", default="../shared/models")
    parser.add_argument("--teacher", help="another teacher than MiniLM-L6: a folder or a model id")
    parser.add_argument("--out", default="outputs/pays")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--students", nargs="+", default=["bert-tiny", "layers-3"])
    parser.add_argument("--labels", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", type=int, default=10_000, help="most training rows")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--equal-time", action="store_true")
    given = parser.parse_args()
    if given.what == "table":
        table(Path(given.out))
        return
    if given.what == "unseen":
        unseen(Path(given.out))
        return
    cells = list(product(given.tasks, given.students, given.labels))
    runs = {".".join(map(str, cell)): run_file(cell, given) for cell in cells}
    run_cells(runs, Path(given.out) / "runs", workers=given.workers)


if __name__ == "__main__":
    main()
