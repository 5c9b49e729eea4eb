"""Tables of results: every cell is one `distiller run` in a process of its own, and finished cells are passed over."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from distiller.record import ModelFacts, Record, load_record


def run_cells(runs: Mapping[str, Mapping[str, Any]], folder: Path, *, workers: int) -> None:
    """Carry out each run, by name, in `workers` processes of one thread; run files and logs are kept in `folder`.

    On a small CPU two processes of one thread are faster than one of two.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(workers) as pool:
        for name, code in pool.map(lambda item: (item[0], _run(*item, folder)), runs.items()):
            print(f"{name}: {'done' if code == 0 else f'failed with {code}, see {folder / name}.log'}", flush=True)


def _run(name: str, run: Mapping[str, Any], folder: Path) -> int:
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(dict(run), sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "distiller", "run", str(file), "--resume", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with (folder / f"{name}.log").open("w", encoding="utf-8") as log:
        return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment).returncode


def print_table(columns: Mapping[str, Mapping[str, str]], rows: Sequence[str], *, every_metric: bool = False) -> None:
    """Markdown: `columns` has, by heading, the output folder of each of `rows`; mean ± standard deviation × 100.

    A heading has a column for the metric that chose the checkpoint, or for `every_metric` of its task.
    """
    found = {title: _records(folders) for title, folders in columns.items()}
    shown = [(title, metric) for title, records in found.items() for metric in _metrics(records, every_metric)]
    print("| | " + " | ".join(title for title, _ in shown) + " |")
    print("|---" * (len(shown) + 1) + "|")

    def line(label: str, facts: Callable[[Mapping[str, Record]], ModelFacts | None]) -> None:
        cells = (_score(facts(found[title]), metric) if found[title] else "–" for title, metric in shown)
        print(f"| {label} | " + " | ".join(cells) + " |")

    print("| metric | " + " | ".join(metric for _, metric in shown) + " |")
    line("teacher", lambda records: _any(records).teacher)
    line("fine-tuned", lambda records: _any(records).baseline)
    for row in rows:
        line(row, lambda records, row=row: records[row].student if row in records else None)


def _records(folders: Mapping[str, str]) -> dict[str, Record]:
    return {row: load_record(folder) for row, folder in folders.items() if (Path(folder) / "record.json").exists()}


def _any(records: Mapping[str, Record]) -> Record:
    return next(iter(records.values()))


def _metrics(records: Mapping[str, Record], every: bool) -> list[str]:
    """The metrics to show, the one that chose the checkpoint first."""
    if not records:
        return ["–"]
    record = _any(records)
    return list(dict.fromkeys([record.metric, *(record.student.scores if every else ())]))


def _score(facts: ModelFacts | None, metric: str) -> str:
    if facts is None or metric not in facts.scores:
        return "–"
    mean = f"{100 * facts.scores[metric]:.1f}"
    return f"{mean} ± {100 * facts.spread[metric].std:.1f}" if metric in facts.spread else mean
