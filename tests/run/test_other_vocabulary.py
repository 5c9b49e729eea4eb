"""Questions whose teacher has another vocabulary: it reads the windows of its student."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertForQuestionAnswering

from distiller.errors import ConfigError, Notice
from run.test_distil import distil
from run.test_recipes_on_tasks import task_of
from run.tiny import BAD, FILLER, GOOD, SPECIAL, Workshop, save, shape

WORDS = [*SPECIAL, *FILLER, *GOOD, *BAD, "it", "?"]


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A teacher, and the same one with its words under other numbers; a student, and one that reads letters."""
    root = tmp_path_factory.mktemp("readers")
    torch.manual_seed(0)
    model = BertForQuestionAnswering(shape(WORDS, layers=2, positions=64))
    save(root / "same", model, WORDS)
    order = [*range(len(SPECIAL)), *reversed(range(len(SPECIAL), len(WORDS)))]
    table = model.bert.embeddings.word_embeddings.weight
    table.data = table.data[order].clone()
    save(root / "other", model, [WORDS[number] for number in order])
    save(root / "student", BertForQuestionAnswering(shape(WORDS, layers=1, positions=64)), WORDS)
    letters = sorted({letter for word in WORDS for letter in word if word not in SPECIAL})
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    save(root / "letters", BertForQuestionAnswering(shape(pieces, layers=1, positions=64)), pieces)
    save(root / "speller", BertForQuestionAnswering(shape(pieces, layers=1, positions=24)), pieces)
    return {folder.name: str(folder) for folder in root.iterdir()}


def asked(folder: Path, **fields: Any) -> dict[str, Any]:
    return {"task": task_of("qa", folder) | {"max_length": 24}, **fields}


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-5), ("bf16", 2e-2)])
@pytest.mark.parametrize("cached", ["always", "never"])
def test_words_under_other_numbers_change_nothing(
    precision: str, apart: float, cached: str, readers: dict[str, str], shop: Workshop, tmp_path: Path
) -> None:
    training = {"max_steps": 6, "batch_size": 8, "log_every": 1, "threads": 1}
    training |= {"precision": precision, "cache_teacher": cached}
    found = []
    for name in ("same", "other"):
        (tmp_path / name).mkdir()
        fields = asked(tmp_path / name, student={"model": readers["student"]}, training=training, crossovers=1)
        record = distil(shop, tmp_path / name, teacher={"model": readers[name]}, objective={}, **fields)
        found.append([entry["loss"] for entry in record.seeds[0].history if "loss" in entry])
    assert len(found[0]) == 6
    assert found[0] == pytest.approx(found[1], rel=apart)


def test_pieces_of_words_learn_from_a_teacher_of_words(readers: dict[str, str], shop: Workshop, tmp_path: Path) -> None:
    swap = [{"name": "random", "options": {"ra_mode": "swap"}}]
    fields = asked(tmp_path, teacher={"model": readers["same"]}, student={"model": readers["letters"]})
    for augmentation in ([], swap):
        record = distil(shop, tmp_path / str(len(augmentation)), augmentation=augmentation, **fields)
        assert set(record.student.scores) == {"answer_f1", "exact_match"}


def test_it_is_said_where_a_teacher_cannot_read_a_window_whole(
    readers: dict[str, str], shop: Workshop, tmp_path: Path
) -> None:
    fields = asked(tmp_path, teacher={"model": readers["speller"]}, student={"model": readers["student"]})
    with pytest.warns(Notice, match=r"\d+ windows are longer in the teacher's tokens than it can read"):
        distil(shop, tmp_path, **fields, crossovers=0)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"objective": {"prediction": "mse"}}, "`mse` compares the score of every token"),
        ({"objective": {"intermediate": [{"loss": "attention_mse"}]}}, "`attention_mse` compares tokens"),
        ({"augmentation": ["mixup"]}, "compares outputs token by token"),
    ],
)
def test_what_needs_the_same_tokens_is_refused(
    fields: dict[str, Any], why: str, readers: dict[str, str], shop: Workshop, tmp_path: Path
) -> None:
    given = asked(tmp_path, teacher={"model": readers["other"]}, student={"model": readers["student"]}, **fields)
    with pytest.raises(ConfigError, match=why):
        distil(shop, tmp_path, **given)
