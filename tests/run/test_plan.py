"""What is said of a run before anything is trained."""

from pathlib import Path
from typing import Any

import pytest

from distiller.config import parse_run
from distiller.errors import ConfigError, Notice
from distiller.run.plan import Blueprint, blueprint
from run.tiny import Workshop, reviews, write


def planned(shop: Workshop, folder: Path, **fields: Any) -> Blueprint:
    return blueprint(parse_run(shop.run(folder, **fields)))


def test_a_head_that_does_not_fit_is_never_lost_without_a_word(shop: Workshop, tmp_path: Path) -> None:
    """`shop.tuned` has the classes bad and good; labels are numbers here, and then one more class."""
    numbered = [row | {"label": str(int(row["label"] == "good"))} for row in reviews(40, seed=3)]
    write(tmp_path / "numbered.csv", numbered)
    task = {"train": str(tmp_path / "numbered.csv"), "max_length": 16}
    with pytest.warns(
        Notice, match=r"thrown away .*`bad`, `good`.*`0`, `1`; task.labels=\[bad, good\] keeps it"
    ) as said:
        planned(shop, tmp_path, task=task)
    assert said[0].filename == __file__  # never a line of our own source
    refused = {"model": shop.tuned, "finetune": "never"}
    with pytest.raises(ConfigError, match=r"no head for this task.*its classes are `bad`, `good`") as error:
        planned(shop, tmp_path, task=task, teacher=refused)
    assert "task.labels=[bad, good]" in (error.value.hint or "")

    kept = planned(shop, tmp_path, task={**task, "labels": ["bad", "good"]}, teacher=refused)
    train = kept.data.splits["train"]
    assert train.labels == tuple(int(numbered[row]["label"]) for row in train.ids)

    write(tmp_path / "three.csv", [*reviews(40, seed=3), {"text": "the plot", "label": "so-so"}])
    with pytest.warns(Notice, match="its classes are `bad`, `good`, those of the task `bad`, `good`, `so-so`"):
        planned(shop, tmp_path, task={"train": str(tmp_path / "three.csv"), "max_length": 16})
