"""A masked language model trained on a task's own text."""

from pathlib import Path

import pytest

from augment.stubs import KNOWN, RANKING, rngs, write_masked_lm
from distiller.augment.contextual import contextual
from distiller.augment.passage import split_words
from distiller.augment.train_masked_lm import train_masked_lm
from distiller.errors import ConfigError, DataError, OutputError

CONFIG = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TEXTS = [f"the {a} {b} was great ." for a in ("silly", "good", "bad") for b in ("film", "story", "plot", "actor")] * 2
OPTIONS = {"batch_size": 8, "learning_rate": 0.03, "max_length": 16, "mask_probability": 0.3}


def test_the_loss_falls_and_the_folder_is_a_masked_language_model(masked_lm: str, tmp_path: Path) -> None:
    folder = tmp_path / "mlm"
    result = train_masked_lm(TEXTS, folder, tokenizer=masked_lm, config=CONFIG, steps=30, **OPTIONS)
    assert result.steps == 30
    assert result.loss < result.loss_before - 0.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlm"]
    [edit] = contextual([split_words("the silly film")], rngs(1), model=str(folder), p=1.0)
    assert isinstance(edit, tuple)
    assert {word for words in edit for word in words} <= {*RANKING, *KNOWN, "film"}


def test_it_starts_from_an_encoder_and_stops_in_time(tmp_path: Path) -> None:
    start = write_masked_lm(tmp_path / "start")
    result = train_masked_lm(TEXTS, tmp_path / "mlm", start=start, steps=10_000, minutes=1e-6, **OPTIONS)
    assert result.steps == 1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_loss(masked_lm: str, tmp_path: Path) -> None:
    results = [
        train_masked_lm(TEXTS, tmp_path / str(n), tokenizer=masked_lm, config=CONFIG, steps=3, seed=seed, **OPTIONS)
        for n, seed in enumerate((0, 0, 1))
    ]
    assert results[0][3:] == results[1][3:] != results[2][3:]


def test_what_cannot_be_trained_is_refused(masked_lm: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="already there"):
        train_masked_lm(TEXTS, tmp_path, tokenizer=masked_lm)
    with pytest.raises(ConfigError, match="needs an encoder to start from"):
        train_masked_lm(TEXTS, tmp_path / "a")
    with pytest.raises(DataError, match=r"1 text\(s\)"):
        train_masked_lm(["one", "one", " "], tmp_path / "a", tokenizer=masked_lm, config=CONFIG)
    assert not any(tmp_path.iterdir())
