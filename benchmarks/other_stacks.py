"""The same distillation in other hands: a `transformers.Trainer` written by hand, TextBrewer, and Distiller.

    pip install textbrewer==0.2.1.post1
    python benchmarks/other_stacks.py step                                 # one step, equal batches
    python benchmarks/other_stacks.py job --teacher outputs/teachers/sst2  # the same training to its end

Loss of all three: 4·KL at temperature 2, cross-entropy with the labels, and squared distances of three pairs of hidden
states, means over valid tokens. Dropout and clipping are off. `step` first asserts that the losses of 20 steps agree to
1e-4 (TextBrewer's differs by the teacher's entropy, which is taken out), so its times compare the same computation.
`job` lets each stack do it its own best way: see `JOBS`. Each job is a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from step_time import MINILM, Workplace, our_step, our_trainer, timed
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from distiller.cache.teacher_outputs import TeacherCache, build_teacher_cache
from distiller.config import Objective, Student, Task
from distiller.device import describe_machine, peak_memory_megabytes
from distiller.models.folders import load_tokenizer
from distiller.models.load import load_model
from distiller.models.students import build_student
from distiller.tasks import load_task
from distiller.tasks.encode import Collator, EncodedSplit
from distiller.tasks.tokens import encode_split
from distiller.training.batching import Batch
from distiller.training.evaluate import predict_logits
from distiller.training.trainer import DistillationTrainer

T = 2.0
OBJECTIVE = Objective.model_validate(
    {
        "prediction": {"name": "kl", "options": {"temperature": T, "scale_T2": True}},
        "beta1": 1.0,
        "gamma1": 1.0,
        "intermediate": [{"loss": "mse", "mapping": {"name": "skip", "options": {"include_embeddings": False}}}],
    }
)
JOBS = {
    "distiller": "length buckets; the teacher's outputs computed once and read from the disk (building included)",
    "by hand": "`transformers.Trainer` with group_by_length and dynamic padding; the teacher in every step",
    "textbrewer": "`GeneralDistiller` with dynamic padding (its cache holds logits only, so not here)",
}


def without_dropout(model: nn.Module) -> Any:
    """The same model; its dropout does nothing."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def pairs(student: Any, teacher: Any) -> list[tuple[int, int]]:
    """Layers of student and teacher that are compared, 0 the embeddings: 1 and 2, 2 and 4, 3 and 6."""
    block = teacher.config.num_hidden_layers // student.config.num_hidden_layers
    return [(layer, block * layer) for layer in range(1, student.config.num_hidden_layers + 1)]


def inputs_of(batch: Batch) -> Batch:
    return {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}


class HandWritten(Trainer):
    """What one writes without a library."""

    def __init__(self, model: nn.Module, teacher: nn.Module, args: TrainingArguments, **kwargs: Any) -> None:
        super().__init__(model=model, args=args, **kwargs)
        self.teacher = teacher.eval().requires_grad_(False)

    def compute_loss(self, model: nn.Module, inputs: Batch, return_outputs: bool = False, **_: Any) -> Any:
        labels, inputs = inputs["labels"], inputs_of(inputs)
        with torch.no_grad():
            theirs = self.teacher(**inputs, output_hidden_states=True)
        ours = model(**inputs, output_hidden_states=True)
        kd = F.kl_div(F.log_softmax(ours.logits / T, -1), F.softmax(theirs.logits / T, -1), reduction="batchmean")
        loss = T**2 * kd + F.cross_entropy(ours.logits, labels)
        mask = inputs["attention_mask"].unsqueeze(-1).to(ours.logits.dtype)
        for student, teacher in pairs(model, self.teacher):
            squared = F.mse_loss(ours.hidden_states[student], theirs.hidden_states[teacher], reduction="none")
            loss = loss + (squared * mask).sum() / (mask.sum() * squared.shape[-1])
        return (loss, ours) if return_outputs else loss


def textbrewer(student: nn.Module, teacher: nn.Module, folder: Path) -> Any:
    """A `GeneralDistiller` with the same loss. It applies no T², so that is part of its weight."""
    from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig

    def adaptor(batch: Batch, out: Any) -> dict[str, Any]:
        found = {"logits": out.logits, "hidden": out.hidden_states, "inputs_mask": batch["attention_mask"]}
        return found | ({"losses": out.loss} if out.loss is not None else {})

    matches = [
        {"layer_T": theirs, "layer_S": ours, "feature": "hidden", "loss": "hidden_mse", "weight": 1}
        for ours, theirs in pairs(student, teacher)
    ]
    wish = DistillationConfig(
        temperature=T, kd_loss_weight=T**2, hard_label_weight=1, intermediate_matches=matches, kd_loss_type="ce"
    )
    place = TrainingConfig(device="cpu", output_dir=str(folder / "textbrewer"))
    return GeneralDistiller(place, wish, teacher, student, adaptor, adaptor)


def optimiser(model: nn.Module, rate: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0, fused=True)


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    fixed: dict[str, Any] = {"output_dir": str(folder), "use_cpu": True, "report_to": [], "max_grad_norm": 0.0}
    fixed |= {"optim": "adamw_torch_fused", "weight_decay": 0.0, "disable_tqdm": True}
    return TrainingArguments(**(fixed | {"learning_rate": 1e-5, "save_strategy": "no"} | changes))


# --- one step --------------------------------------------------------------------------------------------------------


class Stacks:
    """One step of each stack on the same batches; `loss` has what the last one computed, without constants."""

    def __init__(self, place: Workplace, folder: Path) -> None:
        self.loss: dict[str, float] = {}
        self.place = place
        place.teacher = without_dropout(place.teacher)
        self.students = {name: without_dropout(place.new_student()) for name in JOBS}
        self.hand = HandWritten(self.students["by hand"], place.plain_teacher, arguments(folder))
        self.hand.create_optimizer()
        self.hand.current_gradient_accumulation_steps = 1  # `train` would set it
        place.new_student = lambda: self.students["distiller"]  # type: ignore[method-assign]
        self.trainer = our_trainer(place, OBJECTIVE, folder)
        self.steps: dict[str, Callable[[Batch], None]] = {"by hand": self.by_hand, "distiller": self.ours}
        try:
            self.brewer = textbrewer(self.students["textbrewer"], place.plain_teacher, folder)
        except ImportError:
            print("textbrewer is not installed: its row is missing", file=sys.stderr)
            return
        self.brewer.__enter__()
        self.brewing = optimiser(self.students["textbrewer"], 1e-5)
        self.steps["textbrewer"] = self.brew

    def by_hand(self, batch: Batch) -> None:
        self.loss["by hand"] = float(self.hand.training_step(self.hand.model, dict(batch)))
        assert self.hand.optimizer is not None
        self.hand.optimizer.step()
        self.hand.model.zero_grad()

    def ours(self, batch: Batch) -> None:
        before = self.trainer._components
        self.trainer._components = {}
        our_step(self.trainer, batch)
        parts = self.trainer._components
        self.loss["distiller"] = float(sum(parts.values()))
        self.trainer._components = before

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
        reference = stacks.loss["by hand"]
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
            ratios = (cpu[stack] / cpu["by hand"], wall[stack] / wall["by hand"])
            print(f"| {name} | {stack} | {ratios[0]:.2f} | {ratios[1]:.2f} | {wall[stack]:.0f} |", flush=True)


# --- the whole job ---------------------------------------------------------------------------------------------------


def job(given: argparse.Namespace) -> None:
    """Track C: the same training to its end, each stack its own best way."""
    print(f"{describe_machine()}, {given.examples} examples, {given.epochs} epochs\n")
    print("| stack | seconds | CPU seconds | accuracy | peak MB | how |\n|---|---:|---:|---:|---:|---|")
    for stack in JOBS:
        command = [sys.executable, __file__, "one", "--stack", stack, "--teacher", given.teacher, "--data", given.data]
        command += ["--examples", str(given.examples), "--epochs", str(given.epochs), "--threads", str(given.threads)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"| {stack} | {done.stderr.strip().splitlines()[-1]} |||||")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        numbers = f"{found['wall']:.0f} | {found['cpu']:.0f} | {100 * found['accuracy']:.1f} | {found['peak']:.0f}"
        print(f"| {stack} | {numbers} | {JOBS[stack]} |", flush=True)


def one(given: argparse.Namespace) -> None:
    """One stack's job, in this process."""
    tokenizer = load_tokenizer(given.teacher)
    task = Task.model_validate({"name": "sst2", "data": given.data, "train_limit": given.examples, "max_length": 64})
    data = load_task(task)
    train, dev = (encode_split(data.splits[name], tokenizer, task, 64) for name in ("train", "dev"))
    known = {"kind": "classification", "labels": list(data.labels), "attention": "sdpa"}
    teacher = without_dropout(load_model(given.teacher, **known)).eval()
    wish = Student(layers=teacher.config.num_hidden_layers // 2)
    student, _ = build_student(wish, teacher_model=teacher, teacher_tokenizer=tokenizer, seed=0, **known)
    student = without_dropout(student)
    collate = Collator(tokenizer)
    torch.manual_seed(0)
    started = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        RUNS[given.stack](student, teacher, train, collate, given, Path(temporary))
    wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    right = predict_logits(student, dev, collate).argmax(-1).numpy() == dev.labels
    print(json.dumps({"wall": wall, "cpu": cpu, "accuracy": float(right.mean()), "peak": peak_memory_megabytes()}))


def pace(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "num_train_epochs": given.epochs,
        "per_device_train_batch_size": 16,
        "learning_rate": 1e-4,
        "logging_steps": 20,
    }


def distiller_job(
    student: Any, teacher: Any, train: EncodedSplit, collate: Collator, given: argparse.Namespace, folder: Path
) -> None:
    trainer = DistillationTrainer(
        student,
        teacher=teacher,
        objective=OBJECTIVE,
        args=arguments(folder, **pace(given)),
        train_dataset=train,
        data_collator=collate,
    )
    assert trainer.teacher is not None
    order = torch.as_tensor(train.lengths).argsort(descending=True)
    batches = (dict(collate([train[int(row)] for row in rows])) for rows in order.split(64))
    (folder / "cache").mkdir()
    build_teacher_cache(folder / "cache", trainer.teacher, batches, train.lengths, trainer.teacher.hidden_layers)
    trainer.teacher_cache = TeacherCache(folder / "cache")
    trainer.train()


def hand_written_job(
    student: Any, teacher: Any, train: EncodedSplit, collate: Collator, given: argparse.Namespace, folder: Path
) -> None:
    chosen = arguments(folder, **pace(given), train_sampling_strategy="group_by_length", remove_unused_columns=False)
    HandWritten(student, teacher, chosen, train_dataset=train, data_collator=collate).train()


def textbrewer_job(
    student: Any, teacher: Any, train: EncodedSplit, collate: Collator, given: argparse.Namespace, folder: Path
) -> None:
    def batch_of(rows: list[Any]) -> Batch:
        batch = dict(collate(rows))
        return inputs_of(batch) | {"labels": batch["labels"]}

    loader = DataLoader(train, batch_size=16, shuffle=True, collate_fn=batch_of)  # type: ignore[arg-type]
    steps = len(loader) * given.epochs
    distiller = textbrewer(student, teacher, folder)
    with distiller:
        distiller.train(
            optimiser(student, 1e-4),
            loader,
            num_epochs=given.epochs,
            scheduler_class=transformers.get_linear_schedule_with_warmup,
            scheduler_args={"num_warmup_steps": 0, "num_training_steps": steps},
            callback=None,
            output_hidden_states=True,
        )


RUNS = {"distiller": distiller_job, "by hand": hand_written_job, "textbrewer": textbrewer_job}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "job", "one"])
    parser.add_argument("--size", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--teacher", default=str(MINILM), help="a classifier of SST-2, for `job`")
    parser.add_argument("--data", default="../shared/data/glue")
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--stack", choices=list(JOBS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(given.threads)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    {"step": step, "job": job, "one": one}[given.what](given)


if __name__ == "__main__":
    main()
