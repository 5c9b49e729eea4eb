"""What a training shows and measures while it runs: progress on stderr, and the time without evaluation."""

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

from distiller.models.eight_bits import EightBits
from distiller.training.checkpoints import BestWeights

OnEvaluation = Callable[[int, float], None]
"""Hears of (optimisation step, development score)."""


class Stopwatch(TrainerCallback):
    """Seconds spent in optimisation steps and data loading; evaluation and saving do not count."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.steps = 0
        self._mark = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start counting."""
        self._mark = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Count everything since the last step or pause."""
        now = time.perf_counter()
        self.seconds += now - self._mark
        self.steps += 1
        self._mark = now

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        """Leave out the evaluation that ends here."""
        self._mark = time.perf_counter()

    def on_save(self, *_: Any, **__: Any) -> None:
        """Leave out the saving that ends here."""
        self._mark = time.perf_counter()


class LastStepCounts(TrainerCallback):
    """Evaluate after the last step too, wherever the evaluation schedule ends; log before every evaluation."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for both."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = True
        control.should_log = control.should_log or control.should_evaluate


class RoundsAtTheEnd(TrainerCallback):
    """Lets the model compute in 8 bits from the step where the rate falls; only weights after it can be the best."""

    def __init__(self, eight_bits: EightBits, falls_from: Callable[[], int], best: BestWeights) -> None:
        self.eight_bits = eight_bits
        self.falls_from = falls_from
        self.best = best

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start rounding when it is time. A resumed training begins where it stopped."""
        start = self.falls_from()
        if state.global_step >= start:
            self.eight_bits.start()
            self.best.forget(start)


class Reporter(TrainerCallback):
    """Passes every development score to `on_evaluation`."""

    def __init__(self, metric: str, on_evaluation: OnEvaluation) -> None:
        self.metric = f"eval_{metric}"
        self.tell = on_evaluation

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        """Pass on the score and the step."""
        if metrics and self.metric in metrics:
            self.tell(state.global_step, metrics[self.metric])


class ProgressBar(TrainerCallback):
    """A rich progress bar on stderr: steps, loss, and the best development score so far.

    Where stderr is not a terminal (a log file, a cluster job) a line now and then instead: often at first, later every
    minute.
    """

    def __init__(self, title: str, metric: str, console: Console) -> None:
        self.title = title
        self.lines = not console.is_terminal
        self.begun = self.spoken = time.monotonic()
        self.first = 0
        self.metric = f"eval_{metric}"
        self.best: float | None = None
        self.loss: float | None = None
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[facts]}"),
            console=console,
            transient=True,
        )
        self.task: TaskID | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show the bar."""
        self.begun = self.spoken = time.monotonic()
        self.first = state.global_step
        if self.lines:
            self.bar.console.print(f"{self.title}: at most {state.max_steps:,} steps", highlight=False)
            return
        self.task = self.bar.add_task(self.title, total=state.max_steps, completed=state.global_step, facts="")
        self.bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar."""
        if self.task is not None:
            self.bar.update(self.task, completed=state.global_step)
        if self.lines:
            self._speak(state)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Show the latest loss and the best score."""
        self.loss = (logs or {}).get("loss", self.loss)
        score = (logs or {}).get(self.metric)
        if score is not None:
            self.best = score if self.best is None else max(self.best, score)
        if self.task is not None:
            self.bar.update(self.task, facts=" · ".join(self._facts()))

    def _facts(self) -> list[str]:
        facts = [f"loss {self.loss:.3f}"] if self.loss is not None else []
        if self.best is not None:
            facts.append(f"best {self.metric.removeprefix('eval_')} {self.best:.3f}")
        return facts

    def _speak(self, state: Any) -> None:
        """Print a line when a tenth of the time has passed since the last one, at least 10 and at most 60 seconds."""
        now = time.monotonic()
        if now - self.spoken < min(60.0, max(10.0, (now - self.begun) / 10)):
            return
        self.spoken = now
        rate = (state.global_step - self.first) / max(now - self.begun, 1e-9)
        left = (state.max_steps - state.global_step) / max(rate, 1e-9)
        steps = f"{state.global_step:,} of at most {state.max_steps:,} steps, {left / 60:.0f} min left at most"
        self.bar.console.print(f"{self.title}: {' · '.join([steps, *self._facts()])}", highlight=False, soft_wrap=True)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Remove the bar and leave one line."""
        self.close()
        best = f", best {self.metric.removeprefix('eval_')} {self.best:.4f}" if self.best is not None else ""
        self.bar.console.print(f"[green]✓[/] {self.title}{best}", highlight=False)

    def close(self) -> None:
        """Stop drawing; safe to call twice."""
        self.bar.stop()
