"""Scores at the tokens that count: the same as by a mask, for every number format, and whatever a script does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from distiller.models.signals import Signals
from distiller.training.output_places import PLACES, KnownPlaces, WithPlaces
from distiller.training.script_batch import objective_batch
from distiller.training.trainer import DistillationTrainer
from distiller.training.view import Totals, View, places_of
from training.generating import of_language, of_translation
from training.tiny import weights_of

ONE = torch.ones(())


@given(seed=st.integers(0, 2**16), dtype=st.sampled_from([torch.float32, torch.bfloat16]), found=st.booleans())
def test_what_is_chosen_is_what_a_mask_chooses(seed: int, dtype: torch.dtype, found: bool) -> None:
    rng = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, 2, (3, 5), generator=rng)
    scores = torch.randn(3, 5, 7, generator=rng).to(dtype)
    slopes = torch.randn(int(mask.sum()), 7, generator=rng).to(dtype)
    places = places_of(mask) if found else None
    gradients = []
    for choose in (lambda view, x: view.at_outputs(x), lambda view, x: x[mask.bool()]):
        leaf = scores.clone().requires_grad_()
        view = View(Signals(leaf, {}, {}, mask), None, None, Totals(ONE, ONE, ONE, ONE), mask, output_places=places)
        chosen = choose(view, leaf)
        assert torch.equal(chosen, scores[mask.bool()])
        chosen.backward(slopes)
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("make", [of_language, of_translation])
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_a_training_is_the_one_that_asks_in_every_step(
    make: Any, bf16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    ask = KnownPlaces.of

    def of(self: KnownPlaces, batch: Any) -> dict[str, Tensor]:
        known = ask(self, batch)
        asked.append(len(known))
        return known

    def trained() -> dict[str, Tensor]:
        made = make(tmp_path, {"gamma1": 0.5}, gradient_accumulation_steps=2, max_steps=2, bf16=bf16)
        made.train()
        return weights_of(made.student)

    monkeypatch.setattr(KnownPlaces, "of", of)
    found = trained()
    assert asked == [1, 1, 1, 1]
    monkeypatch.setattr(KnownPlaces, "of", lambda *_: {})
    expected = trained()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


class Cut(DistillationTrainer):
    """A script that shortens its batches."""

    def compute_loss(self, model: Any, inputs: Any, *others: Any, **named: Any) -> Any:
        return super().compute_loss(model, {name: value[:, :5] for name, value in inputs.items()}, *others, **named)


class Hidden(DistillationTrainer):
    """A script that takes labels out of its batches."""

    def compute_loss(self, model: Any, inputs: Any, *others: Any, **named: Any) -> Any:
        inputs["labels"][:, 4] = -100
        return super().compute_loss(model, inputs, *others, **named)


class Own(DistillationTrainer):
    """A script whose loss is that of the model."""

    def compute_loss(self, model: Any, inputs: Any, *others: Any, **named: Any) -> Any:
        return model(**inputs).loss


@pytest.mark.parametrize("script", [Cut, Hidden, Own])
def test_a_script_may_change_its_batches(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> dict[str, Tensor]:
        made = of_language(tmp_path, {"gamma1": 0.5}, max_steps=2)
        made.__class__ = script
        made.train()
        return weights_of(made.student)

    found = trained()
    monkeypatch.setattr(KnownPlaces, "of", lambda *_: {})
    expected = trained()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_a_loader_outside_a_training_gives_what_the_collator_gives(tmp_path: Path) -> None:
    made = of_language(tmp_path, {"gamma1": 0.5})
    assert PLACES not in next(iter(made.get_train_dataloader()))


def test_what_a_collator_says_wrongly_is_for_the_step_to_say() -> None:
    wrong = {"input_ids": torch.ones(2, 3, dtype=torch.long)}
    assert WithPlaces(lambda _: wrong, lambda batch: objective_batch(batch, "generation"))([]) is wrong
    assert PLACES not in wrong
