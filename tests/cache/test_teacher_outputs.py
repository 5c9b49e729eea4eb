"""Stored teacher outputs say what the teacher would have said, however they are read."""

import pickle
from io import StringIO
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from distiller import config
from distiller.cache.folders import FolderCache
from distiller.cache.teacher_outputs import READING, TeacherCache, WithReadings, place_for
from distiller.errors import DataError
from distiller.models.signals import SignalReader
from distiller.processes import SHARERS
from distiller.training.batching import LengthBucketSampler, rows_read
from distiller.training.fit import fit
from distiller.training.shared_work import teacher_outputs
from distiller.training.teacher import FrozenTeacher
from training.tiny import Eq1, Examples, collate, job, pad, student, teacher, term, trainer, weights_of

LAYERS = {0, 2, 4}
EXAMPLES = Examples(40)
WISH = config.Objective(gamma1=0.5, intermediate=[term("mse"), term("pkd", "last")])
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
"""Other padding is another order of summation; nothing else differs."""


def frozen(layers: set[int] = LAYERS, attention: tuple[int, ...] = ()) -> FrozenTeacher:
    return FrozenTeacher(teacher(), layers, set(attention), device=torch.device("cpu"))


def stored(folder: Path, layers: set[int] = LAYERS, **given: Any) -> tuple[Path | None, str | None]:
    return teacher_outputs(FolderCache(folder), frozen(layers), EXAMPLES, pad, config.Training(**given))


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [39, 5, 17], [7], list(range(40))[::-1]])
def test_any_batch_reads_what_the_teacher_says(tmp_path: Path, chosen: list[int]) -> None:
    folder, why = stored(tmp_path)
    assert folder is not None
    assert why is None
    examples = pad([EXAMPLES[i] for i in chosen])
    read, said = TeacherCache(folder).read(examples["example_ids"], examples["attention_mask"]), frozen()(examples)
    valid = examples["attention_mask"].bool()
    torch.testing.assert_close(read.logits, said.logits, **CLOSE)
    assert set(read.hidden_states) == LAYERS
    for layer, state in read.hidden_states.items():
        torch.testing.assert_close(state[valid], said.hidden_states[layer][valid], **CLOSE)
        assert not state[~valid].any()


def test_how_far_the_teacher_has_come_is_said_where_there_is_no_terminal(tmp_path: Path) -> None:
    said, tokens = StringIO(), sum(EXAMPLES.lengths)
    console = Console(file=said, width=200)
    for _ in range(2):
        teacher_outputs(FolderCache(tmp_path), frozen(), EXAMPLES, pad, config.Training(), console=console)
    assert said.getvalue().count(f"ask the teacher once: {tokens:,} of {tokens:,} tokens") == 1  # once, as it says


def test_outputs_are_stored_in_the_teachers_own_numbers(tmp_path: Path) -> None:
    half = FrozenTeacher(teacher(), LAYERS, set(), device=torch.device("cpu"), precision="bf16")
    folder, _ = teacher_outputs(FolderCache(tmp_path), half, EXAMPLES, pad, config.Training())
    examples = pad([EXAMPLES[i] for i in range(5)])
    read, said = TeacherCache(folder).read(examples["example_ids"], examples["attention_mask"]), half(examples)
    assert read.logits.dtype == said.logits.dtype
    assert {i: s.dtype for i, s in read.hidden_states.items()} == {i: s.dtype for i, s in said.hidden_states.items()}


def test_the_loss_of_a_batch_is_that_without_a_cache(tmp_path: Path) -> None:
    eq1 = Eq1(WISH, student(), teacher())
    folder, _ = stored(tmp_path, eq1.parts.layers("teacher"))
    examples = collate([EXAMPLES[i] for i in (3, 30, 11, 8)])
    online, gradients = eq1(examples), eq1.gradients(examples)
    cache = TeacherCache(folder)
    eq1.teacher = lambda view: cache.read(view["example_ids"], view["attention_mask"])
    torch.testing.assert_close(eq1(examples), online, **CLOSE)
    torch.testing.assert_close(eq1.gradients(examples), gradients, **CLOSE)


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 2e-4), ("bf16", 5e-3)])
def test_a_whole_training_ends_with_the_same_weights(tmp_path: Path, precision: Any, apart: float) -> None:
    layers = Eq1(WISH, student(), teacher()).parts.layers("teacher")
    asked = FrozenTeacher(teacher(), layers, set(), device=torch.device("cpu"), precision=precision)
    folder, _ = teacher_outputs(FolderCache(tmp_path), asked, EXAMPLES, pad, config.Training())
    assert folder is not None
    ends = []
    for cache in (None, TeacherCache(folder)):
        small = student()
        fit(
            small, job(), config.Training(epochs=2, batch_size=8, learning_rate=1e-3, precision=precision),
            objective=WISH,
            folder=tmp_path / "fit", seed=0, title="", teacher=teacher(), teacher_cache=cache, select_best=False,
        )  # fmt: skip
        ends.append(weights_of(small))
    start = weights_of(student())
    assert any((ends[0][name] - start[name]).abs().max() > 2e-3 for name in start)
    torch.testing.assert_close(ends[1], ends[0], rtol=0, atol=apart)  # Adam amplifies rounding, by up to the rate


def test_the_cache_is_read_for_the_original_view_only(tmp_path: Path) -> None:
    """The augmented view has its source's example id, but not its text."""
    data = Examples(40, augmented=True)
    wish = {"beta2": 1, "intermediate": [term("mse")]}
    folder, _ = stored(tmp_path)
    lines = []
    for cache in (None, TeacherCache(folder)):
        made = trainer(tmp_path, wish, data=data, cache=cache, max_steps=1)
        made.train()
        lines.append({name: value for name, value in made.state.log_history[0].items() if name.startswith("loss")})
    assert lines[1] == pytest.approx(lines[0], rel=1e-4)


def test_the_cache_spares_the_teacher(tmp_path: Path) -> None:
    folder, _ = stored(tmp_path)
    made = trainer(tmp_path, {"intermediate": [term("mse")]}, data=EXAMPLES, cache=TeacherCache(folder))
    made.teacher.model.forward = lambda **_: pytest.fail("the teacher ran")
    assert made.train().global_step == 2


def test_what_decides_the_outputs_decides_where_they_are(tmp_path: Path) -> None:
    first = stored(tmp_path)[0]
    assert stored(tmp_path)[0] == first
    assert stored(tmp_path, {0, 1, 2, 3, 4})[0] != first
    other = teacher_outputs(FolderCache(tmp_path), frozen(), Examples(40, 1), pad, config.Training())[0]
    assert other != first
    changed = frozen()
    with torch.no_grad():
        changed.model.classifier.bias += 1
    assert teacher_outputs(FolderCache(tmp_path), changed, EXAMPLES, pad, config.Training())[0] != first


def test_a_cache_of_more_layers_serves_for_fewer(tmp_path: Path) -> None:
    """The trials of a study ask for different layers of one teacher."""
    more, _ = stored(tmp_path, {0, 2, 4})
    fewer, _ = stored(tmp_path, {0, 4})
    assert fewer == more
    assert stored(tmp_path / "elsewhere", {0, 4})[0] != more
    ids, mask = torch.tensor([3, 0]), pad([EXAMPLES[3], EXAMPLES[0]])["attention_mask"]
    own, shared = (
        TeacherCache(folder, {0, 4}).read(ids, mask) for folder in (stored(tmp_path / "own", {0, 4})[0], more)
    )
    assert set(own.hidden_states) == set(shared.hidden_states) == {0, 4}
    for layer in (0, 4):
        torch.testing.assert_close(own.hidden_states[layer], shared.hidden_states[layer], **CLOSE)
    torch.testing.assert_close(own.logits, shared.logits, **CLOSE)


def test_where_there_is_no_cache_it_says_why(tmp_path: Path) -> None:
    assert stored(tmp_path, cache_teacher="never") == (None, None)
    folder, why = stored(tmp_path, cache_gb=1e-9)
    assert folder is None
    assert "do not fit" in why
    assert stored(tmp_path, cache_gb=1e-9, cache_teacher="always")[0] is not None
    folder, why = teacher_outputs(FolderCache(tmp_path), frozen(set(), (1,)), EXAMPLES, pad, config.Training())
    assert folder is None
    assert "attention maps" in why


# --- where they are read, and which of them are there -----------------------------------------------------------------


@pytest.mark.parametrize("place", ["file", "ahead", "device"])
def test_wherever_they_lie_the_same_is_read(place: Any, tmp_path: Path) -> None:
    folder, _ = stored(tmp_path)
    assert folder is not None
    plain, cache = TeacherCache(folder), TeacherCache(folder, place=place)
    assert cache.prepare(torch.device("cpu")) == place
    batches = [pad([EXAMPLES[i] for i in rows]) for rows in ([0, 1, 2], [39, 5], [7])]
    readings = [cache.reading(one["example_ids"], one["attention_mask"]) for one in batches]  # all ahead of the first
    assert all((reading.found is not None) == (place == "ahead") for reading in readings)
    for one, reading in zip(batches, readings, strict=True):
        expected = plain.read(one["example_ids"], one["attention_mask"])
        for given in (reading, None):
            found = cache.read(one["example_ids"], one["attention_mask"], given)
            torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=0)
            torch.testing.assert_close(found.hidden_states, expected.hidden_states, rtol=0, atol=0)
    cache.close()


def test_a_loaders_worker_only_says_what_is_to_be_read(tmp_path: Path) -> None:
    folder, _ = stored(tmp_path)
    assert folder is not None
    cache = TeacherCache(folder, place="ahead")
    cache.prepare(torch.device("cpu"))
    batch = pickle.loads(pickle.dumps(WithReadings(pad, cache, itemgetter("attention_mask"))))([EXAMPLES[3]])
    reading = pickle.loads(pickle.dumps(batch[READING]))
    assert reading.found is None
    found = cache.read(batch["example_ids"], batch["attention_mask"], reading)
    torch.testing.assert_close(found.logits, cache.read(batch["example_ids"], batch["attention_mask"]).logits)
    cache.close()


def test_loaders_with_workers_train_the_same(tmp_path: Path) -> None:
    folder, _ = stored(tmp_path, Eq1(WISH, student(), teacher()).parts.layers("teacher"))
    assert folder is not None
    lines = []
    for workers in (0, 1):
        cache = TeacherCache(folder, place="ahead")
        made = trainer(tmp_path, WISH, data=EXAMPLES, cache=cache, dataloader_num_workers=workers)
        made.train()
        lines.append([line["loss"] for line in made.state.log_history if "loss" in line])
    assert lines[1] == lines[0]


def test_only_rows_that_are_read_are_stored(tmp_path: Path) -> None:
    rows = rows_read(EXAMPLES.lengths, batch_size=4, steps=3, seeds=[0, 1])
    assert rows is not None
    orders = [list(LengthBucketSampler(EXAMPLES.lengths, 4, seed))[:12] for seed in (0, 1)]
    assert rows == sorted({*orders[0], *orders[1]})
    assert rows_read(EXAMPLES.lengths, batch_size=4, steps=10, seeds=[0]) is None
    assert rows_read(EXAMPLES.lengths, batch_size=4, steps=None, seeds=[0]) is None

    def kept(rows: list[int] | None) -> Path:
        folder, _ = teacher_outputs(FolderCache(tmp_path), frozen(), EXAMPLES, pad, config.Training(), rows)
        assert folder is not None
        return folder

    some = TeacherCache(kept(rows))
    assert len(some) == len(rows)
    asked = pad([EXAMPLES[i] for i in rows])
    found, said = some.read(asked["example_ids"], asked["attention_mask"]), frozen()(asked)
    torch.testing.assert_close(found.logits, said.logits, **CLOSE)
    other = pad([EXAMPLES[min(set(range(40)) - {*rows})]])
    with pytest.raises(DataError, match="do not hold all examples"):
        some.read(other["example_ids"], other["attention_mask"])
    whole = kept(None)
    assert whole != some.folder
    assert kept(rows) == some.folder
    assert kept([0]) not in (whole, some.folder)  # alone a text has other padding, and other last digits


def test_other_tokens_than_those_that_were_stored_are_refused(tmp_path: Path) -> None:
    folder, _ = stored(tmp_path)
    assert folder is not None
    short = {**EXAMPLES[3], "input_ids": EXAMPLES[3]["input_ids"][:-1]}
    cut = pad([short])
    with pytest.raises(DataError, match="other tokens"):
        TeacherCache(folder).read(cut["example_ids"], cut["attention_mask"])


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_in_bf16_a_cached_output_is_apart_from_an_asked_one_by_rounding_alone(attention: str) -> None:
    """A text padded to other lengths, in other company: never further apart than bf16 is from float32."""
    large = teacher()
    large.set_attn_implementation(attention)
    made = {
        precision: FrozenTeacher(large, {4}, set(), device=torch.device("cpu"), precision=precision)
        for precision in ("fp32", "bf16")
    }

    def states(precision: Any, rows: list[int], extra: int) -> torch.Tensor:
        examples = pad([EXAMPLES[i] for i in rows], extra=extra)
        length = EXAMPLES.lengths[rows[0]]
        return made[precision](examples).hidden_states[4][0, :length].float()

    def apart(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((one - other).square().mean().sqrt())

    for row in range(6):
        alone, exact = states("bf16", [row], 0), states("fp32", [row], 0)
        error = apart(alone, exact)
        assert 0 < error < 0.02
        assert apart(states("bf16", [row, 30, 31], 0), alone) <= 2 * error
        assert apart(states("bf16", [row], 26), alone) <= 2 * error
        assert apart(states("fp32", [row], 26), exact) < 1e-5


def test_matrices_that_are_kept_in_bf16_say_what_autocast_says() -> None:
    examples = pad([EXAMPLES[i] for i in range(8)])
    half = FrozenTeacher(teacher(), LAYERS, set(), device=torch.device("cpu"), precision="bf16")
    plain = SignalReader(teacher(), hidden_layers=LAYERS)
    assert half.model.bert.encoder.layer[0].attention.self.query.weight.dtype is torch.bfloat16
    assert half.original.bert.encoder.layer[0].attention.self.query.weight.dtype is torch.float32
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = plain(examples)
    found = half(examples)
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=0)
    torch.testing.assert_close(found.hidden_states, expected.hidden_states, rtol=0, atol=0)


def test_outputs_lie_on_a_device_where_they_leave_room_for_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what torch holds for this process is room; workers that share a device have a part of it each."""
    device = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (50, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 10)
    assert [place_for(size, device) for size in (18, 19)] == ["device", "ahead"]
    monkeypatch.setenv(SHARERS, "5")
    assert [place_for(size, device) for size in (6, 7)] == ["device", "ahead"]
