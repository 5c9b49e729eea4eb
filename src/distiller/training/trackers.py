"""Reports a training to TensorBoard, MLflow, Weights & Biases or Trackio, through `transformers`.

Every training of a run (teacher, baseline, each seed and stage) is a run of its own there, named after its title.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from distiller.errors import MissingPackageError

EXTRAS = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb", "trackio": "trackio"}
"""Tracker, which is also the name of its package, to the extra that installs it."""


def check_trackers(names: Sequence[str]) -> None:
    """Raise `MissingPackageError` for a tracker that is not installed, before anything is trained."""
    for name in names:
        if find_spec(name) is None:
            raise MissingPackageError(
                f"training.report_to={name} needs the package `{name}`",
                hint=f'pip install "distiller-nlp[{EXTRAS[name]}]"',
            )


def tracker_callbacks(names: Sequence[str], folder: Path) -> list[TrainerCallback]:
    """One callback for each tracker; TensorBoard writes below `folder`, the others where their own settings say."""
    check_trackers(names)
    from transformers.integrations import integration_utils

    found: list[TrainerCallback] = []
    for name in names:
        if name == "tensorboard":
            from torch.utils.tensorboard import SummaryWriter

            found.append(integration_utils.TensorBoardCallback(SummaryWriter(str(folder / "tensorboard"))))
        elif name == "mlflow":
            found.append(_mlflow())
        elif name == "wandb":
            found.append(_weights_and_biases())
        else:
            found.append(integration_utils.TrackioCallback())
    return found


def _mlflow() -> TrainerCallback:
    """MLflow with `loss.mse` for `loss/mse`: where it stores files, `loss` is one and cannot be a folder too."""
    from transformers.integrations.integration_utils import MLflowCallback

    class Dotted(MLflowCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any, model: Any = None, **named: Any) -> None:
            dotted = {name.replace("/", "."): value for name, value in logs.items()}
            super().on_log(args, state, control, dotted, model=model, **named)

    return Dotted()


def _weights_and_biases() -> TrainerCallback:
    """Weights & Biases, whose callback leaves its run open for the next training of this process to write into."""
    from transformers.integrations.integration_utils import WandbCallback

    class OneRun(WandbCallback):
        def on_train_end(self, *arguments: Any, **named: Any) -> None:
            super().on_train_end(*arguments, **named)
            if self._wandb is not None and self._wandb.run is not None:
                self._wandb.finish()

    return OneRun()
