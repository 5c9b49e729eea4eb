"""What distillation adds to a training step, for each intermediate objective and layer mapping, and what a start costs.

    python benchmarks/step_time.py                                    # every row: about ten minutes on two cores
    python benchmarks/step_time.py --size tiny                        # does it run? seconds
    python benchmarks/step_time.py --only mse cos --json result.json  # some rows, written into a file

The denominator, measured in the same run on the same batches, is the least that any distillation must do: teacher
forward under `inference_mode`, student forward with cross-entropy, backward, fused AdamW. See benchmarks/README.md.
"""

import argparse
import copy
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, TrainingArguments

from distiller import __version__
from distiller.cache.teacher_outputs import TeacherCache, build_teacher_cache
from distiller.config import Objective, Student
from distiller.device import describe_machine
from distiller.models.students import build_student
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.training.batching import Batch, LengthBucketSampler
from distiller.training.trainer import DistillationTrainer

MINILM = Path(__file__).parents[2] / "shared" / "models" / "minilm-l6-h384"
MAPPINGS = ("skip", "last", "emd")
CRITICS = ("transformer", "mlp", "joint")
EXTRA_CRITICS = {"transformer-head": {"name": "transformer", "options": {"baseline": "head"}}}
"""Cheaper choices, measured beside the published defaults."""
AIM = 1.15
LABELS = 2


@dataclass(frozen=True)
class Row:
    """One measured combination. Times are milliseconds: the median over repeats, averaged over batches."""

    objective: str
    mapping: str
    ratio: float
    """Wall time of our step ÷ plain step."""
    cpu_ratio: float
    """The same in processor time, which other work on the machine disturbs less."""
    cached_ratio: float | None
    """Wall time of our step that reads the teacher from its cache ÷ plain step with the teacher; `None`: no cache."""
    cached_cpu_ratio: float | None
    arithmetic: float
    """Floating-point operations of our matrix products ÷ those of the plain step: what no implementation avoids."""
    weights: float
    """Trained weights ÷ those of the student: what the optimiser must read and write."""
    plain_ms: float
    ours_ms: float
    measured: str


def rows(only: list[str]) -> list[tuple[str, str, Objective]]:
    """(objective, mapping, Eq. (1)) of every row asked for; a critic is part of the objective's name."""
    terms: dict[str, dict] = {}
    for loss in INTERMEDIATE:
        if INTERMEDIATE[loss].traits["head"] != "critic":
            terms[loss] = {"loss": loss}
            continue
        for critic in CRITICS:
            terms[f"{loss}-{critic}"] = {"loss": loss, "critic": {"name": critic}}
        terms |= {f"{loss}-{name}": {"loss": loss, "critic": critic} for name, critic in EXTRA_CRITICS.items()}
    made = [("none", "-", Objective(gamma1=1.0))]
    for name, term in terms.items():
        made += [
            (name, mapping, Objective.model_validate({"gamma1": 1.0, "intermediate": [{**term, "mapping": mapping}]}))
            for mapping in MAPPINGS
        ]
    if not only:  # 19 joint critics take minutes a step: only by name
        return [row for row in made if row[:2] != ("mi_alpha-joint", "emd")]
    return [row for row in made if row[0] in only or f"{row[0]}:{row[1]}" in only]


class Workplace:
    """The models and ragged batches that every row shares, and the plain step."""

    def __init__(self, size: str, *, batch_size: int, batches: int) -> None:
        torch.manual_seed(0)
        self.teacher = load_teacher(size)
        self.student = self.new_student()
        self.lengths = ragged_lengths(batch_size * batches)
        self.batches = self._batches(batch_size)
        self.optimiser = torch.optim.AdamW(self.student.parameters(), lr=1e-5, fused=True)
        self.plain_teacher = copy.deepcopy(self.teacher).eval()  # ours carries hooks

    def new_student(self) -> BertForSequenceClassification:
        """Every second layer of the teacher, as `distiller run` makes it."""
        layers = self.teacher.config.num_hidden_layers // 2
        labels = [str(label) for label in range(LABELS)]
        student, _ = build_student(
            Student(layers=layers),
            teacher_model=self.teacher,
            teacher_tokenizer=PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel()), pad_token="[PAD]"),
            kind="classification",
            labels=labels,
            seed=0,
            attention="sdpa",
        )
        return student  # type: ignore[return-value]

    def _batches(self, batch_size: int) -> list[Batch]:
        order = list(LengthBucketSampler(self.lengths, batch_size, seed=0))
        made = []
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            length = torch.tensor([self.lengths[i] for i in chosen])
            mask = (torch.arange(int(length.max())) < length[:, None]).long()
            made.append(
                {
                    "input_ids": torch.randint(1, self.teacher.config.vocab_size, mask.shape) * mask,
                    "attention_mask": mask,
                    "labels": torch.randint(LABELS, (len(chosen),)),
                    "example_ids": torch.tensor(chosen),
                }
            )
        return made

    def plain_step(self, batch: Batch) -> None:
        """The denominator."""
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            self.plain_teacher(**inputs)
        torch.nn.functional.cross_entropy(self.student(**inputs).logits, batch["labels"]).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()


def load_teacher(size: str) -> BertForSequenceClassification:
    """MiniLM-L6 with a random head if its folder is there, else a random model of its shape."""
    options = {"num_labels": LABELS, "attn_implementation": "sdpa"}
    if size == "tiny":
        shape = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
        teacher = BertForSequenceClassification(BertConfig(vocab_size=200, **shape, **options))
    elif MINILM.is_dir():
        teacher = BertForSequenceClassification.from_pretrained(MINILM, dtype=torch.float32, **options)
    else:
        shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
        teacher = BertForSequenceClassification(BertConfig(**shape, **options))
    return teacher.eval()


def ragged_lengths(examples: int) -> list[int]:
    """Token counts as in sentence tasks: half around 32, half around 64, each with a spread of a quarter."""
    centre = torch.where(torch.arange(examples) % 2 == 0, 32.0, 64.0)
    return (centre * torch.exp(0.25 * torch.randn(examples))).round().clamp(8, 128).long().tolist()


def our_trainer(place: Workplace, objective: Objective, folder: Path) -> DistillationTrainer:
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        optim="adamw_torch_fused",
        learning_rate=1e-5,
        report_to=[],
        max_grad_norm=0,
    )
    trainer = DistillationTrainer(place.new_student(), teacher=place.teacher, objective=objective, args=arguments)
    trainer.create_optimizer()
    trainer.model_wrapped = trainer._wrap_model(trainer.model)  # as `train` does: student and objective in one module
    trainer.state.global_step = 1  # the gradients of single terms are measured in the first one, and seldom after it
    trainer.state.max_steps = sys.maxsize  # `train` would set it, and no batch is given out beyond it
    return trainer


def our_step(trainer: DistillationTrainer, batch: Batch) -> torch.Tensor:
    """What `transformers.Trainer` does between two batches, by the same methods; the loss."""
    (inputs,), totals = trainer.get_batch_samples(iter([batch]), 1, trainer.args.device)
    loss = trainer.training_step(trainer.model_wrapped, inputs, totals)
    assert trainer.optimizer is not None
    trainer.optimizer.step()
    trainer.model_wrapped.zero_grad()
    return loss


def teacher_cache(place: Workplace, trainer: DistillationTrainer, folder: Path) -> TeacherCache | None:
    """The teacher's outputs on the batches, as training makes them; `None` for attention maps, which are not kept."""
    assert trainer.teacher is not None
    if trainer.teacher.attention_layers:
        return None
    build_teacher_cache(folder, trainer.teacher, place.batches, place.lengths, trainer.teacher.hidden_layers)
    return TeacherCache(folder)


def measure(place: Workplace, objective: Objective, *, repeats: int) -> dict[str, float | None]:
    """All figures of one row. The kinds of step take turns on every batch, so that a busy moment hits them alike."""
    with tempfile.TemporaryDirectory() as temporary:
        trainer = our_trainer(place, objective, Path(temporary))
        cache = teacher_cache(place, trainer, Path(temporary))

        def ours(batch: Batch) -> None:
            trainer.teacher_cache = None
            our_step(trainer, batch)

        def cached(batch: Batch) -> None:
            trainer.teacher_cache = cache
            our_step(trainer, batch)

        steps: dict[str, Callable[[Batch], None]] = {"plain": place.plain_step, "ours": ours}
        if cache is not None:
            steps["cached"] = cached
        flops = {name: operations(steps[name], place.batches[0]) for name in ("plain", "ours")}
        wall, cpu = timed(steps, place.batches, repeats)
        trained = sum(parameter.numel() for parameter in trainer.distillation.parameters())
        trainer.teacher.close()  # type: ignore[union-attr]
    return {
        "ratio": wall["ours"] / wall["plain"],
        "cpu_ratio": cpu["ours"] / cpu["plain"],
        "cached_ratio": wall["cached"] / wall["plain"] if cache else None,
        "cached_cpu_ratio": cpu["cached"] / cpu["plain"] if cache else None,
        "arithmetic": flops["ours"] / flops["plain"],
        "weights": trained / sum(parameter.numel() for parameter in place.student.parameters()),
        "plain_ms": wall["plain"],
        "ours_ms": wall["ours"],
    }


def timed(
    steps: dict[str, Callable[[Batch], None]], batches: list[Batch], repeats: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds (wall, processor) of each kind of step: the median over repeats, averaged over batches."""
    names = list(steps)
    taken: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for name in names:
        steps[name](batches[0])  # first use allocates
    for repeat in range(repeats):
        for position, batch in enumerate(batches):
            first = (repeat + position) % len(names)
            for name in names[first:] + names[:first]:
                wall, cpu = time.perf_counter(), time.process_time()
                steps[name](batch)
                spent = (time.perf_counter() - wall, time.process_time() - cpu)
                taken.setdefault((name, position), []).append(spent)

    def average(name: str, clock: int) -> float:
        medians = [median(spent[clock] for spent in taken[name, position]) for position in range(len(batches))]
        return 1e3 * sum(medians) / len(medians)

    return {name: average(name, 0) for name in names}, {name: average(name, 1) for name in names}


def operations(step: Callable[[Batch], None], batch: Batch) -> int:
    with FlopCounterMode(display=False) as counter:
        step(batch)
    return counter.get_total_flops()


def start_times(repeats: int = 5) -> dict[str, dict[str, float | bool]]:
    """Seconds of the bare interpreter, `import distiller` and `distiller --help`, and whether each loads torch."""
    from_help = "import sys; sys.argv = ['distiller', '--help']; from distiller.cli import main; main()"
    programs = {"python": "pass", "import distiller": "import distiller", "distiller --help": from_help}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            before = os.times()
            subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
            after = os.times()
            cpu = sum(after[2:4]) - sum(before[2:4])  # of children: user, system
            taken[name].append((after.elapsed - before.elapsed, cpu))
    found: dict[str, dict[str, float | bool]] = {}
    for name, program in programs.items():
        imports = subprocess.run([sys.executable, "-X", "importtime", "-c", program], capture_output=True, text=True)
        loaded = {line.rpartition("|")[2].strip() for line in imports.stderr.splitlines()}
        wall, cpu = (round(median(seconds), 3) for seconds in zip(*taken[name], strict=True))
        found[name] = {"wall": wall, "cpu": cpu, "loads_torch": "torch" in loaded}
    return found


def table(found: list[Row]) -> str:
    head = ["objective", "mapping", "ratio", "ratio (CPU time)", "with cache", "with cache (CPU time)"]
    head += ["arithmetic", "weights", f"≤ {AIM}"]
    body = [
        [row.objective, row.mapping]
        + [
            "–" if number is None else f"{number:.2f}"
            for number in (
                row.ratio,
                row.cpu_ratio,
                row.cached_ratio,
                row.cached_cpu_ratio,
                row.arithmetic,
                row.weights,
            )
        ]
        + ["yes" if row.cpu_ratio <= AIM else "no"]
        for row in found
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *body])


def report(arguments: argparse.Namespace, found: list[Row]) -> dict:
    return {
        "command": shlex.join(["python", "benchmarks/step_time.py", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": describe_machine() | {"cores": os.cpu_count()},
        "versions": {
            "distiller": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "size": arguments.size,
        "batch_size": arguments.batch_size,
        "batches": arguments.batches,
        "repeats": arguments.repeats,
        "start_seconds": start_times(),
        "rows": [asdict(row) for row in found],
    }


def kept(path: Path | None, found: list[Row]) -> list[Row]:
    """The rows of an earlier part of the run in `path`, with those in `found` in their places. Rows do not depend
    on each other: each has its own plain step, measured in turn with it."""
    earlier = [Row(**row) for row in json.loads(path.read_text())["rows"]] if path and path.is_file() else []
    by_name = {(row.objective, row.mapping): row for row in [*earlier, *found]}
    order = [(name, mapping) for name, mapping, _ in rows([])]
    return sorted(by_name.values(), key=lambda row: order.index((row.objective, row.mapping)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--only", nargs="*", default=[], metavar="OBJECTIVE[:MAPPING]", help="measure these rows")
    parser.add_argument("--batch-size", type=int, help="16, or 4 with --size tiny")
    parser.add_argument("--batches", type=int, default=4, help="different ragged batches")
    parser.add_argument("--repeats", type=int, default=5, help="steps of each kind on each batch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the rows into this file, in place of those it has")
    arguments = parser.parse_args()
    arguments.batch_size = arguments.batch_size or (4 if arguments.size == "tiny" else 16)
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    place = Workplace(arguments.size, batch_size=arguments.batch_size, batches=arguments.batches)
    found = []
    for name, mapping, objective in rows(arguments.only):
        once = name == "mi_alpha-joint"  # its ratio is far from any that noise could change
        figures = measure(place, objective, repeats=1 if once else arguments.repeats)
        found.append(Row(name, mapping, **figures, measured=date.today().isoformat()))  # type: ignore[arg-type]
        print(f"{name} × {mapping}: {found[-1].cpu_ratio:.2f}", file=sys.stderr)
    found = kept(arguments.json, found)
    result = report(arguments, found)
    print(table(found))
    print(f"\nstart: {result['start_seconds']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
