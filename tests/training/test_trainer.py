"""`DistillationTrainer`: what it logs, trains, saves and never touches."""

import copy
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi
from safetensors.torch import load_file, save_file
from torch.profiler import ProfilerActivity, profile
from transformers import (
    AutoModelForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

from distiller import config
from distiller.errors import ConfigError, RunError
from distiller.files import refuse_damage, write_sums
from distiller.training.defaults import filled_in
from distiller.training.objective_state import PARTS
from distiller.training.script_checks import check_parallelism
from distiller.training.trainer import DistillationTrainer
from training.tiny import (
    DECOMPOSABLE,
    Eq1,
    Examples,
    Gradients,
    arguments,
    collate,
    pad,
    student,
    teacher,
    term,
    trainer,
    weights_of,
)

EVERYTHING = config.Objective(
    gamma1=0.5,
    beta2=0.8,
    gamma2=0.3,
    intermediate=[
        term("mse"),
        term("attention_mse"),
        term("mi_alpha", weight=0.1),
        term("cos", "emd"),
        term("mse", "last"),
    ],
)


def test_every_term_that_is_asked_for_is_in_the_log_of_every_step(tmp_path: Path) -> None:
    made = trainer(tmp_path, EVERYTHING, data=Examples(32, augmented=True), max_steps=3)
    made.train()
    lines = [entry for entry in made.state.log_history if "loss" in entry]
    names = ["prediction", "label", "mse_1", "attention_mse", "mi_alpha", "cos", "mse_2"]
    weights = dict(zip(names, [1, 0.5, 1, 1, 0.1, 1, 1], strict=True))
    weights |= {f"augmented_{name}": weight for name, weight in weights.items()}
    weights |= {"augmented_prediction": 0.8, "augmented_label": 0.3}
    assert len(lines) == 3
    for line in lines:
        assert {name for name in line if name.startswith("loss/")} == {f"loss/{name}" for name in weights}
        total = sum(weight * line[f"loss/{name}"] for name, weight in weights.items())
        assert line["loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("augmented", [True, False])
def test_without_an_objective_it_takes_the_default_of_a_run(labelled: bool, augmented: bool, tmp_path: Path) -> None:
    rows = Examples(8, augmented=augmented)
    data = [{name: cell for name, cell in rows[i].items() if labelled or name != "labels"} for i in range(8)]
    made = trainer(tmp_path, None, data=data, max_steps=1)
    assert made.wish == filled_in(
        config.Objective(), "classification", ["swap"] if augmented else [], labelled=labelled
    )
    if labelled:
        made.train()
        names = {name for entry in made.state.log_history for name in entry}
        assert {"loss/prediction", "loss/label", "loss/mse"} <= names


def test_what_an_objective_leaves_open_means_what_it_means_in_a_run(tmp_path: Path) -> None:
    for wish in ({}, {"gamma1": 0.3}, {"intermediate": []}, {"defaults": "paper"}, {"beta1": 0, "gamma1": 1}):
        made = DistillationTrainer(
            student(), arguments(tmp_path), collate, Examples(8), teacher=teacher(), objective=wish
        )
        assert made.wish == filled_in(config.Objective(**wish), "classification", [])
        terms = made.wish.terms
        assert len(made.distillation.objective.terms) == len(terms)


def test_a_weighted_view_or_label_that_is_absent_is_refused(tmp_path: Path) -> None:
    for weights in ({"beta2": 1}, {"gamma2": 1}):
        with pytest.raises(ConfigError, match="augmented view, and the examples have none"):
            trainer(tmp_path, weights).train()
    without = [{k: v for k, v in Examples(8)[i].items() if k != "labels"} for i in range(8)]

    def unlabelled(features: list[Any]) -> dict[str, Any]:
        made = pad([feature | {"labels": 0} for feature in features])
        del made["labels"]
        return made

    made = trainer(tmp_path, {"gamma1": 1}, data=without)
    made.data_collator = unlabelled
    with pytest.raises(ConfigError, match="no label"):
        made.train()
    made = trainer(tmp_path, None, data=without)
    made.data_collator = unlabelled
    assert made.train().global_step == 2


def test_intermediate_terms_read_the_augmented_view_whatever_its_other_weights(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"intermediate": [term("mse")]}, data=Examples(8, augmented=True), max_steps=1)
    made.train()
    assert "loss/augmented_mse" in made.state.log_history[0]


def test_no_teacher_where_one_is_needed_is_refused(tmp_path: Path) -> None:
    common = {"args": arguments(tmp_path), "train_dataset": Examples(8), "data_collator": collate}
    with pytest.raises(ConfigError, match="there is none"):
        DistillationTrainer(student(), objective={}, **common)
    DistillationTrainer(student(), objective={"beta1": 0, "gamma1": 1}, **common).train()


def test_mutual_information_is_refused_where_it_would_be_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least three examples"):
        trainer(tmp_path, {"intermediate": [term("mi_alpha")]}, per_device_train_batch_size=2)


class AfterEpochs(TrainerCallback):
    """Puts the whole trained module into train mode and back, and looks at the teacher after each epoch."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.before = weights_of(model)
        self.epochs = 0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        model.train()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.epochs += 1
        assert not any(module.training for module in self.model.modules())
        assert all(p.grad is None and not p.requires_grad for p in self.model.parameters())
        torch.testing.assert_close(weights_of(self.model), self.before, rtol=0, atol=0)


def test_the_teacher_never_trains(tmp_path: Path) -> None:
    large = teacher(dropout=0.1).train()
    watch = AfterEpochs(large)
    made = trainer(
        tmp_path, EVERYTHING, large=large, data=Examples(16, augmented=True), callbacks=[watch],
        max_steps=-1, num_train_epochs=2, learning_rate=1e-2,
    )  # fmt: skip
    made.distillation.train()
    made.train()
    assert watch.epochs == 2
    assert all("teacher" not in name.split(".")[0] for name, _ in made.distillation.named_parameters())


def test_parameter_groups(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"intermediate": [term("mse"), term("mi_alpha")]}, weight_decay=0.1, learning_rate=1e-3)
    made.head_learning_rate = 5e-3
    optimizer = made.create_optimizer()
    names = {parameter: name for name, parameter in made.distillation.named_parameters()}
    found = {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert set(found) == set(names.values())
    for name, (rate, decay) in found.items():
        assert rate == (5e-3 if name.startswith("objective.") else 1e-3), name
        plain = name.endswith("bias") or "LayerNorm" in name or ".norm" in name
        assert decay == (0.0 if plain else 0.1), name
    assert found["objective.terms.0.heads.1.weight"] == (5e-3, 0.1)
    assert found["objective.terms.0.heads.1.bias"] == (5e-3, 0.0)
    assert found["student.bert.encoder.layer.0.output.LayerNorm.weight"] == (1e-3, 0.0)
    assert found["objective.terms.1.heads.all.teacher.encoder.layers.0.norm1.weight"] == (5e-3, 0.0)
    assert found["objective.terms.1.heads.all.teacher.encoder.layers.0.self_attn.in_proj_bias"] == (5e-3, 0.0)


def test_clipping_covers_projections_and_critics(tmp_path: Path) -> None:
    seen = Gradients()
    wish = {"intermediate": [term("mse"), term("mi_alpha")]}
    trainer(tmp_path, wish, max_steps=1, max_grad_norm=1e-3, callbacks=[seen]).train()
    norm = torch.stack([gradient.norm() for gradient in seen.first.values()]).norm()
    assert norm == pytest.approx(1e-3, rel=1e-2)


def test_the_saved_student_is_a_plain_model(tmp_path: Path) -> None:
    made = trainer(tmp_path / "run", EVERYTHING, data=Examples(16, augmented=True))
    made.train()
    made.save_model(str(tmp_path / "saved"))
    loaded, facts = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(facts.values())
    torch.testing.assert_close(weights_of(loaded), weights_of(made.student), rtol=0, atol=0)
    assert (tmp_path / "saved" / PARTS).is_file()
    assert not list((tmp_path / "saved").glob("*.bin"))


def test_a_plain_script_needs_three_lines(tmp_path: Path) -> None:
    """No `example_ids`, no `lengths`, no attention mask, the collator of `transformers`."""
    rows = [{"input_ids": [5 + i, 6, 7, 8], "label": i % 2} for i in range(12)]
    made = DistillationTrainer(
        student(),
        teacher=teacher(),
        objective={"gamma1": 0.5, "intermediate": [{"loss": "mse"}]},
        args=arguments(tmp_path / "run", max_steps=-1, num_train_epochs=1, eval_strategy="epoch"),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=default_data_collator,
        compute_metrics=lambda prediction: {"size": len(prediction.label_ids)},
    )
    made.train()
    assert made.evaluate()["eval_size"] == 12
    made.save_model(str(tmp_path / "saved"))
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(weights_of(loaded), weights_of(made.student), rtol=0, atol=0)


def first_gradients(folder: Path, objective: config.Objective, **given: Any) -> dict[str, torch.Tensor]:
    seen = Gradients()
    data = Examples(32, augmented=True)
    trainer(folder, objective, data=data, callbacks=[seen], max_steps=1, **given).train()
    return seen.first


@pytest.mark.parametrize("mapping", ["skip", "last"])
def test_accumulation_does_not_change_the_gradient(tmp_path: Path, mapping: str) -> None:
    wish = config.Objective(
        gamma1=0.5, beta2=1, gamma2=0.5, prediction="kl", intermediate=[term(loss, mapping) for loss in DECOMPOSABLE]
    )
    whole = first_gradients(tmp_path, wish, per_device_train_batch_size=32)
    parts = first_gradients(tmp_path, wish, per_device_train_batch_size=8, gradient_accumulation_steps=4)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
    examples = collate([Examples(32, augmented=True)[i] for i in range(32)])
    eq1 = Eq1(wish, student(), teacher())
    eq1.parts.load_state_dict(trainer(tmp_path, wish).distillation.objective.state_dict())
    torch.testing.assert_close(whole, eq1.gradients(examples), rtol=1e-4, atol=1e-5)


def test_accumulation_does_not_change_the_logged_losses(tmp_path: Path) -> None:
    wish = {"gamma1": 0.5, "intermediate": [term("mse")]}
    lines = []
    for size, micro_batches in ((32, 1), (8, 4)):
        made = trainer(
            tmp_path, wish, max_steps=1, per_device_train_batch_size=size, gradient_accumulation_steps=micro_batches
        )
        made.train()
        lines.append({name: value for name, value in made.state.log_history[0].items() if name.startswith("loss")})
    assert lines[0] == pytest.approx(lines[1], rel=1e-4)


MASK_CHECKS = 2
"""`transformers` itself asks once per forward pass, of student and of teacher, whether a mask hides anything."""


@pytest.mark.parametrize("losses", [[], ["mse", "attention_mse"], ["mi_alpha"]])
def test_nothing_is_copied_to_the_host_between_logged_steps(tmp_path: Path, losses: list[str]) -> None:
    def copies(steps: int) -> int:
        made = trainer(
            tmp_path,
            {"gamma1": 0.5, "intermediate": [term(loss) for loss in losses]},
            data=Examples(96),
            max_steps=steps,
            logging_steps=1000,
            max_grad_norm=0.0,
        )
        inner = made.training_step
        counts = []

        def counted(*given: Any, **named: Any) -> Any:
            with profile(activities=[ProfilerActivity.CPU]) as seen:
                result = inner(*given, **named)
            counts.append(sum(event.count for event in seen.key_averages() if event.key == "aten::_local_scalar_dense"))
            return result

        made.training_step = counted
        made.train()
        assert len(counts) == steps
        return sum(counts[1:])

    assert copies(3) == 2 * MASK_CHECKS


@pytest.mark.parametrize("log_every", [1, 1000])
def test_a_loss_that_is_not_a_number_ends_the_run(tmp_path: Path, log_every: int) -> None:
    small = student()
    with torch.no_grad():
        small.classifier.weight[0, 0] = float("nan")
    with pytest.raises(RunError, match="not a number at step 1") as raised:
        trainer(tmp_path, {"gamma1": 0.5}, small=small, logging_steps=log_every, max_steps=3).train()
    assert raised.value.exit_code == 1


def test_layer_weights_survive_save_and_resume(tmp_path: Path) -> None:
    mapping = config.Component(name="emd", options={"update_weights": True})
    wish = {"intermediate": [config.Term(loss="mse", mapping=mapping)]}
    first = trainer(tmp_path, wish, max_steps=3, save_strategy="steps", save_steps=3)
    first.train()
    transport = first.distillation.objective.terms[0].transport
    assert transport.student_weights.max() > transport.student_weights.min()
    again = trainer(tmp_path, wish, max_steps=3)
    again.train(resume_from_checkpoint=tmp_path / "checkpoint-3")
    restored = again.distillation.objective.terms[0].transport
    torch.testing.assert_close(weights_of(restored), weights_of(transport), rtol=0, atol=0)
    torch.testing.assert_close(weights_of(again.distillation), weights_of(first.distillation), rtol=0, atol=0)


def test_a_training_resumes_from_weights_under_old_names(tmp_path: Path) -> None:
    """As transformers 5.0 to 5.5 write those of a BERT that was loaded, and its `Trainer` passes over."""
    first = trainer(tmp_path, {}, max_steps=6, save_strategy="steps", save_steps=3)
    first.train()
    weights = tmp_path / "checkpoint-3" / "model.safetensors"
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {}
    for name, weight in load_file(weights).items():
        for new, before in old.items():
            name = name.replace(new, before)
        renamed[name] = weight
    assert any(name.endswith("LayerNorm.gamma") for name in renamed)
    save_file(renamed, weights, metadata={"format": "pt"})
    write_sums(tmp_path / "checkpoint-3")
    again = trainer(tmp_path / "again", {}, max_steps=6)
    again.train(resume_from_checkpoint=tmp_path / "checkpoint-3")
    torch.testing.assert_close(weights_of(again.distillation), weights_of(first.distillation), rtol=0, atol=0)


def test_a_checkpoint_is_pushed_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the losses since the last log line and the sums of all files: a training resumes from what was pushed."""
    pushed = tmp_path / "pushed"

    def known(made: Any, **_: Any) -> None:
        made.hub_model_id, made.push_in_progress = "somebody/student", None

    def upload(*_: Any, folder_path: str, path_in_repo: str = "model", **__: Any) -> Future[None]:
        inner = shutil.ignore_patterns("pushed", "checkpoint-*")
        shutil.copytree(folder_path, pushed / path_in_repo, ignore=inner, dirs_exist_ok=True)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    monkeypatch.setattr(Trainer, "init_hf_repo", known)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    monkeypatch.setattr("transformers.trainer.upload_folder", upload, raising=False)  # of transformers 5.0
    hub = {"push_to_hub": True, "hub_strategy": "all_checkpoints"}
    first = trainer(tmp_path, {}, max_steps=6, save_strategy="steps", save_steps=3, logging_steps=2, **hub)
    first.train()
    first.push_to_hub()
    assert (pushed / "model" / "model.safetensors").is_file()
    refuse_damage(pushed / "checkpoint-3")
    again = trainer(tmp_path / "again", {}, max_steps=6, logging_steps=2)
    again.train(resume_from_checkpoint=pushed / "checkpoint-3")
    losses = [
        [line["loss"] for line in one.state.log_history if line["step"] == 4 and "loss" in line]
        for one in (first, again)
    ]
    assert losses[0] == losses[1] != []


def test_weights_that_are_divided_are_refused_on_every_device(tmp_path: Path) -> None:
    check_parallelism(TrainingArguments(str(tmp_path), use_cpu=True), divided=False)
    with pytest.raises(ConfigError, match="DeepSpeed and FSDP would divide the student alone"):
        check_parallelism(TrainingArguments(str(tmp_path), use_cpu=True, fsdp="full_shard"), divided=False)


def test_dropping_a_training_batch_drops_no_development_example(tmp_path: Path) -> None:
    made = trainer(tmp_path, None, dataloader_drop_last=True, per_device_eval_batch_size=8)
    made.compute_metrics = lambda prediction: {"size": len(prediction.label_ids)}
    assert made.evaluate(Examples(13))["eval_size"] == 13
    assert len(made.get_train_dataloader()) == 4


def test_two_trainers_with_one_seed_draw_the_same_parts(tmp_path: Path) -> None:
    wish = {"intermediate": [term("mi_alpha")]}
    torch.manual_seed(1)
    one = copy.deepcopy(weights_of(trainer(tmp_path, wish).distillation.objective))
    torch.manual_seed(2)
    torch.testing.assert_close(weights_of(trainer(tmp_path, wish).distillation.objective), one, rtol=0, atol=0)
