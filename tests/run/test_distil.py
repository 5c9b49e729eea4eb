"""`distil` from Python: which teacher is used, which students are allowed, and what is kept and shared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import distiller
from distiller.cli.recipes import texts
from distiller.config import Run, parse_run
from distiller.errors import ConfigError
from distiller.models.folders import weights_fingerprint
from distiller.models.load import load_model
from distiller.record import Record, load_record
from distiller.scoring import evaluate
from distiller.tasks.readers import read_table
from run.tiny import CRITIC, FAST, Workshop, repeatable

MI = {"loss": "mi_alpha", "critic": CRITIC}


def distil(shop: Workshop, folder: Path, **fields: Any) -> Record:
    return distiller.distil(parse_run(shop.run(folder, **fields)))


def made(cache: Path, kind: str) -> dict[str, int]:
    """What the cache holds of a kind: folder → when its content was written; its facts say when it was last used."""
    folders = [facts.parent for facts in (cache / kind).glob("*/facts.json")]
    return {
        folder.name: max(file.stat().st_mtime_ns for file in folder.iterdir() if file.name != "facts.json")
        for folder in folders
    }


def test_the_record_and_the_folder(shop: Workshop, tmp_path: Path) -> None:
    record = distil(shop, tmp_path)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "record.json",
        "development.safetensors",
        "distiller.sha256",
        "run.yaml",
        "seeds",
        "student",
    }
    assert load_record(out) == record
    assert distiller.load_run(out / "run.yaml") == record.run
    assert not list(out.rglob("checkpoint-*"))
    assert not list(out.rglob("*.part"))

    assert record.data.examples == {"train": 160, "dev": 60}
    assert record.data.labels == ["bad", "good"]
    assert record.teacher is not None
    assert record.distillation_ratio == pytest.approx(record.score / record.teacher.scores["accuracy"])
    assert record.student.parameters < record.teacher.parameters
    assert record.student.fingerprint == record.seeds[0].fingerprint
    assert record.seeds[0].steps == 5
    logged = [entry for entry in record.seeds[0].history if "loss" in entry]
    assert [entry["step"] for entry in logged] == [4, 5]  # every fourth, and with every checkpoint
    for entry in logged:  # beta1 = 1, gamma1 = 0.5, one term of weight 1
        assert entry["loss"] == pytest.approx(
            entry["loss/prediction"] + 0.5 * entry["loss/label"] + entry["loss/mse"], rel=1e-3
        )


def test_the_student_is_a_plain_transformers_model(shop: Workshop, tmp_path: Path) -> None:
    distil(shop, tmp_path)
    folder = tmp_path / "out" / "student"
    plain: Any = AutoModelForSequenceClassification.from_pretrained(folder)
    assert plain.config.id2label == {0: "bad", 1: "good"}
    assert plain.config.num_hidden_layers == 2
    batch = AutoTokenizer.from_pretrained(folder)(["the film was good", "dull"], padding=True, return_tensors="pt")
    ours = load_model(folder, kind="classification", labels=["bad", "good"])
    with torch.no_grad():
        torch.testing.assert_close(plain(**batch).logits, ours(**batch).logits)
    assert plain(**batch).logits.argmax(-1).tolist() == [1, 0]
    assert weights_fingerprint(plain) == load_record(tmp_path / "out").student.fingerprint


def test_a_teacher_is_fine_tuned_once_and_reused(shop: Workshop, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    tuning = FAST | {"epochs": 1}
    fields = {"teacher": {"model": shop.base, "training": tuning}, "cache": str(cache), "baseline": True}
    first = distil(shop, tmp_path / "one", **fields)
    teachers, baselines = made(cache, "teachers"), made(cache, "baselines")
    assert len(teachers) == len(baselines) == 1
    assert first.teacher is not None
    assert first.teacher.scores["accuracy"] > 0.9

    second = distil(shop, tmp_path / "two", **fields, objective={})
    assert made(cache, "teachers") == teachers
    assert made(cache, "baselines") == baselines
    assert (second.teacher, second.baseline.scores) == (first.teacher, first.baseline.scores)  # type: ignore[union-attr]

    distil(shop, tmp_path / "three", **fields | {"teacher": {"model": shop.base, "training": tuning, "seed": 1}})
    assert len(made(cache, "teachers")) == 2
    assert set(teachers) < set(made(cache, "teachers"))


def test_a_fine_tuned_teacher_is_used_as_it_is(shop: Workshop, tmp_path: Path) -> None:
    record = distil(shop, tmp_path, cache=str(tmp_path / "cache"))
    assert not made(tmp_path / "cache", "teachers")
    oracle: Any = AutoModelForSequenceClassification.from_pretrained(shop.tuned)
    assert record.teacher is not None
    assert record.teacher.fingerprint == weights_fingerprint(oracle)

    rows = read_table(shop.dev)
    batch = AutoTokenizer.from_pretrained(shop.tuned)(list(rows.texts("text")), padding=True, return_tensors="pt")
    with torch.no_grad():
        guesses = [oracle.config.id2label[i] for i in oracle(**batch).logits.argmax(-1).tolist()]
    right = [guess == label for guess, label in zip(guesses, rows.column("label"), strict=True)]
    assert record.teacher.scores["accuracy"] == pytest.approx(sum(right) / len(right))


def test_the_scores_of_a_ready_teacher_are_computed_once(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = {"cache": str(tmp_path / "cache")}
    first = distil(shop, tmp_path / "one", **cache)
    assert len(made(tmp_path / "cache", "teacher-scores")) == 1
    monkeypatch.setattr("distiller.training.shared_work.predict_logits", lambda *_, **__: pytest.fail("asked again"))
    second = distil(shop, tmp_path / "two", **cache)
    assert second.teacher == first.teacher


def test_a_teacher_with_its_labels_in_another_order_is_the_same_teacher(shop: Workshop, tmp_path: Path) -> None:
    one = distil(shop, tmp_path / "one")
    two = distil(shop, tmp_path / "two", teacher={"model": shop.swapped, "training": FAST})
    assert one.teacher is not None
    assert two.teacher is not None
    assert two.teacher.scores == one.teacher.scores
    assert two.seeds == one.seeds  # the same losses at every step, and the same weights


def test_always_fine_tunes_a_teacher_that_already_is(shop: Workshop, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    teacher = {"model": shop.tuned, "finetune": "always", "training": FAST | {"epochs": 1}}
    distil(shop, tmp_path, teacher=teacher, cache=str(cache))
    assert len(made(cache, "teachers")) == 1


@pytest.mark.parametrize(
    "objective",
    [
        {},
        *({"intermediate": [{"loss": loss}]} for loss in ("mse", "cos", "l2", "ce", "pkd")),
        {"intermediate": [MI]},
        {"intermediate": [{"loss": "mse", "mapping": {"name": "emd"}}]},
    ],
)
def test_a_student_of_another_tokenizer_learns_from_states_where_its_tokens_stand(
    objective: dict[str, Any], shop: Workshop, tmp_path: Path
) -> None:
    record = distil(shop, tmp_path, student={"model": shop.stranger}, objective=objective)
    assert set(record.seeds[0].scores) == {"accuracy", "f1_macro"}
    assert any(term["loss"] in str(record.seeds[0].history) for term in objective.get("intermediate", [])) or (
        not objective
    )
    student = AutoTokenizer.from_pretrained(tmp_path / "out" / "student")
    assert student.get_vocab() == AutoTokenizer.from_pretrained(shop.stranger).get_vocab()
    assert evaluate(str(tmp_path / "out")) == pytest.approx(record.student.scores)


def test_numbers_are_scored_in_float32_whatever_they_are_learnt_in(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bf16 texts that a model tells apart would have equal numbers, which a correlation of ranks rewards."""
    stars = {"task": {"train": shop.stars, "max_length": 16}, "teacher": {"model": shop.base, "training": FAST}}
    training = {**FAST, "epochs": 3, "threads": 1, "precision": "bf16"}
    record = distil(shop, tmp_path, **stars, training=training, baseline=True)
    assert record.teacher is not None
    assert evaluate(tmp_path / "out") == pytest.approx(record.student.scores, abs=1e-6)
    cache = shop.root / "cache"
    for kind, told in (("teachers", record.teacher), ("baselines", record.baseline)):
        tuned = max(cache.glob(f"{kind}/*/config.json"), key=lambda file: file.stat().st_mtime)
        said = evaluate(tuned.parent, run=tmp_path / "out" / "run.yaml")
        assert told is not None
        assert said == pytest.approx(told.scores, abs=1e-6)


@pytest.mark.parametrize("staged", [False, True])
def test_attention_of_another_tokenizer_cannot_be_compared(staged: bool, shop: Workshop, tmp_path: Path) -> None:
    objective = {"intermediate": [{"loss": "attention_mse"}]}
    fields: dict[str, Any] = {"objective": objective}
    if staged:
        fields = {"objective": {}, "stages": [{"name": "only", "objective": objective}]}
    with pytest.raises(ConfigError, match="different tokenizers"):
        distil(shop, tmp_path, student={"model": shop.stranger}, **fields)
    assert not (tmp_path / "out").exists()


def test_token_states_of_another_tokenizer_need_unmixed_texts(shop: Workshop, tmp_path: Path) -> None:
    fields = {"objective": {"intermediate": [{"loss": "mse"}]}, "augmentation": ["mixup"]}
    with pytest.raises(ConfigError, match="different tokenizers"):
        distil(shop, tmp_path, student={"model": shop.stranger}, **fields)


def test_the_stages_of_tinybert(shop: Workshop, tmp_path: Path) -> None:
    stages = yaml.safe_load(texts()["tinybert"])["stages"]
    for stage in stages:
        stage["training"]["epochs"] = 1
    swaps = {"name": "random", "options": {"ra_mode": "swap"}}  # in place of a masked language model's words
    record = distil(shop, tmp_path, stages=stages, student={"layers": 2}, augmentation=[swaps])
    assert record.seeds[0].steps == 10
    logged = [set(entry) for entry in record.seeds[0].history if "loss" in entry]
    assert {"loss/mse", "loss/attention_mse"} <= logged[0]
    assert "loss/prediction" not in logged[0]
    assert "loss/prediction" in logged[-1]
    assert {path.name for path in (tmp_path / "out/seeds/0").iterdir()} >= {"student", "result.json"}


def test_no_baseline_on_request(shop: Workshop, tmp_path: Path) -> None:
    record = distil(shop, tmp_path, cache=str(tmp_path / "cache"), baseline=False)
    assert record.baseline is None
    assert not (tmp_path / "cache" / "baselines").exists()


def test_a_wider_teacher_and_a_random_student(shop: Workshop, tmp_path: Path) -> None:
    student = {"config": {"hidden_size": 16, "intermediate_size": 32}, "layers": 3}
    terms = [{"loss": "mse"}, {"loss": "cos", "mapping": {"name": "emd"}, "projection": {"shared": True}}]
    record = distil(shop, tmp_path, student=student, objective={"intermediate": terms})
    saved = json.loads((tmp_path / "out" / "student" / "config.json").read_text(encoding="utf-8"))
    assert (saved["hidden_size"], saved["num_hidden_layers"]) == (16, 3)
    assert record.student.parameters < 0.4 * record.teacher.parameters  # type: ignore[union-attr]


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-4), ("bf16", 1e-2)])
def test_scores_are_the_same_with_and_without_stored_teacher_outputs(
    precision: str, apart: float, shop: Workshop, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    fields = {"cache": str(cache), "seeds": [0, 1]}
    training = FAST | {"epochs": 1, "log_every": 4, "threads": 1, "precision": precision}
    stored = distil(shop, tmp_path / "always", **fields, training=training)
    assert len(made(cache, "teacher-outputs")) == 1
    fresh = distil(shop, tmp_path / "never", **fields, training=training | {"cache_teacher": "never"})
    assert stored.cost.teacher_cache_megabytes > 0
    assert fresh.cost.teacher_cache_megabytes == 0
    for one, other in zip(stored.seeds, fresh.seeds, strict=True):
        assert one.scores == other.scores
        for seen, expected in zip(one.history, other.history, strict=True):
            assert seen == pytest.approx(expected, rel=apart, abs=1e-5)


def test_a_run_repeated_gives_the_same_record(shop: Workshop, tmp_path: Path) -> None:
    fields = {"seeds": [4, 7], "student": {"layers": 2, "dropout": 0.2}, "baseline": True}
    for name in ("one", "two"):
        distil(shop, tmp_path / name, **fields, cache=str(tmp_path / name / "cache"))
    one, two = (repeatable(tmp_path / name / "out") for name in ("one", "two"))
    assert one == two
    assert one["seeds"][0]["fingerprint"] != one["seeds"][1]["fingerprint"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_others_left_in_the_cache_changes_nothing(precision: str, shop: Workshop, tmp_path: Path) -> None:
    """The second time the teacher's answers to all rows are there when the first stage asks for a few of them."""
    training = FAST | {"threads": 1, "precision": precision}
    few = {"name": "states", "objective": {"intermediate": [{"loss": "mse"}]}, "training": {"max_steps": 2}}
    fields = {"stages": [few, {"name": "answers", "objective": {}}], "training": training, "seeds": [0, 1]}
    for name in ("one", "two"):
        distil(shop, tmp_path / name, **fields, cache=str(tmp_path / "cache"))
    assert len(made(tmp_path / "cache", "teacher-outputs")) == 2
    assert repeatable(tmp_path / "one" / "out") == repeatable(tmp_path / "two" / "out")


def test_a_run_written_in_python(shop: Workshop, tmp_path: Path) -> None:
    data = shop.run(tmp_path)
    record = distiller.distil(distiller.Run(**data))
    assert isinstance(record, distiller.Record)
    assert isinstance(record.run, Run)
    assert record.run.task.max_length == 16


def test_whoever_listens_hears_every_score_of_the_first_seed_over_all_stages(shop: Workshop, tmp_path: Path) -> None:
    heard: list[tuple[int, float]] = []
    stages = [{"name": name, "objective": {}, "training": {"evaluations": 2}} for name in ("one", "two")]
    wish = parse_run(shop.run(tmp_path, stages=stages, seeds=[0, 1]))
    record = distiller.distil(wish, on_evaluation=lambda step, score: heard.append((step, score)))
    steps, scores = zip(*heard, strict=True)
    assert list(steps) == sorted(steps)
    assert len(steps) == 4 == len(set(steps))
    found = [entry[f"eval_{record.metric}"] for entry in record.seeds[0].history if f"eval_{record.metric}" in entry]
    assert list(scores) == found


def test_what_a_listener_raises_ends_the_run_without_a_record(shop: Workshop, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(step: int, score: float) -> None:
        raise Enough

    with pytest.raises(Enough):
        distiller.distil(parse_run(shop.run(tmp_path)), on_evaluation=stop)
    assert not (tmp_path / "out" / "record.json").exists()


def test_both_baselines_of_a_cut_student(shop: Workshop, tmp_path: Path) -> None:
    """One starts from the fine-tuned teacher's layers, the other from those that it had before."""
    fields = {"teacher": {"model": shop.base, "training": FAST}, "cache": str(tmp_path / "cache"), "baseline": "both"}
    record = distil(shop, tmp_path, **fields)
    assert len(made(tmp_path / "cache", "baselines")) == 2
    assert list(record.models) == [
        "teacher",
        "student, fine-tuned from pretrained layers",
        "student, fine-tuned from the teacher's layers",
        "student, distilled",
    ]
    starts = {label: facts.start for label, facts in record.models.items()}
    assert starts["student, fine-tuned from pretrained layers"] == "layers of pretrained weights"
    assert starts["student, fine-tuned from the teacher's layers"] == starts["student, distilled"]
    assert load_record(tmp_path / "out") == record


@pytest.mark.parametrize("fields", [{"teacher": {"model": "tuned"}}, {"student": {"model": "base"}}])
def test_two_baselines_that_would_be_one_are_refused(shop: Workshop, tmp_path: Path, fields: dict[str, Any]) -> None:
    fields = {role: {"model": getattr(shop, one["model"])} for role, one in fields.items()}
    with pytest.raises(ConfigError, match="baseline is `both`, and there is but one"):
        distil(shop, tmp_path, baseline="both", **fields)


def test_of_a_part_of_an_epoch_only_what_the_steps_read_is_cached(shop: Workshop, tmp_path: Path) -> None:
    """The loader takes a batch more than there are steps, which nobody reads."""
    cache = tmp_path / "cache"
    training = FAST | {"max_steps": 2, "threads": 1}
    record = distil(shop, tmp_path, cache=str(cache), training=training, seeds=[0, 1])
    assert record.student.steps == [2, 2]
    (index,) = cache.glob("teacher-outputs/*/index.npy")
    assert 64 <= np.load(index).shape[1] < 160


def test_a_student_that_was_rounded_has_the_scores_of_its_folder(shop: Workshop, tmp_path: Path) -> None:
    training = {**FAST, "epochs": 2, "threads": 1, "log_every": 4, "quantization_aware": True}
    record = distil(shop, tmp_path, training=training)
    assert evaluate(tmp_path / "out")["accuracy"] == pytest.approx(record.student.scores["accuracy"], abs=1e-9)
    assert "eight_bits_accuracy" in record.seeds[0].history[-1]
    with pytest.raises(ConfigError, match="set one"):
        parse_run(shop.run(tmp_path, training={**training, "compile": True}))
    with pytest.raises(ConfigError, match="before `quantization_aware` begins"):
        parse_run(shop.run(tmp_path, training={**training, "patience": 1}))
