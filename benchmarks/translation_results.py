"""The translation table of docs/results.md: Multi30k German→English, two students, every method of the slides.

    python benchmarks/translation_results.py run --data ../shared/data/de-en/multi30k --out outputs/translation
    python benchmarks/translation_results.py table --out outputs/translation
    python benchmarks/translation_results.py speed --out outputs/translation --cells slim-1x1.triple-init

`speed` measures the students of finished cells again, beside their teacher, on a machine that does nothing else.
Each cell is one translation run in a process of one thread. Run files, logs and Records stay in `--out`, so the
command can be repeated after an interruption. The vocabulary, the teacher and its translations are made once.
With `--scale 0.4` the teacher took 27 core-minutes and the 22 cells 170 in all, some of them beside other work, on a
processor without AMX; `--scale 0.01 --cells slim-1x1.baseline` tries the path in a minute.
"""

import argparse
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import yaml

from distiller.config import load_run
from distiller.record import Record, load_record
from distiller.translation.beginning import begin
from distiller.translation.efficiency import efficiency
from distiller.translation.students import load_translator

SIZES = {"width": 128, "ffn": 512, "heads": 4}
"""One width for all, as layer-sampled initialisation and the cosine ask for; the slides' wide students share it too."""
TEACHER = {"encoder_layers": 6, "decoder_layers": 3, **SIZES, "dropout": 0.2}
STUDENTS = {"slim-1x1": (1, 1), "slim-3x3": (3, 3)}
TEMPERATURES = {0.5: 1.0, 1.0: 1.0, 2.0: 2.0, 5.0: 40.0}
"""Temperature to the slides' weight of the word-level term."""
RATIOS = [0.1, 0.34, 0.66, 0.9]
"""Share of gold pairs when mixing."""
BEAM = {"decoding": {"beam": 4, "length_penalty": 0.6}}
WORD = {"gamma1": 1.0, "beta1": 1.0, "prediction": {"name": "kl", "options": {"scale_T2": False}}}


def methods() -> dict[str, dict[str, Any]]:
    """What each row of the table changes in a run."""
    found: dict[str, dict[str, Any]] = {"baseline": {}}
    for temperature, weight in TEMPERATURES.items():
        options = {"temperature": temperature, "scale_T2": False}
        prediction = {"name": "kl", "options": options}
        found[f"word-kd-T{temperature:g}"] = {"objective": {"gamma1": 1.0, "beta1": weight, "prediction": prediction}}
    found["triple"] = {"objective": {**WORD, "cosine": 1.0}}
    found["triple-init"] = {"objective": {**WORD, "cosine": 1.0}, "student": {"init": "teacher"}}
    found["sequence-greedy"] = {"sequence": {"decoding": {"beam": 1}}}
    found["sequence-beam"] = {"sequence": BEAM}
    for ratio in RATIOS:
        found[f"mixed-gold-{ratio:g}"] = {"sequence": {**BEAM, "gold_ratio": ratio}}
    found["hybrid"] = {"objective": WORD, "sequence": {**BEAM, "gold_ratio": 0.66}}
    found["low-data"] = {**found["hybrid"], "task": {"fraction": 0.05}}
    found["low-data-baseline"] = {"task": {"fraction": 0.05}}
    return found


MAIN = ["baseline", "word-kd-T1", "triple", "triple-init", "sequence-beam", "hybrid"]
"""What the larger student is trained with by default; the smaller one has every row."""


def chosen(given: argparse.Namespace) -> list[tuple[str, str]]:
    """Student and method of every cell: those named, or those of the table."""
    if given.cells:
        return [(student, method) for student, _, method in (name.partition(".") for name in given.cells)]
    every = given.methods or list(methods())
    return [(s, m) for m in every for s in given.students if given.methods or s == "slim-1x1" or m in MAIN]


def run_file(student: str, method: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One cell as a translation run. Every student takes the same number of steps, however much text it sees."""
    change = methods()[method]
    data, layers = Path(given.data), STUDENTS[student]

    def pair(name: str) -> dict[str, str]:
        return {"source": str(data / f"{name}.de"), "target": str(data / f"{name}.en")}

    def training(steps: int, rate: float) -> dict[str, Any]:
        evaluations = max(1, round(8 * min(1.0, 2.5 * given.scale)))
        pace = {"batch_tokens": 1024, "learning_rate": rate, "evaluations": evaluations}
        return {**pace, "max_steps": max(10, round(steps * given.scale))}

    shape = {"encoder_layers": layers[0], "decoder_layers": layers[1], **SIZES, "dropout": 0.0}
    return {
        "recipe": method,
        "task": {
            "kind": "translation",
            "train": pair("train"),
            "dev": pair("val"),
            "test": pair("test_2016_flickr"),
            "skip_bad": True,
        }
        | change.get("task", {}),
        "vocabulary": {"size": 3000},
        "teacher": {"shape": TEACHER, "training": training(8000, 2e-3)},
        "student": {"shape": shape} | change.get("student", {}),
        "objective": {"beta1": 0.0} | change.get("objective", {}),
        "sequence": change.get("sequence"),
        "training": training(3000, 3e-3),
        "evaluation": {"beam": 4, "max_length": 80},
        "baseline": False,
        "efficiency": False,
        "seeds": [seed],
        "output": str(output(given.out, student, method) / str(seed)),
        "cache": str(Path(given.out) / "cache"),
    }


def output(out: str, student: str, method: str) -> Path:
    """The folder of a cell, with an output folder for each seed."""
    return Path(out) / student / method


def carry_out(name: str, run: dict[str, Any], folder: Path) -> None:
    """One cell in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(run, sort_keys=False), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / f"{name}.log").open("w", encoding="utf-8") as log:
        command = [sys.executable, __file__, "cell", "--file", str(file)]
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment).returncode
    print(f"{name}: {'done' if code == 0 else f'failed with {code}, see {folder / name}.log'}", flush=True)


def cell(file: str) -> None:
    """Carry out one run file, or find it finished."""
    from distiller.run import distil

    print(distil(load_run(file), resume=True).score)


def table(given: argparse.Namespace) -> None:
    """Markdown: test BLEU of every cell that is there, mean ± standard deviation over seeds."""
    print("| method | " + " | ".join(given.students) + " |\n|---" + "|---:" * len(given.students) + "|")
    rows = given.methods or list(methods())
    found = {(s, m): _records(output(given.out, s, m)) for s in given.students for m in rows}
    known = [record for records in found.values() for record in records]
    if known:
        print("| teacher | " + " | ".join(f"{known[0].teacher.scores['test_bleu']:.1f}" for _ in given.students) + " |")
    for method in rows:
        print(f"| {method} | " + " | ".join(_score(found[student, method]) for student in given.students) + " |")


def speed(given: argparse.Namespace) -> None:
    """Markdown: size and speed of the teacher and of seed 0's students of `--cells`, in fp32 and int8."""
    torch.set_num_threads(1)
    folders = {name: output(given.out, *pair) / "0" for name, pair in zip(given.cells, chosen(given), strict=True)}
    run = load_record(next(iter(folders.values()))).run
    text = begin(run).splits.test
    assert text is not None
    models = {"teacher": load_translator(next(iter(folders.values())) / "teacher")}
    models |= {name: load_translator(folder / "student") for name, folder in folders.items()}
    print("| model | form | BLEU | parameters | times fewer | MB | sentences/s |\n|---|---|---:|---:|---:|---:|---:|")
    for row in efficiency(models, text, run.evaluation):
        sizes = f"{row.parameters:,} | {row.compression:.1f} | {row.megabytes:.1f} | {row.sentences_per_second:.0f}"
        bleu = "–" if row.bleu is None else f"{row.bleu:.1f}"
        print(f"| {row.model} | {row.form} | {bleu} | {sizes} |")


def _records(folder: Path) -> list[Record]:
    return [load_record(file) for file in sorted(folder.glob("*/record.json"))]


def _score(records: list[Record]) -> str:
    scores = [record.student.scores["test_bleu"] for record in records]
    spread = f" ± {statistics.stdev(scores):.1f}" if len(scores) > 1 else ""
    return f"{statistics.fmean(scores):.1f}{spread}" if scores else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table", "speed", "cell"])
    parser.add_argument("--data", default="../shared/data/de-en/multi30k")
    parser.add_argument("--out", default="outputs/translation")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of steps")
    parser.add_argument("--students", nargs="+", default=list(STUDENTS), choices=list(STUDENTS))
    parser.add_argument("--methods", nargs="+", choices=list(methods()), help="all by default, MAIN for slim-3x3")
    parser.add_argument("--cells", nargs="+", help="STUDENT.METHOD, instead of all of both")
    parser.add_argument("--file", help="the run file of `cell`")
    given = parser.parse_args()
    if given.what == "cell":
        cell(given.file)
    elif given.what == "table":
        table(given)
    elif given.what == "speed":
        speed(given)
    else:
        runs = {
            f"{student}.{method}.{seed}": run_file(student, method, seed, given)
            for seed in given.seeds
            for student, method in chosen(given)
        }
        folder = Path(given.out) / "runs"
        with ThreadPoolExecutor(given.workers) as pool:  # what all share is made by one, and the others wait for it
            list(pool.map(lambda item: carry_out(*item, folder), runs.items()))


if __name__ == "__main__":
    main()
