"""The same distillation in other hands: a `transformers.Trainer` written by hand, three libraries, and Distiller.

    pip install textbrewer==0.2.1.post1
    python benchmarks/other_stacks.py step                                 # one step, equal batches
    python benchmarks/other_stacks.py job --teacher outputs/teachers/sst2  # the same training to its end

Loss of all: 4·KL at temperature 2, cross-entropy with the labels, and squared distances of three pairs of hidden
states, means over valid tokens. No clipping. `step`, without dropout, first asserts that the losses of 20 steps agree
to 1e-4 (TextBrewer's differs by the teacher's entropy, which is taken out), so its times compare the same computation.

`job` runs whole commands, from the start of Python to the saved student, one process for each stack, each in its own
best way: the others as peers.py has them, Distiller as `distiller run`. A library may have an environment of its own:
`--python torchdistill=/path/to/python`. Every result is a line of `--lines` as soon as it is there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any

import peers
import torch
import torch.nn.functional as F
import transformers
from peers import HandWritten, T, arguments, inputs_of, optimiser, textbrewer
from step_time import MINILM, Workplace, our_step, our_trainer, timed
from torch import nn

from distiller.config import Objective, Task
from distiller.device import describe_machine
from distiller.run import results, seeds, setup, teachers
from distiller.tasks import load_task
from distiller.training.batching import Batch
from distiller.training.trainer import DistillationTrainer

TERM = {"loss": "mse", "mapping": {"name": "skip", "options": {"include_embeddings": False}}}
OBJECTIVE = Objective.model_validate(
    {
        "prediction": {"name": "kl", "options": {"temperature": T, "scale_T2": True}},
        "beta1": 1.0,
        "gamma1": 1.0,
        "intermediate": [TERM],
    }
)
OURS = "distiller"
STEPS = (OURS, "trainer", "textbrewer")
"""The stacks whose single steps are compared."""


def without_dropout(model: nn.Module) -> Any:
    """The same model; its dropout does nothing."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


# --- one step --------------------------------------------------------------------------------------------------------


class Stacks:
    """One step of each stack on the same batches; `loss` has what the last one computed, without constants."""

    def __init__(self, place: Workplace, folder: Path) -> None:
        self.loss: dict[str, float] = {}
        self.place = place
        place.teacher = without_dropout(place.teacher)
        self.students = {name: without_dropout(place.new_student()) for name in STEPS}
        self.hand = HandWritten(self.students["trainer"], place.plain_teacher, arguments(folder))
        self.hand.create_optimizer()
        self.hand.current_gradient_accumulation_steps = 1  # `train` would set it
        place.new_student = lambda: self.students[OURS]  # type: ignore[method-assign]
        self.trainer = our_trainer(place, OBJECTIVE, folder)
        self.steps: dict[str, Callable[[Batch], None]] = {"trainer": self.by_hand, OURS: self.ours}
        try:
            self.brewer = textbrewer(self.students["textbrewer"], place.plain_teacher, folder)
        except ImportError:
            print("textbrewer is not installed: its row is missing", file=sys.stderr)
            return
        self.brewer.__enter__()
        self.brewing = optimiser(self.students["textbrewer"], 1e-5)
        self.steps["textbrewer"] = self.brew

    def by_hand(self, batch: Batch) -> None:
        self.loss["trainer"] = float(self.hand.training_step(self.hand.model, dict(batch)))
        assert self.hand.optimizer is not None
        self.hand.optimizer.step()
        self.hand.model.zero_grad()

    def ours(self, batch: Batch) -> None:
        self.loss[OURS] = float(our_step(self.trainer, batch))

    def brew(self, batch: Batch) -> None:
        named = inputs_of(batch) | {"labels": batch["labels"]}
        total, _ = self.brewer.train_on_batch(named, {"output_hidden_states": True})
        total.backward()
        self.brewing.step()
        self.brewing.zero_grad()
        self.loss["textbrewer"] = total.item()

    def entropy(self, batch: Batch) -> float:
        """T² times the mean entropy of the teacher's softened distribution: what TextBrewer's loss has on top."""
        with torch.no_grad():
            soft = F.softmax(self.place.plain_teacher(**inputs_of(batch)).logits / T, -1)
        return float(-(T**2) * (soft * soft.log()).sum(-1).mean())


def agree(stacks: Stacks, batches: list[Batch], steps: int = 20) -> float:
    """Largest relative difference from the hand-written loss in the first steps. Raises `AssertionError` above 1e-4."""
    worst = 0.0
    for number in range(steps):
        batch = batches[number % len(batches)]
        for step in stacks.steps.values():
            step(batch)
        reference = stacks.loss["trainer"]
        for name, loss in stacks.loss.items():
            known = loss - (stacks.entropy(batch) if name == "textbrewer" else 0.0)
            worst = max(worst, abs(known - reference) / abs(reference))
            assert worst < 1e-4, f"step {number}: {name} {known}, by hand {reference}"
    return worst


def step(given: argparse.Namespace) -> None:
    """Tracks A and B: the same computation, so everybody should tie."""
    print(f"{describe_machine()}\n\n| batches | stack | CPU time | wall | ms |\n|---|---|---:|---:|---:|")
    for name in ("fixed length", "ragged"):
        place = Workplace(given.size, batch_size=given.batch_size, batches=given.batches)
        if name == "fixed length":
            for batch in place.batches:
                batch["attention_mask"] = torch.ones_like(batch["attention_mask"])
        with tempfile.TemporaryDirectory() as temporary:
            stacks = Stacks(place, Path(temporary))
            agree(stacks, place.batches)
            wall, cpu = timed(stacks.steps, place.batches, given.repeats)
        for stack in stacks.steps:
            ratios = (cpu[stack] / cpu["trainer"], wall[stack] / wall["trainer"])
            print(f"| {name} | {stack} | {ratios[0]:.2f} | {ratios[1]:.2f} | {wall[stack]:.0f} |", flush=True)


# --- the whole job ---------------------------------------------------------------------------------------------------


def job(given: argparse.Namespace) -> None:
    """The same training to its end, each stack its own best way."""
    print(f"{describe_machine()}, {given.examples} examples, {given.epochs} epochs, {given.precision}\n")
    print("| stack | seconds | CPU seconds | accuracy | peak MB |\n|---|---:|---:|---:|---:|", flush=True)
    pythons = dict(pair.split("=", 1) for pair in given.python)
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        write_rows(given, data)
        for stack in given.stacks:
            place = Path(temporary) / stack
            shared = ["--teacher", given.teacher, "--out", str(place), "--precision", given.precision]
            shared += ["--epochs", str(given.epochs), "--threads", str(given.threads), "--seed", str(given.seed)]
            if stack == OURS:
                own = ["one", "--data", given.data, "--examples", str(given.examples)]
                command = [sys.executable, __file__, *own, *shared]
            else:
                script = str(Path(__file__).with_name("peers.py"))
                command = [pythons.get(stack, sys.executable), script, stack, "--data", str(data), *shared]
            found = measured(command) | {"stack": stack, "precision": given.precision, "date": date.today().isoformat()}
            if given.lines is not None:
                with given.lines.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(found | {"examples": given.examples, "epochs": given.epochs}) + "\n")
            if "error" in found:
                print(f"| {stack} | {found['error']} ||||", flush=True)
                continue
            numbers = f"{found['wall']:.0f} | {found['cpu']:.0f} | {100 * found['accuracy']:.1f} | {found['peak']:.0f}"
            print(f"| {stack} | {numbers} |", flush=True)
            if "parts" in found:
                print_parts(found["parts"])


def write_rows(given: argparse.Namespace, folder: Path) -> None:
    """The rows that Distiller reads, as a table for the others."""
    folder.mkdir()
    splits = load_task(the_task(given)).splits
    for name in ("train", "dev"):
        rows: Any = splits[name]
        lines = [f"{text}\t{label}" for text, label in zip(rows.texts, rows.labels, strict=True)]
        (folder / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *lines, ""]), encoding="utf-8")


def the_task(given: argparse.Namespace) -> Task:
    fields = {"name": "sst2", "data": given.data, "train_limit": given.examples, "max_length": peers.MAX_LENGTH}
    return Task.model_validate(fields)


def measured(command: list[str]) -> dict[str, Any]:
    """What the last line of `command` says, with its seconds, processor time and memory; or its error."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        lines = [[line for line in file_lines(file) if line.strip()] for file in (output, errors)]
    if status:
        return {"error": lines[1][-1] if lines[1] else f"ended with {status}"}
    found = json.loads(lines[0][-1])
    return found | {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024 / 1e6}


def file_lines(file: Any) -> list[str]:
    file.seek(0)
    return file.read().decode(errors="replace").splitlines()


class Parts:
    """Seconds of processor time by part of a run; what a part calls of another is not its own."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.open: list[str] = ["other"]
        self.mark = time.process_time()

    def count(self, owner: Any, name: str, part: str) -> None:
        """Let `part` have the time of the function `name` of a module or class."""
        function = getattr(owner, name)

        @wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.turn()
            self.open.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.turn()
                self.open.pop()

        setattr(owner, name, counted)

    def turn(self) -> None:
        now = time.process_time()
        self.seconds[self.open[-1]] += now - self.mark
        self.mark = now


def one(given: argparse.Namespace) -> None:
    """Distiller's job, in this process: `distiller run`."""
    from distiller import Run, distil, run

    parts = Parts()
    parts.seconds["start"] = parts.mark
    parts.count(run, "make_plan", "reading")
    parts.count(run, "encode_splits", "tokenizing")
    parts.count(setup, "teacher_outputs", "teacher's outputs")
    parts.count(teachers, "load_teacher", "loading models")
    parts.count(setup, "build_student", "loading models")
    parts.count(teachers, "build_student", "loading models")
    parts.count(results, "load_model", "loading models")
    parts.count(DistillationTrainer, "train", "steps")
    parts.count(DistillationTrainer, "evaluate", "evaluation")
    parts.count(teachers, "teacher_scores", "evaluation")
    parts.count(setup, "predict_logits", "evaluation")
    parts.count(results, "latency", "latency of one example")
    parts.count(seeds, "replace_folder", "saving")
    parts.count(results, "publish", "saving")
    parts.count(results, "write_card", "saving")
    wish = Run(
        task=the_task(given),
        teacher={"model": given.teacher},
        student={"layers": 3},
        objective=OBJECTIVE,
        training={
            "epochs": given.epochs,
            "batch_size": given.batch_size,
            "learning_rate": 1e-4,
            "warmup": 0.0,
            "weight_decay": 0.0,
            "max_grad_norm": 0.0,
            "precision": given.precision,
            "threads": given.threads,
        },
        seeds=[given.seed],
        baseline=False,
        output=f"{given.out}/run",
        cache=f"{given.out}/cache",
    )
    record = distil(wish)
    parts.turn()
    print(json.dumps({"accuracy": record.score, "parts": dict(parts.seconds), "steps": record.cost.step_milliseconds}))


def print_parts(parts: dict[str, float]) -> None:
    """Shares of the processor time of our run."""
    whole = sum(parts.values())
    shares = ", ".join(f"{name} {100 * spent / whole:.1f} %" for name, spent in sorted(parts.items(), key=by_time))
    print(f"\n{shares} of {whole:.0f} s\n")


def by_time(part: tuple[str, float]) -> float:
    return -part[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "job", "one"])
    parser.add_argument("--size", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--teacher", default=str(MINILM), help="a classifier of SST-2, for `job`")
    parser.add_argument("--data", default="../shared/data/glue")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="fp32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stacks", nargs="+", default=[OURS, *peers.STACKS], choices=[OURS, *peers.STACKS])
    parser.add_argument("--python", nargs="*", default=[], metavar="STACK=PYTHON", help="an environment of its own")
    parser.add_argument("--lines", type=Path, help="add every result to this file")
    parser.add_argument("--out", help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(given.threads)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    {"step": step, "job": job, "one": one}[given.what](given)


if __name__ == "__main__":
    main()
