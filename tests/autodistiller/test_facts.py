from pathlib import Path

import pytest

from distiller.autodistiller.bilstm import bilstm_score
from distiller.autodistiller.facts import facts_of, read_facts, write_facts
from distiller.config import Task
from distiller.errors import DataError
from distiller.files import read_sealed, write_sealed
from distiller.tasks import load_task
from run.tiny import pairs, reviews, stars, write


def file(folder: Path, rows: list[dict[str, str]]) -> Task:
    write(folder / "rows.csv", rows)
    return Task(train=str(folder / "rows.csv"))


def test_facts_of_a_file(tmp_path: Path) -> None:
    facts = facts_of(file(tmp_path, reviews(100, seed=0)), name="reviews", bilstm=False, description="Judge films.")
    assert (facts.examples, facts.labels, facts.pairs, facts.kind) == (90, 2, False, "classification")
    assert facts.words["good"] > 0
    assert facts.description == "Judge films."
    assert facts.bilstm is None
    assert read_facts(write_facts({"reviews": facts}, tmp_path / "known.tasks.json")) == {"reviews": facts}


def test_facts_of_pairs_and_numbers(tmp_path: Path) -> None:
    write(tmp_path / "pairs.csv", pairs(80))
    task = Task(train=str(tmp_path / "pairs.csv"), text="first", text_pair="second", label="verdict")
    assert facts_of(task, name="pairs", bilstm=False).pairs
    numbers = facts_of(file(tmp_path, stars(80)), name="stars", bilstm=False)
    assert (numbers.kind, numbers.labels) == ("regression", 1)


def test_too_few_examples_and_one_label_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 50"):
        facts_of(file(tmp_path, reviews(30, seed=0)), name="reviews", bilstm=False)
    same = [{**row, "label": "good"} for row in reviews(100, seed=0)]
    with pytest.raises(DataError, match="label"):
        facts_of(file(tmp_path, same), name="reviews", bilstm=False)


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"a": {"nam": 1}}'):
        (tmp_path / "known.tasks.json").write_text(text, "utf-8")
        with pytest.raises(DataError, match=r"known\.tasks\.json"):
            read_facts(tmp_path / "known.tasks.json")


def test_the_bilstm_learns_and_remembers(tmp_path: Path) -> None:
    """The signal is one word, so that it must be found; the second call reads what the first one wrote."""
    data = load_task(file(tmp_path, reviews(400, seed=0)))
    score = bilstm_score(data, cache=tmp_path, epochs=3)
    assert score > 0.9
    (kept,) = (tmp_path / "bilstm").iterdir()
    assert read_sealed(kept)["score"] == score
    write_sealed(kept, {"score": 0.123})
    assert bilstm_score(data, cache=tmp_path, epochs=3) == 0.123
    kept.write_text(kept.read_text().replace("0.123", "0.923"))
    with pytest.warns(UserWarning, match="is damaged: it is made again"):
        assert bilstm_score(data, cache=tmp_path, epochs=3) == score


def test_the_bilstm_reads_pairs_and_numbers(tmp_path: Path) -> None:
    write(tmp_path / "pairs.csv", pairs(100))
    task = Task(train=str(tmp_path / "pairs.csv"), text="first", text_pair="second", label="verdict")
    assert 0 <= bilstm_score(load_task(task), cache=tmp_path, epochs=1) <= 1
    assert bilstm_score(load_task(file(tmp_path, stars(300))), cache=tmp_path, epochs=4) > 0.5
