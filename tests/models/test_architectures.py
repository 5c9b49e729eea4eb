"""Every architecture of `transformers` that classifies texts is a teacher and a student, or is refused in one line.

`docs/architectures.json` holds what was found. After a change that is meant, `WRITE_ARCHITECTURES=1` writes it anew.
"""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import PretrainedConfig, PreTrainedModel

from distiller.config import Objective, Student
from distiller.errors import DistillerError, ModelError
from distiller.models.cutting import check_scores, layer_lists
from distiller.models.folders import load_config
from distiller.models.heads import HEADS
from distiller.models.layers import attention_projections, reading, reported_states, summary_token
from distiller.models.layouts import LISTS, check_known, layout
from distiller.models.signals import SignalReader
from distiller.models.students import build_student, check_copy, student_config
from distiller.training.distillation_model import DistillationModel
from distiller.training.objective import DistillationObjective, model_shape
from distiller.training.teacher import FrozenTeacher
from distiller.training.view import Totals
from models.tiny import tiny_tokenizer
from models.zoo import ARCHITECTURES, LAYERS, VOCABULARY, tiny_classifier, tiny_config

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "architectures.json"
UNMEASURED = ("xlnet", "mobilebert", *(["doge"] if transformers.__version__ < "5.1" else []))
"""XLNet sees both sides, and ends a text with its <cls>; the attention of MobileBERT is too weak at this size.

In transformers 5.0 an unpadded Doge sees what follows.
"""
WRITTEN_WITH_THIS = f"transformers=={transformers.__version__}\n" in (ROOT / "constraints.txt").read_text(
    encoding="utf-8"
)
"""The table is of one version: others have other architectures, and some of theirs fail by themselves."""
KEPT = Student(layers=2)
FIRST = Student(layers=2, pick="first")
BOTH = Objective.model_validate({"beta1": 1, "gamma1": 1, "intermediate": [{"loss": "mse"}, {"loss": "pkd"}]})
OUTPUTS = Objective.model_validate({"beta1": 1, "gamma1": 1})


def batch(config: PretrainedConfig, lengths: tuple[int, ...] = (9, 7, 5)) -> dict[str, torch.Tensor]:
    """Random tokens, a final 2 that ends each text, padded with 0; XLNet pads on the left."""
    rng = torch.Generator().manual_seed(0)
    ids = torch.randint(5, VOCABULARY, (len(lengths), max(lengths)), generator=rng)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        span = slice(-length, None) if config.model_type == "xlnet" else slice(0, length)
        mask[row, span] = 1
        ids[row, mask[row].nonzero().max()] = 2
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": torch.arange(len(lengths)) % 2}


def one_step(student: PreTrainedModel, teacher: PreTrainedModel, objective: Objective) -> None:
    """One optimisation step with every term finite and every layer of the student moved."""
    parts = DistillationObjective(
        objective, student=model_shape(student), teacher=model_shape(teacher), kind="classification"
    )
    model = DistillationModel(student, parts).train()
    frozen = FrozenTeacher(teacher, parts.layers("teacher"), set(), device=torch.device("cpu"))
    view = batch(student.config)
    totals = Totals(*(torch.tensor(float(number)) for number in (3, 21, 21, 3)))
    loss, components = model(views={"original": view}, teacher={"original": frozen(view)}, totals={"original": totals})
    assert all(torch.isfinite(value) for value in components.values()), components
    loss.backward()
    before = {name: weight.detach().clone() for name, weight in student.named_parameters()}
    torch.optim.SGD(student.parameters(), lr=0.1).step()
    lists = layer_lists(HEADS["classification"], student.config)
    for name in lists:
        for layer in range(lists[name]):
            inside = [weight for weight in before if weight.startswith(f"{name}.{layer}.")]
            assert any(not torch.equal(before[weight], student.get_parameter(weight)) for weight in inside), (
                name,
                layer,
            )
    frozen.close()
    model.reader.close()


def check_states(model: PreTrainedModel) -> None:
    """The reader gives what `transformers` reports, at every layer and at padding too."""
    inputs = {name: value for name, value in batch(model.config).items() if name != "labels"}
    with torch.no_grad():
        expected = reported_states(model(**inputs, output_hidden_states=True))
        found = SignalReader(model, range(LAYERS + 1))(inputs)
    for layer, states in found.hidden_states.items():
        torch.testing.assert_close(states, expected[layer], rtol=1e-5, atol=1e-5, msg=f"layer {layer}")


def check_weights(student: PreTrainedModel, teacher: PreTrainedModel, kept: list[int]) -> None:
    """Layer `j` of the student is bit for bit layer `kept[j]` of the teacher, and the rest is the teacher's."""
    stored, copied = teacher.state_dict(), student.state_dict()
    numbers = {f".{ours}.": f".{theirs}." for ours, theirs in enumerate(kept)}
    lists = layer_lists(HEADS["classification"], teacher.config)
    assert lists or layout(teacher.config).shared
    for name, weight in copied.items():
        prefix = next((prefix for prefix in lists if name.startswith(f"{prefix}.")), None)
        origin = name
        if prefix is not None and not any(word in name for word in layout(teacher.config).of_model):
            mark = name[len(prefix) :].split(".")[1]
            origin = prefix + name[len(prefix) :].replace(f".{mark}.", numbers[f".{mark}."], 1)
        if "contact_head" not in name:
            assert torch.equal(weight, stored[origin]), name


def check_function(student: PreTrainedModel, teacher: PreTrainedModel) -> None:
    """A student of the first two layers computes what the teacher computes in these."""
    inputs = {name: value for name, value in batch(teacher.config).items() if name != "labels"}
    states = [SignalReader(model, {0, 1})(inputs).hidden_states for model in (student.eval(), teacher)]
    for layer in (0, 1):
        torch.testing.assert_close(states[0][layer], states[1][layer], rtol=1e-5, atol=1e-5)


def check_modules(student: PreTrainedModel, teacher: PreTrainedModel, kept: list[int]) -> None:
    """Each layer of the student computes of its own input what the named layer of the teacher makes of it."""
    ours, theirs = reading(student).blocks, reading(teacher).blocks
    if ours is None or layout(teacher.config).not_first or layout(teacher.config).of_model:
        return
    calls: dict[int, Any] = {}
    blocks = student.get_submodule(ours)
    hooks = [
        block.register_forward_hook(
            lambda module, args, named, output, place=place: calls.__setitem__(
                place, copy.deepcopy((args, named, output))
            ),
            with_kwargs=True,
        )
        for place, block in enumerate(blocks.children())
    ]
    with torch.no_grad():
        SignalReader(student.eval())(batch(student.config))
    for hook in hooks:
        hook.remove()
    for place, layer in enumerate(kept):
        args, named, output = calls[place]
        with torch.no_grad():
            again = teacher.get_submodule(f"{theirs}.{layer}")(*args, **named)
        first = [out if isinstance(out, torch.Tensor) else out[0] for out in (output, again)]
        torch.testing.assert_close(*first, rtol=1e-5, atol=1e-5, msg=f"layer {place}")


def agree(check: Callable[[], object], read: Callable[[], object]) -> None:
    """What is refused without weights is refused with them, and nothing else is."""
    outcomes = []
    for one in (check, read):
        try:
            one()
            outcomes.append(True)
        except ModelError:
            outcomes.append(False)
    assert outcomes[0] == outcomes[1]


def runs_alone(model_type: str) -> bool:
    """Whether `transformers` makes such a model and reads texts with it, without anything of ours."""
    try:
        config = tiny_config(model_type)
        tiny_classifier(config)(**batch(config))
    except Exception:
        return False
    return True


def trial(model_type: str) -> dict[str, Any]:
    """What an architecture can do here, in the words of the errors; everything that it can do is done."""
    row: dict[str, Any] = {"token": "", "refused": "", "states": "", "cut": "", "student": "no", "fields": []}
    config = tiny_config(model_type)
    try:
        check_known(config)
    except ModelError as error:
        return row | {"refused": error.message}
    teacher = tiny_classifier(config)
    row["token"] = summary_token(teacher)
    agree(lambda: check_scores(HEADS["classification"], config), lambda: attention_projections(teacher, 1))
    known = config.to_dict()
    row["fields"] = sorted(name for name in LISTS if isinstance(known.get(name), list))
    try:
        measured = reading(teacher)
        if model_type not in UNMEASURED:
            assert ("last" if measured.causal else "first") == row["token"]
        check_states(teacher)
    except ModelError as error:
        row["states"] = error.message
    for name, wish, kept in (("yes", KEPT, [1, 3]), ("first", FIRST, [0, 1])):
        try:
            shape = student_config(wish, teacher=config)
            check_copy(wish, shape, teacher=config, kind="classification")
        except DistillerError as error:
            row["cut"] = row["cut"] or error.message
            continue
        if row["student"] == "no":
            row["student"] = name
        student, _ = build_student(
            wish,
            teacher_model=teacher,
            teacher_tokenizer=tiny_tokenizer(),
            kind="classification",
            labels=["no", "yes"],
            seed=0,
        )
        check_weights(student, teacher, kept)
        if not row["states"]:
            check_modules(student, teacher, kept)
        if wish is FIRST and not row["states"]:
            check_function(student, teacher)
        if name == row["student"]:
            one_step(student, teacher, OUTPUTS if row["states"] else BOTH)
    return row


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_every_architecture_works_or_is_refused_in_one_line(model_type: str, tmp_path: Path) -> None:
    if not WRITTEN_WITH_THIS and not runs_alone(model_type):
        pytest.skip(f"transformers {transformers.__version__} itself fails on a `{model_type}` model on this machine")
    row = trial(model_type)
    if not row["refused"]:
        tiny_config(model_type).save_pretrained(tmp_path)
        load_config(tmp_path)
    for reason in (row["refused"], row["states"], row["cut"]):
        assert "\n" not in reason
    written = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    if os.environ.get("WRITE_ARCHITECTURES"):
        RESULTS.write_text(json.dumps({**written, model_type: row}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    elif WRITTEN_WITH_THIS:
        assert written[model_type] == row
