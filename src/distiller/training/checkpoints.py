"""Checkpoints from which an interrupted training continues: written by time, all or nothing, checked when read.

Between two of them the best weights stay in memory, so that the evaluation schedule does not decide how much is
written.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainerCallback

from distiller.errors import Interrupted, warn
from distiller.files import SUMS, damage, write_json, write_sums
from distiller.interruption import StopRequest

CHECKPOINTS = "checkpoints"
AT_LEAST = 2
"""Whole checkpoints that are kept: the one before the newest serves where that is damaged."""
BEST, BEST_WEIGHTS = "best.json", "best-{step}.safetensors"
TOGETHER = 8
"""Optimisation steps between two times that several processes agree on whether to save."""


@runtime_checkable
class CheckpointState(Protocol):
    """What a checkpoint holds besides the weights, the optimiser and the random state."""

    def write(self, folder: Path, step: int) -> None:
        """Add it to the checkpoint of `step`."""
        ...

    def read(self, folder: Path) -> None:
        """Restore it from a checkpoint."""
        ...


@dataclass(frozen=True)
class Scored:
    """Weights, off the accelerator, with their development score."""

    score: float
    step: int
    weights: Mapping[str, Tensor]


class BestWeights(TrainerCallback):
    """Up to `most` weights of `student` with its best development scores so far, the best first."""

    def __init__(self, student: nn.Module, metric: str, *, most: int = 1) -> None:
        self.student = student
        self.metric = f"eval_{metric}"
        self.most = most
        self.found: list[Scored] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        """Keep the weights if they are among the best; of equal scores the earlier comes first."""
        score = (metrics or {}).get(self.metric)
        if score is None or any(one.step == state.global_step for one in self.found):
            return
        if len(self.found) < self.most or score > self.found[-1].score:
            self._keep([*self.found, Scored(score, state.global_step, self._copied())])

    def forget(self, until: int) -> None:
        """Drop weights up to the step `until`."""
        self.found = [one for one in self.found if one.step > until]

    def restore(self) -> None:
        """Give the student its best weights back."""
        if self.found:
            self.student.load_state_dict(self.found[0].weights)

    def average(self, near: float) -> list[Scored]:
        """Give the student the mean of the weights that score at most `near` below the best; returns the averaged ones.

        Weights along a training at a constant rate lie around the point that it tends to, and their mean is closer to
        it than any of them (Izmailov et al. 2018, arXiv:1803.05407; Wortsman et al. 2022, arXiv:2203.05482).
        """
        averaged = [one for one in self.found if one.score >= self.found[0].score - near]
        if len(averaged) > 1:
            self.student.load_state_dict(mean_weights([one.weights for one in averaged]))
        return averaged

    def write(self, folder: Path, step: int) -> None:
        """Add the best weights, except those of the checkpoint itself."""
        write_json(folder / BEST, [{"score": one.score, "step": one.step} for one in self.found])
        for one in self.found:
            if one.step != step:
                save_file(dict(one.weights), folder / BEST_WEIGHTS.format(step=one.step))

    def read(self, folder: Path) -> None:
        """Restore the best weights; the student already has those of the checkpoint."""
        if not (folder / BEST).is_file():
            return
        found: list[Scored] = []
        for entry in json.loads((folder / BEST).read_text(encoding="utf-8")):
            apart = folder / BEST_WEIGHTS.format(step=entry["step"])
            found.append(Scored(**entry, weights=load_file(apart) if apart.is_file() else self._copied()))
        self._keep(found)

    def _keep(self, found: list[Scored]) -> None:
        self.found = sorted(found, key=lambda one: (-one.score, one.step))[: self.most]

    def _copied(self) -> dict[str, Tensor]:
        return {name: value.detach().to("cpu", copy=True) for name, value in self.student.state_dict().items()}


def mean_weights(models: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor over `models` of one shape, in its own number format; of integers the first."""
    mean: dict[str, Tensor] = {}
    for name, first in models[0].items():
        mean[name] = first
        if first.is_floating_point():
            mean[name] = torch.stack([model[name].float() for model in models]).mean(0).to(first.dtype)
    return mean


class Checkpoints(TrainerCallback):
    """Saves every `minutes`, and when `request` asks to stop; then it ends the training."""

    def __init__(self, minutes: float, request: StopRequest) -> None:
        self.seconds = 60 * minutes
        self.request = request
        self.saved = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start counting; the request at the step of the checkpoint has been carried out."""
        self.saved = time.monotonic()
        control.should_evaluate = control.should_log = control.should_save = False
        saved = state.stateful_callbacks.get("TrainerControl", {}).get("args", {})
        control.should_training_stop = bool(saved.get("should_training_stop"))  # it had learnt by then

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint if one is due. All processes must ask in the same step."""
        due = self.request.signal is not None or time.monotonic() - self.saved >= self.seconds
        if args.world_size > 1:
            due = state.global_step % TOGETHER == 0 and self._agreed(due, args.device)
        control.should_save = control.should_save or due

    def on_save(self, *_: Any, **__: Any) -> None:
        """Go on, or end here with `Interrupted`."""
        self.saved = time.monotonic()
        if self.request.signal is not None:
            raise Interrupted(self.request.signal)

    def _agreed(self, due: bool, device: torch.device) -> bool:
        """Whether any process wants a checkpoint; one that was asked to stop decides for all."""
        wish = torch.tensor([int(due), self.request.signal or 0], device=device)
        torch.distributed.all_reduce(wish, torch.distributed.ReduceOp.MAX)
        asked, number = wish.tolist()
        self.request.signal = self.request.signal or number or None
        return bool(asked)


class Completion(TrainerCallback):
    """Calls `complete` when a checkpoint is written, and before it is pushed to a hub."""

    def __init__(self, complete: Callable[[], None]) -> None:
        self.complete = complete

    def on_push_begin(self, *_: Any, **__: Any) -> None:
        """In the process that pushes, which is then ahead of the others."""
        self.complete()

    def on_save(self, *_: Any, **__: Any) -> None:
        """In every process."""
        self.complete()


def save_model(model: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    """A plain model folder with the checksums of its files."""
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    write_sums(folder)


def load_weights(model: PreTrainedModel, folder: Path) -> None:
    """Load into `model` the weights that `save_pretrained` wrote to `folder`."""
    saved = type(model).from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    model.load_state_dict(saved.state_dict())


def load_renamed(model: nn.Module, folder: Path) -> None:
    """Load the weights of a checkpoint in `folder` into `model` if some are stored under other names than it has.

    transformers 5.0 to 5.5 write those of a BERT that was loaded from a folder under the names of TensorFlow
    (`LayerNorm.gamma`), and their `Trainer` passes over these names when it loads the checkpoint.
    """
    if not isinstance(model, PreTrainedModel):  # an adapter, which has a file of its own
        return
    stored: set[str] = set()
    for file in folder.glob("model*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            stored.update(weights.keys())
    if stored - model.state_dict().keys():
        load_weights(model, folder)


def newest_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint in `folder/checkpoints`.

    Damaged ones (with a warning) and incomplete ones are removed.
    """
    found = (folder / CHECKPOINTS).glob("checkpoint-*")
    for path in sorted(found, key=lambda path: int(path.name.partition("-")[2]), reverse=True):
        if not (path / SUMS).exists():  # written last: its save was interrupted
            shutil.rmtree(path)
        elif wrong := damage(path):
            warn(f"{wrong}: the training goes on from what is whole before it")
            shutil.rmtree(path)
        else:
            return str(path)
    return None


def discard_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a finished training."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
