"""Samples and tokens a second on this machine's accelerator, through the real `trainer.train()`.

    python benchmarks/accelerator.py --folder /dev/shm                   # a GPU: at most about five minutes
    python benchmarks/accelerator.py --size tiny --steps 12              # does it run? seconds, on a CPU too
    python benchmarks/accelerator.py --only online cached --json out.json

A teacher of the shape of BERT base and a student of that of TinyBERT_4, hidden states and KL, real lengths. Each way is
timed from step 6 to the last, with the device waited for at both ends. Ways: `student`, the student's own step on gold
labels, the least that any cached step can take; `online`, the teacher is asked; `compiled`, the same through
`torch.compile`; `cached`, `ahead` and `file`, its outputs lie on the device, are gathered ahead of the step, or in it;
`emd`, all 48 pairs of layers; `mi`, mutual information. Needs torch and transformers alone.

The teacher's outputs on the texts of one size of batch are written once for all ways that read them; a few batches of
texts come again and again, so that they take 4 GB at batch 256, not 20. Ways that would begin after `--minutes` are
left out, and named; compiling, which takes longest, comes last.
"""

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForSequenceClassification, TrainerCallback, TrainingArguments

from distiller import config
from distiller.cache.teacher_outputs import TeacherCache, build_teacher_cache
from distiller.device import compute, describe_machine, finish, release
from distiller.training.batching import ViewCollator
from distiller.training.teacher import FrozenTeacher
from distiller.training.trainer import DistillationTrainer

TEACHER = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
STUDENT = {"hidden_size": 312, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 1200}
TINY = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
WARM = 6
"""Steps before the clock runs."""
DISTINCT = 16
"""Batches of texts that differ; then they come again."""
HIDDEN = [{"loss": "mse"}]
WAYS: dict[str, dict[str, Any]] = {
    "student": {"objective": {"beta1": 0, "gamma1": 1}},
    "online": {"objective": {"prediction": "kl", "intermediate": HIDDEN}},
    "cached": {"objective": {"prediction": "kl", "intermediate": HIDDEN}, "place": "device"},
    "ahead": {"objective": {"prediction": "kl", "intermediate": HIDDEN}, "place": "ahead"},
    "file": {"objective": {"prediction": "kl", "intermediate": HIDDEN}, "place": "file"},
    "emd": {"objective": {"prediction": "kl", "intermediate": [{"loss": "mse", "mapping": "emd"}]}},
    "mi": {"objective": {"prediction": "kl", "intermediate": [{"loss": "mi_alpha"}]}},
    "compiled": {"objective": {"prediction": "kl", "intermediate": HIDDEN}, "compiled": True},
}


@dataclass(frozen=True)
class Row:
    """One way with one size of batch."""

    way: str
    batch_size: int
    lengths: str
    step_ms: float
    samples: float
    """A second."""
    tokens: float
    """A second, real ones, without padding."""
    teraflops: float
    """Arithmetic of the matrix products a second, in 10^12; how much of the device's peak that is, its maker says."""
    waits: int | None
    """Times that the host waited for the device in one step, as torch counts them; `None`: not on this device."""
    memory_gb: float


class Texts:
    """Random tokens; the lengths are `length`, or ragged: half around a quarter of it, half around a half.

    There are `size` rows, which repeat the first `distinct`.
    """

    def __init__(self, size: int, distinct: int, length: int, *, ragged: bool, vocabulary: int) -> None:
        rng = torch.Generator().manual_seed(0)
        distinct = min(size, distinct)
        centre = torch.where(torch.arange(distinct) % 2 == 0, length / 4, length / 2)
        spread = (centre * torch.exp(0.25 * torch.randn(distinct, generator=rng))).round().clamp(4, length).long()
        sizes = spread if ragged else torch.full((distinct,), length)
        self.tokens = [torch.randint(5, vocabulary, (n,), generator=rng) for n in sizes.tolist()]
        self.lengths: list[int] = sizes[torch.arange(size) % distinct].tolist()

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> dict[str, Any]:
        example = row % len(self.tokens)
        return {"input_ids": self.tokens[example], "labels": example % 2, "example_id": example}


def padded(multiple: int) -> Callable[[list[Any]], dict[str, torch.Tensor]]:
    def collate(rows: list[Any]) -> dict[str, torch.Tensor]:
        sizes = torch.tensor([len(row["input_ids"]) for row in rows])
        length = -(-int(sizes.max()) // multiple) * multiple
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row["input_ids"])] = row["input_ids"]
        return {
            "input_ids": ids,
            "attention_mask": (torch.arange(length) < sizes[:, None]).long(),
            "labels": torch.tensor([row["labels"] for row in rows]),
            "example_ids": torch.tensor([row["example_id"] for row in rows]),
        }

    return collate


class Clock(TrainerCallback):
    """Waits for the device after `WARM` steps and at the end; between them nothing waits but what the step does.

    In the last warm step torch counts how often the host waits for the device.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.began = self.seconds = 0.0
        self.waits: int | None = None
        self._warnings: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == WARM - 1 and self.device == "cuda":  # taking the next batch belongs to its step
            import warnings

            self._warnings = warnings.catch_warnings(record=True)
            self._found = self._warnings.__enter__()
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
        if state.global_step == WARM:
            if self._warnings is not None:
                torch.cuda.set_sync_debug_mode("default")
                self.waits = sum("synchroniz" in str(one.message) for one in self._found)
                self._warnings.__exit__(None, None, None)
            finish(self.device)
            self.began = time.perf_counter()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        finish(self.device)
        self.seconds = time.perf_counter() - self.began


def models(size: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    small, large = (TINY, TINY | {"num_hidden_layers": 2}) if size == "tiny" else (TEACHER, STUDENT)
    vocabulary = {"vocab_size": 500} if size == "tiny" else {}
    made = [
        BertForSequenceClassification(BertConfig(**shape, **vocabulary, num_labels=2, attn_implementation="sdpa"))
        for shape in (small, large)
    ]
    return made[0], made[1]


def measure(way: str, batch_size: int, ragged: bool, arguments: argparse.Namespace, outputs: Path) -> Row:
    """One way; one that reads the teacher's outputs finds them in `outputs`, or writes them there."""
    wish = WAYS[way]
    objective = config.parse(config.Objective, wish["objective"], where=way)
    teacher, student = models(arguments.size)
    computing = compute(arguments.precision)
    steps, length = arguments.steps, arguments.length
    rows, distinct = batch_size * steps, batch_size * DISTINCT
    texts = Texts(rows, distinct, length, ragged=ragged, vocabulary=teacher.config.vocab_size)
    collate = ViewCollator(padded(32 if wish.get("compiled") else 8))
    clock = Clock(computing.device)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        trainer = DistillationTrainer(
            student,
            teacher=teacher,
            objective=objective,
            compiled=wish.get("compiled", False),
            args=TrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=batch_size,
                logging_steps=10**6,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                optim="adamw_torch_fused",
                max_grad_norm=1.0,
                **computing.trainer_arguments(),
            ),
            train_dataset=texts,
            data_collator=collate,
            callbacks=[clock],
        )
        if "place" in wish:
            assert trainer.teacher is not None
            if not outputs.exists():
                store(outputs, trainer.teacher, texts, collate)
            trainer.teacher_cache = TeacherCache(outputs, place=wish["place"])
        batch = {name: value.to(trainer.args.device) for name, value in collate([texts[i] for i in range(8)]).items()}
        trainer.train()
        flops = operations(trainer, batch) / 8 if not wish.get("compiled") else 0.0
    timed = steps - WARM
    tokens = sum(texts.lengths) / steps * timed
    memory = torch.cuda.max_memory_allocated() / 1e9 if computing.device == "cuda" else 0.0
    if trainer.teacher_cache is not None:
        trainer.teacher_cache.close()
    del trainer
    release(computing.device)  # the next way must not find less room, or this one's peak
    if computing.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    return Row(
        way,
        batch_size,
        "ragged" if ragged else str(length),
        step_ms=1e3 * clock.seconds / timed,
        samples=timed * batch_size / clock.seconds,
        tokens=tokens / clock.seconds,
        teraflops=timed * batch_size * flops / clock.seconds / 1e12,
        waits=clock.waits,
        memory_gb=memory,
    )


def store(folder: Path, teacher: FrozenTeacher, texts: Texts, collate: Any) -> None:
    """Write what the teacher says of all texts that differ."""
    folder.mkdir()
    distinct = len(texts.tokens)
    batches = (
        {name: value.to(teacher.device) for name, value in collate([texts[int(i)] for i in rows]).items()}
        for rows in torch.arange(distinct).split(256)
    )
    build_teacher_cache(folder, teacher, batches, distinct, teacher.hidden_layers)


def operations(trainer: DistillationTrainer, batch: dict[str, Any]) -> int:
    """Floating-point operations of the matrix products of one step."""
    with FlopCounterMode(display=False) as counter:
        trainer.compute_loss(trainer.distillation, dict(batch)).backward()
    return counter.get_total_flops()


def table(rows: list[Row]) -> str:
    head = ["way", "batch", "length", "step, ms", "samples/s", "tokens/s", "TFLOP/s", "waits", "memory, GB"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        numbers = [f"{row.step_ms:.1f}", f"{row.samples:,.0f}", f"{row.tokens:,.0f}", f"{row.teraflops:.1f}"]
        waits = "–" if row.waits is None else str(row.waits)
        lines.append([row.way, str(row.batch_size), row.lengths, *numbers, waits, f"{row.memory_gb:.1f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(found: list[Row], path: Path | None) -> None:
    """The rows so far, with what they were measured on."""
    if path is None:
        return
    report = {
        "command": shlex.join(["python", "benchmarks/accelerator.py", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "rows": [asdict(row) for row in found],
    }
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["base", "tiny"], default="base")
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--batch-sizes", nargs="*", type=int, default=[32, 256])
    parser.add_argument("--steps", type=int, default=40, help=f"of which the first {WARM} are not timed")
    parser.add_argument("--length", type=int, default=128, help="tokens of a text, or the longest of ragged ones")
    parser.add_argument("--ragged", action="store_true", help="real lengths in place of one")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument("--minutes", type=float, default=5, help="begin no way later than this")
    parser.add_argument("--folder", type=Path, help="for outputs and caches, e.g. /dev/shm")
    parser.add_argument("--json", type=Path, help="write the rows here, after each of them")
    arguments = parser.parse_args()
    if arguments.steps <= WARM:
        parser.error(f"--steps {arguments.steps}: the first {WARM} are not timed, so at least {WARM + 1} are needed")
    transformers.logging.set_verbosity_error()
    found: list[Row] = []
    began = time.perf_counter()
    for batch_size in arguments.batch_sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            for way in arguments.only:
                if time.perf_counter() - began > 60 * arguments.minutes:
                    print(f"{way} at {batch_size}: left out, {arguments.minutes:g} minutes are over", file=sys.stderr)
                    continue
                found.append(measure(way, batch_size, arguments.ragged, arguments, Path(folder) / "outputs"))
                print(f"{way} at {batch_size}: {found[-1].step_ms:.1f} ms", file=sys.stderr)
                write(found, arguments.json)
    print(table(found))


if __name__ == "__main__":
    main()
