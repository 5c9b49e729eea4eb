"""Small files, and tokenizers that know a few words."""

import csv
from pathlib import Path
from typing import Any

import pytest
from transformers import BertTokenizerFast

from distiller.config import Task
from distiller.errors import DataError, DistillerError
from distiller.tasks import load_task


def table(path: Path, header: str, *rows: tuple[Any, ...]) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return str(path)


def refused(task: Task, kind: type[DistillerError] = DataError) -> DistillerError:
    with pytest.raises(kind) as caught:
        load_task(task)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2
    return caught.value


def wordpieces(folder: Path, pieces: list[str], **options: Any) -> BertTokenizerFast:
    """A tokenizer of these pieces behind [PAD], [UNK], [CLS], [SEP] and [MASK]."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*special, *pieces]) + "\n", encoding="utf-8")
    return BertTokenizerFast.from_pretrained(folder, **options)
