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


def print_table(columns: Mapping[str, Mapping[str, str]], rows: Sequence[str]) -> None:
    """Markdown: `columns` has, by heading, the output folder of each of `rows`; mean ± standard deviation × 100."""
    found = {title: _records(folders) for title, folders in columns.items()}
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")

    def line(label: str, cell: Callable[[Mapping[str, Record]], str]) -> None:
        print(f"| {label} | " + " | ".join(cell(records) if records else "–" for records in found.values()) + " |")

    line("metric", lambda records: _any(records).metric)
    line("teacher", lambda records: _score(_any(records), _any(records).teacher))
    line("fine-tuned", lambda records: _score(_any(records), _any(records).baseline))
    for row in rows:
        line(row, lambda records, row=row: _score(records[row], records[row].student) if row in records else "–")


def _records(folders: Mapping[str, str]) -> dict[str, Record]:
    return {row: load_record(folder) for row, folder in folders.items() if (Path(folder) / "record.json").exists()}


def _any(records: Mapping[str, Record]) -> Record:
    return next(iter(records.values()))


def _score(record: Record, facts: ModelFacts | None) -> str:
    if facts is None:
        return "–"
    mean = f"{100 * facts.scores[record.metric]:.1f}"
    return f"{mean} ± {100 * facts.spread[record.metric].std:.1f}" if record.metric in facts.spread else mean
