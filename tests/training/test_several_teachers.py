"""Several teachers as one: the average by hand, and the frozen teacher that gives it."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torch import Tensor

from distiller.training.several_teachers import OtherTeachers, average_logits
from distiller.training.teacher import FrozenTeacher
from training.tiny import batch, teacher

SHARES = [0.5, 0.3, 0.2]


def said(*shape: int) -> list[Tensor]:
    return [torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3 for seed in range(3)]


def mean(values: Any) -> np.ndarray:
    return np.tensordot(np.asarray(SHARES), np.stack([*values]), axes=1)


def test_probabilities_of_classes_are_averaged() -> None:
    for shape, kind in (((4, 5), "classification"), ((4, 7, 5), "tagging")):
        logits = said(*shape)
        found = average_logits(logits, SHARES, kind)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.softmax(-1), mean(softmax(one.numpy(), -1) for one in logits), rtol=1e-5)


def test_several_classes_are_averaged_each_for_itself_and_numbers_as_they_are() -> None:
    logits = said(4, 5)
    found = average_logits(logits, SHARES, "multilabel").sigmoid()
    np.testing.assert_allclose(found, mean(expit(one.numpy()) for one in logits), rtol=1e-5)
    logits = said(4, 1)
    np.testing.assert_allclose(average_logits(logits, SHARES, "regression"), mean(logits), rtol=1e-5, atol=1e-6)


def test_starts_and_ends_are_averaged_over_the_tokens() -> None:
    logits, mask = said(3, 6, 2), torch.tensor([[1] * 6, [1, 1, 1, 0, 0, 0], [1] * 5 + [0]])
    found = average_logits(logits, SHARES, "qa", mask=mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        short = [one[row, :length].numpy() for one in logits]
        np.testing.assert_allclose(found[row, :length].softmax(0), mean(softmax(one, 0) for one in short), rtol=1e-5)
        assert (found[row, length:] <= -1e3).all()


def test_a_sure_teacher_loses_no_number() -> None:
    sure = [torch.tensor([[400.0, -400.0]]), torch.tensor([[-400.0, 400.0]])]
    for kind in ("classification", "multilabel"):
        found = average_logits(sure, [0.75, 0.25], kind)  # type: ignore[arg-type]
        assert found.isfinite().all()
        shares = found.softmax(-1) if kind == "classification" else found.sigmoid()
        torch.testing.assert_close(shares, torch.tensor([[0.75, 0.25]]))


def test_a_frozen_teacher_says_the_average_and_has_its_own_layers() -> None:
    models = [teacher(), teacher(), teacher()]
    for number, model in enumerate(models):
        for parameter in model.parameters():
            parameter.data += (
                0.05 * number * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
            )
    inputs = {name: value for name, value in batch(3).items() if name in ("input_ids", "attention_mask")}
    device = torch.device("cpu")
    alone = FrozenTeacher(models[0], {1}, set(), device=device)
    others = OtherTeachers(models[1:], [5, 3, 2], "classification")
    together = FrozenTeacher(models[0], {1}, set(), device=device, others=others)
    found, own = together(inputs), alone(inputs)
    torch.testing.assert_close(found.hidden_states[1], own.hidden_states[1])
    with torch.no_grad():
        wanted = mean(softmax(model.eval()(**inputs).logits.numpy(), -1) for model in models)
    np.testing.assert_allclose(found.logits.softmax(-1), wanted, rtol=1e-4)
    assert not np.allclose(found.logits.softmax(-1), own.logits.softmax(-1), atol=1e-3)


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression", "tagging"])
def test_one_teacher_twice_is_that_teacher(kind: Any) -> None:
    from distiller.training.readout import Kind

    assert kind in get_args(Kind)
    [logits, *_] = said(4, 3)
    found = average_logits([logits, logits], [0.5, 0.5], kind)
    read = {"multilabel": torch.sigmoid, "regression": lambda one: one}.get(kind, lambda one: one.softmax(-1))
    torch.testing.assert_close(read(found), read(logits))
