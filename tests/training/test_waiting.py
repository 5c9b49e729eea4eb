"""A step never waits for the device: nothing is copied to the host but what the transport between layers needs.

On the device `meta` tensors have no numbers, so whatever asks for one (a copy to the host, `item`, a condition, an
index by booleans) fails. A step that runs there asks for nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import PartialState
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback, TrainingArguments

from distiller import config
from distiller.models.layers import reading
from distiller.models.masks import unread_masks
from distiller.objectives import transport
from distiller.objectives.critics import CRITICS as ALL_CRITICS
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.objectives.mapping import MAPPING
from distiller.objectives.prediction import PREDICTION
from distiller.training.batching import count, views_of
from distiller.training.distillation_model import DistillationModel
from distiller.training.mixing import draw, mixed
from distiller.training.objective import DistillationObjective, model_shape
from distiller.training.output_places import KnownPlaces
from distiller.training.teacher import FrozenTeacher
from distiller.training.trainer import DistillationTrainer
from training.generating import of_language, of_translation
from training.tiny import CRITICS, Examples, batch, student, teacher, term, trainer

META = torch.device("meta")


@pytest.fixture(autouse=True)
def _no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no device `meta`


class Constants(TorchFunctionMode):
    """Notes tensors that are made of Python's numbers on the device: each is a copy that waits."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], torch.Tensor)
        if made and torch.device(kwargs.get("device") or "cpu").type == "meta":
            self.found.append(f"{func.__name__}({args[0]})")
        return func(*args, **kwargs)


class BlockingCopies(TorchDispatchMode):
    """Notes copies from the host to the device that wait until they are done."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.constants = Constants(self.found)

    def __enter__(self) -> "BlockingCopies":
        self.constants.__enter__()
        return super().__enter__()

    def __exit__(self, *why: Any) -> None:
        super().__exit__(*why)
        self.constants.__exit__(*why)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        devices = {arg.device.type for arg in args if isinstance(arg, torch.Tensor)}
        waits = not kwargs.get("non_blocking")
        if func is torch.ops.aten._to_copy.default:
            devices.add(torch.device(kwargs.get("device") or args[0].device).type)
        elif func is torch.ops.aten.copy_.default:
            waits = waits and not (len(args) > 2 and args[2])
        else:
            waits = False
        if waits and devices == {"cpu", "meta"}:
            self.found.append(f"{func} {list(args[0].shape)}")
        return func(*args, **kwargs)


@contextmanager
def counted_copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """The copies that the transport makes; each gives as many numbers as were asked for."""
    copies: list[tuple[int, ...]] = []

    def copied(tensor: torch.Tensor) -> np.ndarray:
        copies.append(tuple(tensor.shape))
        return np.random.default_rng(0).random(tensor.shape) + 0.5

    with monkeypatch.context() as patch:
        patch.setattr(transport, "_array", copied)
        yield copies


def on_meta(given: Any) -> Any:
    if isinstance(given, torch.Tensor):
        return given.to(META)
    return {name: on_meta(value) for name, value in given.items()} if isinstance(given, dict) else given


def step(objective: config.Objective, examples: Any, *, same_width: bool = True) -> list[str]:
    """One forward and backward pass on a device without numbers; copies that wait."""
    small, large = student(width=32) if same_width else student(), teacher()
    for either in (small, large):  # how layers are read is found once, before the training
        reading(either)
    parts = DistillationObjective(
        objective, student=model_shape(small.config), teacher=model_shape(large.config), kind="classification"
    )
    model = DistillationModel(small, parts).to(META).train()
    asked = FrozenTeacher(large, parts.layers("teacher"), parts.layers("teacher", "attention_scores"), device=META)
    there = on_meta(examples)
    views = views_of(there)
    with BlockingCopies() as blocking:
        heard = {name: asked(view) for name, view in views.items()}
        with unread_masks(META):
            loss, components = model(views=views, teacher=heard, totals=count([there]))
        loss.backward()
    assert loss.device == META
    assert all(value.device == META for value in components.values())
    return blocking.found


@pytest.mark.parametrize("mapping", MAPPING.entries)
@pytest.mark.parametrize("loss", INTERMEDIATE.entries)
def test_no_objective_waits(loss: str, mapping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with counted_copies(monkeypatch) as copies:
        waits = step(config.Objective(gamma1=0.5, intermediate=[term(loss, mapping)]), batch())
    assert waits == []
    assert len(copies) == (mapping == "emd")


@pytest.mark.parametrize("prediction", PREDICTION.entries)
@pytest.mark.parametrize("label", ["teacher_soft", "teacher_hard", "gold"])
def test_no_prediction_waits(prediction: str, label: Any) -> None:
    wish = config.Objective(
        prediction=config.Component(name=prediction), gamma1=1, beta2=1, gamma2=1, augmented_label=label,
        intermediate=[term("mse")],
    )  # fmt: skip
    assert step(wish, batch(augmented=True), same_width=False) == []


@pytest.mark.parametrize("critic", ALL_CRITICS.entries)
@pytest.mark.parametrize("mapping", ["skip", "emd"])
def test_no_critic_waits(critic: str, mapping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = CRITICS.get(critic, {"layers": 1, "feedforward": 16, "heads": 2})
    wish = config.Critic(name=critic, options=options)
    with counted_copies(monkeypatch) as copies:
        waits = step(config.Objective(intermediate=[term("mi_alpha", mapping, critic=wish)]), batch())
    assert waits == []
    assert len(copies) == (mapping == "emd")


@pytest.mark.parametrize("update", ["reciprocal", "softmax"])
def test_transport_with_moving_weights_copies_once(update: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"update_weights": True, "weight_update": update}
    wish = term("mse").model_copy(update={"mapping": config.Component(name="emd", options=options)})
    with counted_copies(monkeypatch) as copies:
        assert step(config.Objective(intermediate=[wish]), batch()) == []
    assert copies == [(2 * 4 + 2 + 4,)]


class Mixing:
    alpha, per, mask, align_segments = 0.4, "pair", "union", False


def test_mixup_does_not_wait() -> None:
    examples = batch(augmented=True)
    examples["augmented"] = mixed(examples["augmented"], draw(6, Mixing(), (0,)), mask="union")
    wish = config.Objective(gamma1=0.5, beta2=1, gamma2=0.5, augmented_label="gold")
    assert step(wish, examples) == []


def test_a_device_that_has_the_outputs_is_not_asked_for_anything(tmp_path: Path) -> None:
    from cache.test_damage import build
    from distiller.cache.teacher_outputs import TeacherCache

    build(tmp_path)
    cache = TeacherCache(tmp_path, place="device")
    assert cache.prepare(META) == "device"
    examples = on_meta(batch())
    with BlockingCopies() as blocking:
        found = cache.read(examples["example_ids"], examples["attention_mask"])
    assert blocking.found == []
    assert found.hidden_states[4].shape == (*examples["attention_mask"].shape, 32)


# --- whole steps of the trainer ---------------------------------------------------------------------------------------


class Leave(TrainerCallback):
    """Forgets what was found before the first step, and ends a training before it reads what came of it."""

    class Left(Exception):
        """It got that far."""

    def __init__(self, found: list[str]) -> None:
        self.found = found

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self.found.clear()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 3:
            raise self.Left


@pytest.fixture
def training_on_meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A `Trainer` trains there."""

    def device(arguments: Any) -> torch.device:
        assert arguments._setup_devices is not None
        PartialState._shared_state["device"] = META
        return META

    monkeypatch.setattr(TrainingArguments, "device", property(device))
    yield
    PartialState._reset_state()


def steps(folder: Path, objective: Any, **given: Any) -> list[str]:
    """Three optimisation steps from the loader to the optimizer; copies that wait."""
    small, large = given.pop("small", None) or student(), given.pop("large", None) or teacher()
    for either in (small, large):
        reading(either)
    return waits_of(trainer(folder, objective, small=small, large=large, **SHORT, **given))


SHORT = {
    "max_steps": 9,
    "logging_steps": 9,
    "optim": "adamw_torch",
    "accelerator_config": {"non_blocking": True},
}


def waits_of(made: DistillationTrainer) -> list[str]:
    """Copies that wait in the first steps of its training, from the loader to the optimizer."""
    blocking = BlockingCopies()
    made.add_callback(Leave(blocking.found))
    with blocking, pytest.raises(Leave.Left):
        made.train()
    assert made.student.device == META
    return blocking.found


OBJECTIVES: dict[str, Any] = {
    "our own": None,
    "terms": config.Objective(gamma1=0.5, intermediate=[term("mse"), term("pkd", "last")]),
    "information": config.Objective(intermediate=[term("mi_alpha")]),
    "two views": config.Objective(gamma1=1, beta2=1, gamma2=0.5, intermediate=[term("cos")]),
}


@pytest.mark.usefixtures("training_on_meta")
@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_step_of_a_training_waits(name: str, tmp_path: Path) -> None:
    data = Examples(32, augmented=name == "two views")
    assert steps(tmp_path, OBJECTIVES[name], data=data, gradient_accumulation_steps=2) == []


# --- models that generate: a loss at each token that has a label ------------------------------------------------------


LAYERS = [{"loss": "mse"}, {"loss": "cos", "weight": {"share": 0.2}}]
GENERATING: dict[str, tuple[Any, dict[str, Any]]] = {
    "language": (of_language, {"gamma1": 0.5}),
    "language, labels alone": (of_language, {"beta1": 0, "gamma1": 1}),
    "language, teacher alone": (of_language, {"gamma1": 0, "prediction": {"name": "mse"}}),
    "language, layers": (of_language, {"gamma1": 0.5, "intermediate": LAYERS}),
    "translation": (of_translation, {"gamma1": 0.5}),
    "translation, labels alone": (of_translation, {"beta1": 0}),
    "translation, teacher alone": (of_translation, {"gamma1": 0}),
    "translation, layers": (
        of_translation,
        {"cosine": 1, "intermediate": [*LAYERS, {"loss": "mse", "side": "decoder"}]},
    ),
}


@pytest.mark.usefixtures("training_on_meta")
@pytest.mark.parametrize("name", GENERATING)
def test_no_step_of_a_model_that_generates_waits(name: str, tmp_path: Path) -> None:
    make, objective = GENERATING[name]
    made = make(tmp_path, objective, gradient_accumulation_steps=2, **SHORT)
    given = made.data_collator
    assert waits_of(made) == []
    assert made.data_collator is given


@pytest.mark.usefixtures("training_on_meta")
@pytest.mark.parametrize("make", [of_language, of_translation])
def test_it_would_wait_for_places_that_the_loader_has_not_found(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above rests on: a device without numbers is asked for them, and fails."""
    monkeypatch.setattr(KnownPlaces, "of", lambda *_: {})
    with pytest.raises(NotImplementedError, match="nonzero"):
        make(tmp_path, {"gamma1": 0.5}, **SHORT).train()
