"""The losses of a training since its last log line: kept on the device, summed on the host, refused if not finite."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from distiller.errors import RunError

TOTAL = "total"
"""The sum of all terms among their names; no term is called so."""
MOST_NOTED = 512
"""Micro-batches whose losses wait on the device."""


class RunningLosses:
    """Sums of every component over optimisation steps; each micro-batch adds its share of its step's loss."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.steps = 0
        self._noted: list[tuple[int, Mapping[str, Tensor]]] = []
        self._rows: dict[int, list[Tensor]] = {}
        """Which examples met in a step, on the device."""

    def note(self, step: int, components: Mapping[str, Tensor], rows: Tensor | None, *, ends: bool) -> None:
        """Keep the losses of a micro-batch of `step` (from 1), whose training rows are `rows`, on the device.

        They are copied to the host together, now and then. `ends`: whether it is the last micro-batch of the step.
        """
        self._noted.append((step, components))
        if rows is not None:
            self._rows.setdefault(step, []).append(rows)
        self.steps += ends
        if len(self._noted) >= MOST_NOTED:
            self.settle()

    def settle(self) -> None:
        """Add what was recorded to the sums. Raises `RunError` with the first step and term that is not a number."""
        noted, self._noted = self._noted, []
        if not noted:
            return
        listed = torch.stack([value for _, components in noted for value in components.values()]).tolist()
        position = 0
        for step, components in noted:
            values = dict(zip(components, listed[position:], strict=False))
            position += len(components)
            if not all(map(math.isfinite, values.values())):
                self._refuse(step, values)
            for name, value in values.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self._rows = {step: rows for step, rows in self._rows.items() if step >= noted[-1][0]}

    def take(self, whole: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The settled mean of every component over the steps, then start all of them anew.

        `whole` adds up the processes: each has its share of what the totals of a step count.
        """
        values = whole(torch.tensor([*self.sums.values()], dtype=torch.float32)).tolist()
        means = {name: value / self.steps for name, value in zip(self.sums, values, strict=True)}
        self.sums, self.steps = {}, 0
        return means

    def state(self) -> dict[str, Any]:
        """What a checkpoint between two log lines keeps, settled."""
        self.settle()
        return {"sums": self.sums, "steps": self.steps}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.sums, self.steps = state["sums"], state["steps"]

    def _refuse(self, step: int, values: Mapping[str, float]) -> NoReturn:
        terms = [name for name in values if name != TOTAL]
        broken = [name for name in terms if not math.isfinite(values[name])]
        if len(broken) == len(terms) > 1 and step > 1:  # then the weights are not numbers either
            what, step = "the gradient", step - 1
        else:
            what = f"loss/{broken[0]}" if broken else "loss"
        rows = [row for ids in self._rows.get(step, []) for row in ids.tolist()]
        among = f", training rows {shortened(rows)}" if rows else ""
        raise RunError(
            f"{what} is not a number at step {step}{among}",
            hint="lower training.learning_rate, set training.max_grad_norm=1, or training.precision=fp32",
        )


def shortened(rows: Sequence[int], most: int = 8) -> str:
    """Row numbers, counted from 1, in words."""
    first = ", ".join(str(row + 1) for row in rows[:most])
    return first if len(rows) <= most else f"{first} and {len(rows) - most} more"
