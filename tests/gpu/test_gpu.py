"""What only an accelerator can show: the same numbers as on a CPU, and steps that do not wait for it.

`make test-gpu` runs these tests alone. `GPU_TESTS_ON=cpu` runs them without an accelerator, to see that they work: what
they compare is then compared with itself.
"""

import copy
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback

from cache.test_damage import build
from cache.test_teacher_outputs import EXAMPLES, LAYERS
from distiller import config
from distiller.cache.teacher_outputs import TeacherCache, build_teacher_cache
from distiller.models.masks import unread_masks
from distiller.objectives.critics import CRITICS as ALL_CRITICS
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.objectives.mapping import MAPPING
from distiller.training.batching import count, views_of
from distiller.training.distillation_model import DistillationModel
from distiller.training.fit import fit
from distiller.training.mixing import draw, mixed
from distiller.training.objective import DistillationObjective, model_shape
from distiller.training.teacher import FrozenTeacher
from distiller.training.trainer import DistillationTrainer
from run.tiny import Workshop, workshop
from training.generating import of_language, of_translation
from training.tiny import (
    CRITICS,
    arguments,
    batch,
    collate,
    gradients_of,
    job,
    pad,
    student,
    teacher,
    term,
    weights_of,
)  # fmt: skip

WANTED = os.environ.get("GPU_TESTS_ON", "cuda")
DEVICE = torch.device(WANTED if WANTED == "cpu" or torch.cuda.is_available() else "cpu")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        WANTED == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA GPU, and there is none"
    ),
]
CLOSE = {"rtol": 2e-3, "atol": 2e-4}
"""Two kinds of processor add in other orders, and matrix products on GPUs may use TF32."""


@pytest.fixture(autouse=True)
def _exact_products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


@contextmanager
def waits_allowed(times: int) -> Iterator[None]:
    """Fails unless the host waits for the GPU exactly so often, as torch itself counts."""
    if DEVICE.type == "cpu":
        yield
        return
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(one.message) for one in found if "synchroniz" in str(one.message)]
    assert len(waits) == times, waits


def there(given: Any, device: torch.device = DEVICE) -> Any:
    if isinstance(given, Tensor):
        return given.to(device)
    return {name: there(value, device) for name, value in given.items()} if isinstance(given, dict) else given


def step(objective: config.Objective, examples: Any, device: torch.device, *, waits: int) -> tuple[float, dict]:
    """Loss and gradients of one step; the second of two is watched, when kernels are chosen and memory is there."""
    torch.manual_seed(0)
    small, large = copy.deepcopy(student(width=32)), teacher()
    parts = DistillationObjective(
        objective, student=model_shape(small.config), teacher=model_shape(large.config), kind="classification"
    )
    model = DistillationModel(small, parts).eval().to(device)
    asked = FrozenTeacher(large, parts.layers("teacher"), parts.layers("teacher", "attention_scores"), device=device)
    views = views_of(there(examples, device))

    def once() -> Tensor:
        model.zero_grad()
        heard = {name: asked(view) for name, view in views.items()}
        with unread_masks(device):
            loss, _ = model(views=views, teacher=heard, totals=totals)
        loss.backward()
        return loss.detach()

    totals = count([there(examples, device)])
    once()
    with waits_allowed(waits if device == DEVICE else 0):
        loss = once()
    return loss.item(), {name: gradient.cpu() for name, gradient in gradients_of(model).items()}


def same_on_both(objective: config.Objective, examples: Any, *, waits: int = 0) -> None:
    loss, gradients = step(objective, examples, DEVICE, waits=waits)
    expected, wanted = step(objective, examples, torch.device("cpu"), waits=0)
    assert loss == pytest.approx(expected, rel=1e-3)
    torch.testing.assert_close(gradients, wanted, **CLOSE)


@pytest.mark.parametrize("mapping", MAPPING.entries)
@pytest.mark.parametrize("loss", INTERMEDIATE.entries)
def test_every_objective_with_every_mapping(loss: str, mapping: str) -> None:
    wish = config.Objective(gamma1=0.5, intermediate=[term(loss, mapping)])
    same_on_both(wish, batch(), waits=int(mapping == "emd"))


@pytest.mark.parametrize("critic", ALL_CRITICS.entries)
@pytest.mark.parametrize("mapping", ["last", "emd"])
def test_every_critic(critic: str, mapping: str) -> None:
    options = CRITICS.get(critic, {"layers": 1, "feedforward": 16, "heads": 2})
    wish = term("mi_alpha", mapping, critic=config.Critic(name=critic, options=options))
    same_on_both(config.Objective(intermediate=[wish]), batch(), waits=int(mapping == "emd"))


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
def test_transport_with_moving_weights(solver: str) -> None:
    options = {"update_weights": True, "solver": solver}
    wish = term("mse").model_copy(update={"mapping": config.Component(name="emd", options=options)})
    same_on_both(config.Objective(intermediate=[wish]), batch(), waits=1)


class Mixing:
    alpha, per, mask, align_segments = 0.4, "pair", "union", False


def test_mixup() -> None:
    examples = batch(augmented=True)
    examples["augmented"] = mixed(examples["augmented"], draw(6, Mixing(), (0,)), mask="union")
    same_on_both(config.Objective(gamma1=0.5, beta2=1, gamma2=0.5, augmented_label="gold"), examples)


# --- the teacher's cache ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["device", "ahead", "file"])
def test_the_cache_says_on_the_device_what_it_says_on_the_host(place: Any, tmp_path: Path) -> None:
    build(tmp_path)
    examples = batch(16)
    ids, mask = examples["example_ids"], examples["attention_mask"]
    expected = TeacherCache(tmp_path).read(ids, mask)
    cache = TeacherCache(tmp_path, place=place)
    assert cache.prepare(DEVICE) == place
    ids_there, mask_there = ids.to(DEVICE), mask.to(DEVICE)
    cache.read(ids_there, mask_there, cache.reading(ids, mask))
    reading = cache.reading(ids, mask)
    with waits_allowed(0):  # from the file, too: what is gathered lies in pinned memory
        found = cache.read(ids_there, mask_there, reading)
    torch.testing.assert_close(found.logits.cpu(), expected.logits, rtol=0, atol=0)
    for layer in LAYERS:
        torch.testing.assert_close(found.hidden_states[layer].cpu(), expected.hidden_states[layer], rtol=0, atol=0)
    cache.close()


class Watched(TrainerCallback):
    """Fails a training whose steps wait for the device, but for the first two. `Loading` watches how batches come."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if DEVICE.type == "cuda" and state.global_step >= 2:
            torch.cuda.set_sync_debug_mode("error")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if DEVICE.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


class Loading(DistillationTrainer):
    """Fails where taking the next batches waits for the device, but for the first steps."""

    def get_batch_samples(self, *given: Any) -> tuple[list, Any]:
        watched = DEVICE.type == "cuda" and self.state.global_step >= 2
        if watched:
            torch.cuda.set_sync_debug_mode("error")
        try:
            return super().get_batch_samples(*given)
        finally:
            if watched:
                torch.cuda.set_sync_debug_mode("default")


WISH = config.Objective(gamma1=0.5, intermediate=[term("mse"), term("pkd", "last")])


def losses(folder: Path, place: Any, *, watched: bool = True, **given: Any) -> list[float]:
    """Losses of a short training, with the teacher's outputs read from `place` or, for `None`, asked for."""
    cache = None
    if place is not None:
        build_on_device(folder / "outputs")
        cache = TeacherCache(folder / "outputs", place=place)
    compiled = given.pop("compiled", False)
    where = {"use_cpu": True} if DEVICE.type == "cpu" else {"use_cpu": False}
    non_blocking = {"accelerator_config": {"non_blocking": True}} if DEVICE.type == "cuda" else {}
    made = Loading(
        student(),
        teacher=teacher(),
        objective=WISH,
        teacher_cache=cache,
        compiled=compiled,
        args=arguments(folder, **({"max_steps": 6, "logging_steps": 1} | where | non_blocking | given)),
        train_dataset=EXAMPLES,
        data_collator=collate,
        callbacks=[Watched()] if watched else [],
    )
    made.train()
    return [line["loss"] for line in made.state.log_history if "loss" in line]


def build_on_device(folder: Path) -> None:
    folder.mkdir()
    layers = sorted({1, 2, 3, 4, 0})
    asked = FrozenTeacher(teacher(), set(layers), set(), device=DEVICE)
    rows = torch.arange(len(EXAMPLES)).split(16)
    batches = (there(pad([EXAMPLES[int(i)] for i in part])) for part in rows)
    build_teacher_cache(folder, asked, batches, len(EXAMPLES), layers)
    asked.close()


@pytest.mark.parametrize("place", ["device", "ahead", "file"])
def test_a_training_learns_the_same_with_and_without_the_cache(place: Any, tmp_path: Path) -> None:
    (tmp_path / "with").mkdir()
    without = losses(tmp_path / "without", None)
    assert losses(tmp_path / "with", place) == pytest.approx(without, rel=1e-3)


@pytest.mark.parametrize("make", [of_language, of_translation])
def test_models_that_generate_do_not_wait(make: Any, tmp_path: Path) -> None:
    non_blocking = {"accelerator_config": {"non_blocking": True}} if DEVICE.type == "cuda" else {}
    given = {"max_steps": 6, "logging_steps": 100, "use_cpu": DEVICE.type == "cpu"} | non_blocking
    made = make(tmp_path, {"gamma1": 0.5}, **given)
    made.add_callback(Watched())
    made.train()
    assert made.state.global_step == 6


def test_bf16_is_close_to_fp32(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    full = losses(tmp_path / "full", None)
    assert losses(tmp_path / "half", "device", bf16=True) == pytest.approx(full, rel=5e-2)


def test_compiled_training_is_eager_training(tmp_path: Path) -> None:
    torch.compiler.reset()
    eager = losses(tmp_path / "eager", None)
    assert losses(tmp_path / "compiled", None, watched=False, compiled=True) == pytest.approx(eager, rel=1e-3)


# --- whole trainings --------------------------------------------------------------------------------------------------


def test_an_interrupted_training_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = config.Training(epochs=2, batch_size=8, learning_rate=1e-3, evaluations=2, precision="fp32")

    def trained(folder: Path, *, resume: bool = False) -> dict[str, Tensor]:
        small = student()
        fit(
            small, job(), training, objective=WISH, folder=folder, seed=0, title="", teacher=teacher(), resume=resume
        )  # fmt: skip
        return {name: value.cpu() for name, value in weights_of(small).items()}

    whole = trained(tmp_path / "whole")
    step, done = DistillationTrainer.training_step, []

    def cut(*given: Any, **named: Any) -> Any:
        done.append(1)
        if len(done) == 7:
            raise KeyboardInterrupt
        return step(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(DistillationTrainer, "training_step", cut)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "cut")
    torch.testing.assert_close(trained(tmp_path / "cut", resume=True), whole, **CLOSE)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("workshop"))


def test_a_whole_run_and_its_record(shop: Workshop, tmp_path: Path) -> None:
    from distiller.config import parse_run
    from distiller.run import distil

    record = distil(parse_run(shop.run(tmp_path, baseline=True, seeds=[0, 1], cache=str(tmp_path / "cache"))))
    assert record.score > 0.9
    assert record.cost.teacher_cache_megabytes > 0
    assert set(record.cost.milliseconds_per_example) >= {"teacher", "student"}


def test_translation(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    pytest.importorskip("sacrebleu")
    from distiller.run import distil
    from translation.tiny import tiny_run

    words = {"gamma1": 0.5, "beta1": 1.0}
    made = {}
    for cached in ("never", "always"):
        wish = tiny_run(tmp_path, objective=words, baseline=False, efficiency=False)
        training = wish.training.model_copy(update={"cache_teacher": cached, "precision": "fp32"})
        made[cached] = distil(wish.model_copy(update={"training": training, "output": str(tmp_path / cached)}))
    first, second = (record.seeds[0].history[0] for record in made.values())
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-2)


def test_a_study_of_two_workers_on_one_device(shop: Workshop, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    pytest.importorskip("psutil")
    from distiller.study.config import parse_study
    from distiller.study.engine import run_study

    study = parse_study(
        {
            "name": "two",
            "folder": str(tmp_path / "study"),
            "base": shop.run(tmp_path, cache=str(tmp_path / "cache")),
            "space": {"training.learning_rate": [1e-3, 2e-3], "objective.gamma1": [0, 1]},
            "engine": {"workers": 2, "devices": ["0"] if DEVICE.type == "cuda" else []},
        }
    )
    ended = run_study(study)
    assert (ended.complete, ended.failed) == (4, 0)
