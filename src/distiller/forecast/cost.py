"""What every forecast says: trainings and their steps, memory, disk and time."""

import copy
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distiller import memory
from distiller.config import Run
from distiller.device import Compute, accelerator, seconds_of

ROOM = 250_000_000
"""Bytes that a training on a processor takes beside what is counted: buffers of its kernels, and what the allocator
does not give back. As measured on two runs, of 4 and of 23 million parameters: 0.20 and 0.30 GB."""
CHECKPOINT, KEPT = 12, 2
"""Bytes of a checkpoint for each weight (itself and two moments), and how many checkpoints there are at a time."""


@dataclass(frozen=True)
class Phase:
    """One training of a run, or one that is repeated for each seed."""

    name: str
    fewest: int
    """Optimisation steps, at least …"""
    most: int
    """… and at most."""
    times: int
    """How often: once for each seed."""
    memory: int
    """Bytes of weights, gradients, optimiser and activations at the longest batch, and of a teacher beside it."""
    seconds: float | None = None
    """Of one step and its share of the development scores, as timed."""

    def line(self) -> str:
        """For people."""
        steps = f"{self.most:,}" if self.fewest == self.most else f"{self.fewest:,} to {self.most:,}"
        seeds = f", {self.times} times" if self.times > 1 else ""
        timed = f", {1000 * self.seconds:,.0f} ms each" if self.seconds is not None else ""
        return f"{self.name}: {steps} steps{timed}{seeds}"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A resolved run and what it takes."""

    run: Run
    phases: list[Phase]
    """The trainings, in their order. A teacher or baseline that an earlier run left in the cache is not trained."""
    once: float
    """Seconds for the teacher to read the training texts once, where it was timed and its outputs are kept; else 0."""
    process: int
    """Bytes of this process beside its models, with its libraries and data; 0 where an accelerator has the models."""
    cache: int
    """Bytes of the cache on disk: fine-tuned models, and outputs of the teacher."""
    output: int
    """Bytes of the output folder, and of checkpoints while it trains."""
    machine: str

    @property
    def steps(self) -> int:
        """The largest number of optimisation steps of the student, for one seed."""
        return sum(phase.most for phase in self.phases if phase.name.startswith("student"))

    @property
    def memory(self) -> int:
        """The largest number of bytes, of the process or of the accelerator."""
        return self.process + max(phase.memory for phase in self.phases)

    @property
    def seconds(self) -> tuple[float, float] | None:
        """The shortest and the longest time; `None` if no step was timed."""
        fewest = most = self.once
        for phase in self.phases:
            if phase.seconds is None:
                return None
            fewest += phase.times * phase.fewest * phase.seconds
            most += phase.times * phase.most * phase.seconds
        return fewest, most

    def cost_lines(self) -> Iterable[str]:
        """For people."""
        yield f"training  {self.machine}"
        for phase in self.phases:
            yield f"{'':10}{phase.line()}"
        yield f"memory    about {self.memory / 1e9:.2f} GB at most"
        yield f"disk      about {_gigabytes(self.cache)} in the cache, {_gigabytes(self.output)} in {self.run.output}"
        if self.seconds is None:
            yield "time      --time times a few steps"
        else:
            yield f"time      {_span(*self.seconds)}, on this machine as busy as it is now"


def present_process() -> int:
    """Bytes of this process as it is, and room for its kernels; 0 where an accelerator has the models."""
    return round(memory.present()) + ROOM if accelerator() == "cpu" else 0


def output_bytes(student: int, largest: int, seeds: int) -> int:
    """Bytes of the students of all seeds and the one that is given, and of checkpoints of the largest model.

    `student` and `largest` are numbers of weights.
    """
    return 4 * student * (seeds + 1) + KEPT * CHECKPOINT * largest


def timed_passes(
    model: PreTrainedModel, batches: Sequence[Mapping[str, Tensor]], here: Compute, *, learn: bool = True
) -> tuple[float, float]:
    """Seconds of an optimisation step (0 unless `learn`) and of a forward pass, medians over `batches`.

    `model` is moved and trained, or where it has no storage, a copy of it with random weights.
    """
    device = accelerator()
    model = _with_storage(model, device)
    moved = [{name: value.to(device) for name, value in batch.items()} for batch in batches]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True) if learn else None

    def run(batch: Mapping[str, Tensor], train: bool) -> None:
        half = torch.bfloat16 if here.precision == "bf16" else torch.float16
        with torch.autocast(device, dtype=half, enabled=here.precision != "fp32"), torch.set_grad_enabled(train):
            outputs = model(**batch)
            loss = sum(one.float().square().mean() for one in outputs.values() if isinstance(one, Tensor))
        if train and optimizer is not None and isinstance(loss, Tensor):
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    def median(train: bool) -> float:
        run(moved[0], train)
        return statistics.median(seconds_of(partial(run, batch, train), device) for batch in moved)

    learning = 0.0
    if learn:
        model.train()
        learning = median(True)
    model.eval()
    return learning, median(False)


def _with_storage(model: PreTrainedModel, device: str) -> PreTrainedModel:
    if all(weight.device.type != "meta" for weight in model.parameters()):
        nn.Module.to(model, device)
        return model
    found = copy.deepcopy(model).to_empty(device=device)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for weight in (*found.parameters(), *found.buffers()):
            if weight.is_floating_point():
                weight.normal_(std=0.02)
            else:
                weight.zero_()
    return found


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{math.ceil(size / 1e6):,} MB"


def _span(fewest: float, most: float) -> str:
    size, unit, digits = (1, "s", 0) if most < 90 else (60, "min", 0) if most < 5400 else (3600, "hours", 1)
    low, high = (f"{seconds / size:.{digits}f}" for seconds in (fewest, most))
    return f"about {low} {unit}" if low == high else f"about {low} to {high} {unit}"
