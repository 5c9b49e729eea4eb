"""AdamW by rows of a table makes what AdamW makes of the whole table, and a training by it is the same training."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from distiller import config
from distiller.models.taught_words import TaughtEmbedding
from distiller.training.fit import ScoredTrainer, fit
from distiller.training.table_rows import TableAdamW, clip_grad_norm, sparse_gradients, table_of
from training.tiny import job, student, teacher, term, weights_of

OBJECTIVE = config.Objective(gamma1=0.5, intermediate=[term("mse", weight=config.Share(share=0.3))])


class Words(nn.Module):
    """A table of 50 words and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8, padding_idx=0)
        self.layer = nn.Linear(8, 3)

    def loss(self, words: torch.Tensor) -> torch.Tensor:
        return self.layer(self.table(words)).square().mean()


def pair(decay: float) -> tuple[tuple[Words, Any], tuple[Words, Any]]:
    """The same model twice, with AdamW and with that by rows."""
    torch.manual_seed(0)
    whole = Words()
    rows = copy.deepcopy(whole)
    options: dict[str, Any] = {"lr": 1e-2, "weight_decay": decay, "fused": True}
    return (whole, torch.optim.AdamW(whole.parameters(), **options)), (rows, TableAdamW(rows.parameters(), **options))


def train(model: Words, optimizer: Any, steps: range) -> list[float]:
    """Norms of the gradients of some steps, each of other words, at a falling rate, clipped."""
    norms = []
    for step in steps:
        words = torch.randint(0, 50, (2, 4), generator=torch.Generator().manual_seed(step))
        sparse = isinstance(optimizer, TableAdamW) and step != 7  # one gradient of the whole table among them
        with sparse_gradients(model.table if sparse else None):
            for half in words:  # two backward passes, which add up
                model.loss(half).backward()
        clip = clip_grad_norm if isinstance(optimizer, TableAdamW) else torch.nn.utils.clip_grad_norm_
        norms.append(float(clip(model.parameters(), 0.05)))
        optimizer.param_groups[0]["lr"] = 1e-2 / (1 + step)
        optimizer.step()
        optimizer.zero_grad()
    return norms


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("steps", [5, 20])
def test_rows_are_moved_as_adamw_moves_the_whole_table(steps: int, decay: float) -> None:
    whole, rows = pair(decay)
    assert train(*rows, range(steps)) == pytest.approx(train(*whole, range(steps)), rel=1e-5)
    torch.testing.assert_close(rows[0].state_dict(), whole[0].state_dict(), rtol=1e-6, atol=1e-7)
    assert rows[1].state_dict()["param_groups"] == whole[1].state_dict()["param_groups"]
    torch.testing.assert_close(rows[1].state_dict()["state"], whole[1].state_dict()["state"], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("reader", ["whole", "rows"])
@pytest.mark.parametrize("writer", ["whole", "rows"])
def test_each_of_the_two_goes_on_from_what_the_other_wrote(reader: str, writer: str) -> None:
    both = dict(zip(["whole", "rows"], pair(0.01), strict=True))
    for model, optimizer in both.values():
        train(model, optimizer, range(5))
    model, optimizer = dict(zip(["whole", "rows"], pair(0.01), strict=True))[reader]
    model.load_state_dict(both[writer][0].state_dict())
    optimizer.load_state_dict(copy.deepcopy(both[writer][1].state_dict()))
    train(model, optimizer, range(5, 12))
    train(*both["whole"], range(5, 12))
    torch.testing.assert_close(model.state_dict(), both["whole"][0].state_dict(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_by_rows_is_the_same_training(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = {"epochs": 3, "batch_size": 4, "accumulate": 2, "max_grad_norm": 0.5, "weight_decay": 0.1}
    training = config.Training.model_validate({**wish, "precision": precision})
    optimizers: list[Any] = []
    prepared = ScoredTrainer.create_optimizer

    def kept(self: ScoredTrainer) -> Any:
        optimizers.append(prepared(self))
        return optimizers[-1]

    monkeypatch.setattr(ScoredTrainer, "create_optimizer", kept)
    students = [student() for _ in range(2)]
    for by_rows, model in zip((True, False), students, strict=True):
        if not by_rows:
            monkeypatch.setattr(ScoredTrainer, "_steps_by_rows", lambda _: False)
        fit(
            model,
            job(64),
            training,
            objective=OBJECTIVE,
            folder=tmp_path / str(by_rows),
            seed=0,
            title="",
            teacher=teacher(),
            select_best=False,
        )
    rows, whole = optimizers
    assert isinstance(rows, TableAdamW)
    assert len(rows._tables) == 1
    assert type(whole) is torch.optim.AdamW
    close = 1e-5 if precision == "fp32" else 1e-3
    torch.testing.assert_close(weights_of(students[0]), weights_of(students[1]), rtol=1e-4, atol=close)
    assert not students[0].get_input_embeddings().sparse  # whoever trains it next has gradients of the whole table


def test_only_a_table_that_nothing_else_reads_is_moved_by_rows() -> None:
    model = student()
    table = model.get_input_embeddings()
    assert table_of(model) is table
    model.set_input_embeddings(TaughtEmbedding(table, torch.zeros(100, 4)))
    assert table_of(model) is model.get_input_embeddings()
    table.weight.requires_grad_(False)
    assert table_of(model) is None
    shape = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    assert table_of(BertForMaskedLM(shape)) is None  # its output layer has the same weights
    assert table_of(Words()) is None
