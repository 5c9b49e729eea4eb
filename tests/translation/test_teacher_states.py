"""The teacher's kept states: what is learnt from them is what is learnt from the teacher itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, TrainingArguments

from distiller.cache.folders import FolderCache
from distiller.cache.teacher_outputs import INDEX, TeacherCache
from distiller.config import parse, parse_run
from distiller.config.translation import Objective, TranslationRun
from distiller.errors import ConfigError
from distiller.models.encoder_decoder import Seq2SeqReader
from distiller.run import distil
from distiller.run.translation import prepare
from distiller.translation.batches import BatchStream, Examples, collate
from distiller.translation.beginning import begin
from distiller.translation.teacher_states import teacher_states
from distiller.translation.tokenizer import END
from distiller.translation.trainer import TranslationTrainer
from translation.tiny import model, tiny_run

V = 20
WORDS = {"gamma1": 0.5, "beta1": 1.0, "prediction": {"name": "kl", "options": {"temperature": 2.0}}}


def examples(*, seed: int = 0) -> Examples:
    rng = torch.Generator().manual_seed(seed)

    def text() -> list[list[int]]:
        lengths = torch.randint(1, 9, (50,), generator=rng).tolist()
        return [[*torch.randint(4, V - 1, (length,), generator=rng).tolist(), END] for length in lengths]

    return Examples.of(text(), text(), gold=30)


def teacher() -> PreTrainedModel:
    return model(V, seed=9, encoder_layers=2, width=16)


def run(training: dict[str, Any] | None = None, **fields: Any) -> TranslationRun:
    wish = {
        "task": {"kind": "translation", "train": {"source": "text.tsv"}},
        "objective": WORDS,
        "training": {"batch_tokens": 60},
    }
    return parse_run(wish | ({"training": training} if training else {}) | fields)


def test_every_batch_finds_what_the_teacher_says_of_it(tmp_path: Path) -> None:
    text, frozen = examples(), teacher().eval()
    folder, why_not = teacher_states(
        FolderCache(tmp_path), frozen, text, run({"precision": "fp32", "batch_tokens": 60})
    )
    assert folder is not None
    assert why_not is None
    kept, listen = TeacherCache(folder), Seq2SeqReader(frozen, hidden=False)
    stream = BatchStream(text, batch_tokens=40, seed=3, gold_ratio=0.4, epochs=2)
    for index in range(len(stream)):
        batch = collate([stream[index]])
        with torch.no_grad():
            expected = listen(batch).logits
        valid = batch["output_mask"].bool()
        found = kept.read(batch["example_ids"], batch["output_mask"]).logits
        torch.testing.assert_close(found[valid], expected[valid], rtol=1e-4, atol=1e-5)
        assert not found[~valid].any()


def test_it_is_made_once_for_each_teacher_and_text(tmp_path: Path) -> None:
    store = FolderCache(tmp_path)
    first = teacher_states(store, teacher(), examples(), run())
    assert teacher_states(store, teacher(), examples(), run({"batch_tokens": 30, "epochs": 3})) == first
    other = model(V, seed=8, encoder_layers=2, width=16)
    assert teacher_states(store, other, examples(), run()) != first
    assert teacher_states(store, teacher(), examples(seed=1), run()) != first


@pytest.mark.parametrize(
    ("training", "objective", "reason"),
    [
        ({"cache_teacher": "never"}, {}, None),
        ({}, {"beta1": 0.0}, None),
        ({"max_steps": 2, "batch_tokens": 60}, {}, None),
        ({}, {"cosine": 1.0}, "hidden layers are compared"),
        ({}, {"intermediate": [{"loss": "mse"}]}, "hidden layers are compared"),
        ({"source_dropout": 0.1}, {}, "other source tokens"),
        ({"cache_gb": 1e-6}, {}, "do not fit"),
    ],
)
def test_where_none_is_kept_it_says_why(
    tmp_path: Path, training: dict[str, Any], objective: dict[str, Any], reason: str | None
) -> None:
    folder, why_not = teacher_states(
        FolderCache(tmp_path), teacher(), examples(), run(training, objective=WORDS | objective)
    )
    assert folder is None
    assert not list(tmp_path.iterdir())
    assert why_not is None if reason is None else reason in str(why_not)


def test_always_means_always(tmp_path: Path) -> None:
    wish = run({"cache_teacher": "always", "cache_gb": 1e-6, "max_steps": 1, "batch_tokens": 60})
    assert teacher_states(FolderCache(tmp_path), teacher(), examples(), wish)[0]


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-3), ("bf16", 0.1)])
def test_a_run_learns_the_same_with_and_without(tmp_path: Path, precision: str, apart: float) -> None:
    def outcome(cache_teacher: str) -> tuple[float, list[float]]:
        wish = tiny_run(tmp_path, objective=WORDS, baseline=False, efficiency=False, sequence={"gold_ratio": 0.5})
        training = wish.training.model_copy(
            update={"cache_teacher": cache_teacher, "log_every": 1, "precision": precision}
        )
        output = str(tmp_path / cache_teacher)
        record = distil(wish.model_copy(update={"training": training, "output": output}))
        losses = [entry["loss/prediction"] for entry in record.seeds[0].history if "loss/prediction" in entry]
        return record.cost.teacher_cache_megabytes, losses

    without, with_it = outcome("never"), outcome("auto")
    assert without[0] == 0 < with_it[0]
    assert len(without[1]) > 20
    assert with_it[1] == pytest.approx(without[1], rel=apart)


def test_hidden_layers_are_not_in_it(tmp_path: Path) -> None:
    folder, _ = teacher_states(FolderCache(tmp_path), teacher(), examples(), run())
    assert folder is not None
    student, wish = (
        model(V),
        parse(Objective, WORDS | {"intermediate": [{"loss": "mse"}]}, where="objective"),
    )
    with pytest.raises(ConfigError, match="compares hidden layers, which the cache has not"):
        TranslationTrainer(
            student,
            objective=wish,
            teacher=teacher(),
            teacher_cache=TeacherCache(folder),
            score=lambda _: {},
            args=TrainingArguments(output_dir=str(tmp_path / "out")),
        )


def test_pairs_that_are_never_drawn_are_not_asked_about(tmp_path: Path) -> None:
    """Pseudo-labels alone: the gold pairs are neither learnt from nor kept, and do not count as read."""
    fields: dict[str, Any] = {"baseline": False, "efficiency": False}
    wish = tiny_run(tmp_path, objective=WORDS, sequence={"gold_ratio": 0.0}, **fields)
    made = prepare(begin(wish), None)
    assert made.teacher_cache is not None
    kept = TeacherCache(made.teacher_cache)
    assert made.training_data.examples.gold == 0
    assert len(made.training_data.examples) == len(kept) == made.pseudo > 0


@pytest.mark.parametrize(("batches", "gold_ratio"), [(3, 0.5), (40, 0.5), (2, 1.0)])
def test_a_few_steps_ask_about_what_they_read(tmp_path: Path, batches: int, gold_ratio: float) -> None:
    text, frozen = examples(), teacher()
    stream = BatchStream(text, batch_tokens=60, seed=5, gold_ratio=gold_ratio, batches=batches)
    drawn = {feature["id"] for index in range(len(stream)) for feature in stream[index]}
    assert stream.rows.tolist() == sorted(drawn)
    folder, _ = teacher_states(FolderCache(tmp_path), frozen, text, run(), read=stream.rows)
    assert folder is not None
    assert sorted(np.load(folder / INDEX)[0].tolist()) == sorted(drawn)
    kept = TeacherCache(folder)
    for index in range(len(stream)):
        batch = collate([stream[index]])
        assert kept.read(batch["example_ids"], batch["output_mask"]).logits.any()


def test_examples_of_a_mixture_are_counted_as_often_as_they_are_drawn() -> None:
    text = examples()
    stream = BatchStream(text, batch_tokens=60, seed=0, gold_ratio=0.5)
    assert len(text) == 50
    assert stream.examples_per_batch * stream.per_epoch == pytest.approx(30)  # the larger side
