"""What a teacher said of a text is what it says of it again, in whichever batch, epoch or run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForTokenClassification

from cache.test_teacher_outputs import CLOSE, EXAMPLES, frozen
from distiller.cache.augmented_outputs import AugmentedOutputs
from distiller.training.teacher import FrozenTeacher
from training.tiny import Examples, pad, term, trainer

WISH = {"beta2": 1, "gamma2": 0.5, "intermediate": [term("mse"), term("pkd", "last")]}


def kept(folder: Path, layers: tuple[int, ...] = (0, 2, 4), fact: str = "one", limit: int = 10**8) -> AugmentedOutputs:
    return AugmentedOutputs(folder / "outputs.sqlite", limit, {"teacher": fact}, layers)


class Asked:
    """A teacher that remembers how many texts it was asked about."""

    def __init__(self, teacher: FrozenTeacher) -> None:
        self.teacher, self.model, self.pad_with = teacher, teacher.model, teacher.pad_with
        self.texts = 0

    def __call__(self, inputs: Any) -> Any:
        self.texts += len(inputs["input_ids"])
        return self.teacher(inputs)


def same(read: Any, said: Any, mask: torch.Tensor) -> None:
    valid = mask.bool()
    compared = slice(None) if said.logits.dim() == 2 else valid
    torch.testing.assert_close(read.logits[compared], said.logits[compared], **CLOSE)
    assert set(read.hidden_states) == set(said.hidden_states)
    for layer, state in read.hidden_states.items():
        torch.testing.assert_close(state[valid], said.hidden_states[layer][valid], **CLOSE)


def test_a_text_is_asked_about_once_and_read_in_any_batch(tmp_path: Path) -> None:
    asked = Asked(frozen())
    for rows, new in (([0, 1, 2, 3], 4), ([3, 9, 1], 1), ([9], 0), ([2, 0, 3, 1], 0)):
        examples, before = pad([EXAMPLES[row] for row in rows], extra=len(rows)), asked.texts
        read = kept(tmp_path).outputs(examples, asked)
        assert asked.texts - before == new
        same(read, frozen()(examples), examples["attention_mask"])


def test_outputs_of_tokens(tmp_path: Path) -> None:
    shape = BertConfig(vocab_size=100, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    teacher = FrozenTeacher(BertForTokenClassification(shape), {1}, set(), device=torch.device("cpu"))
    examples = pad([EXAMPLES[row] for row in range(5)])
    for _ in range(2):
        same(kept(tmp_path, (1,)).outputs(examples, teacher), teacher(examples), examples["attention_mask"])


def test_layers_are_kept_each_for_itself_and_teachers_apart(tmp_path: Path) -> None:
    examples, asked = pad([EXAMPLES[row] for row in range(6)]), Asked(frozen())
    kept(tmp_path).outputs(examples, asked)
    fewer = kept(tmp_path, (0, 4)).outputs(examples, asked)
    assert asked.texts == 6
    same(fewer, frozen({0, 4})(examples), examples["attention_mask"])
    kept(tmp_path, fact="two").outputs(examples, asked)
    assert asked.texts == 12


def test_segments_are_part_of_a_text(tmp_path: Path) -> None:
    examples, asked = pad([EXAMPLES[row] for row in range(3)]), Asked(frozen())
    for kinds in (torch.zeros_like, torch.ones_like):
        examples["token_type_ids"] = kinds(examples["input_ids"])
        same(kept(tmp_path).outputs(examples, asked), frozen()(examples), examples["attention_mask"])
    assert asked.texts == 6


def test_what_does_not_fit_is_asked_again(tmp_path: Path) -> None:
    examples, asked = pad([EXAMPLES[row] for row in range(40)]), Asked(frozen())
    for _ in range(2):
        same(kept(tmp_path, limit=1).outputs(examples, asked), frozen()(examples), examples["attention_mask"])
    assert asked.texts == 80


def test_a_training_logs_the_same_losses_and_the_next_one_asks_nothing(tmp_path: Path) -> None:
    lines, asked = [], []
    for keeps in (False, True, True):
        made = trainer(tmp_path, WISH, data=Examples(40, augmented=True), max_steps=5)
        assert made.teacher is not None
        made.augmented_cache = kept(tmp_path, tuple(made.teacher.hidden_layers)) if keeps else None
        made.teacher = Asked(made.teacher)  # type: ignore[assignment]
        made.train()
        logged = [entry for entry in made.state.log_history if "loss/prediction" in entry]
        lines.append([value for entry in logged for name, value in entry.items() if name.startswith("loss/")])
        asked.append(made.teacher.texts)  # type: ignore[union-attr]
    assert len(lines[0]) == 5 * (3 + 4)
    assert lines[1] == lines[0]
    assert lines[2] == pytest.approx(lines[0], rel=2e-3)  # other padding, and what the optimiser makes of rounding
    assert asked == [80, 80, 40]
