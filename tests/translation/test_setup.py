"""What a run learns from: pseudo-labels of finished jobs, and what `check` says before anything is trained."""

from pathlib import Path
from typing import Any

import pytest

from distiller.cache.folders import FolderCache
from distiller.errors import ConfigError, DataError, Notice
from distiller.jobs import SUMMARY
from distiller.run import check
from distiller.translation import token_rows
from distiller.translation.beginning import begin
from distiller.translation.corpus import Splits, read_corpus
from distiller.translation.gold import gold_data
from distiller.translation.pseudo_labels import RESULT, Summary
from distiller.translation.sequence import PseudoPairs, given_translations, pseudo_pairs
from distiller.translation.translators import Labelled, Scored
from translation.tiny import SHAPE, sentences, tiny_run, write_pairs


def finished_job(folder: Path, rows: list[tuple[str, list[str]]]) -> str:
    """A folder as `pseudo_label` leaves it."""
    folder.mkdir(parents=True)
    lines = []
    for row, (source, texts) in enumerate(rows):
        hypotheses = [Scored(text=text, score=-position, tokens=2) for position, text in enumerate(texts)]
        lines.append(Labelled(row=row, source=source, hypotheses=hypotheses).model_dump_json())
    (folder / RESULT).write_text("\n".join(lines) + "\n", encoding="utf-8")
    summary = Summary(sentences=len(rows), tokens=2, seconds=1, tokens_per_second=2, engine="transformers")
    (folder / SUMMARY).write_text(summary.model_dump_json(), encoding="utf-8")
    return str(folder)


def learnt(folder: Path, job: str, **sequence: Any) -> tuple[PseudoPairs, Splits]:
    run = tiny_run(folder, sequence={"pseudo_labels": [job], **sequence})
    splits = read_corpus(run.task)
    nothing: Any = None  # a finished job asks neither vocabulary nor teacher
    given = given_translations(run, splits)
    return pseudo_pairs(run, splits, nothing, nothing, FolderCache(folder), None, given), splits


def test_local_update_takes_what_is_closest_to_the_gold_pair_also_from_a_finished_job(tmp_path: Path) -> None:
    pairs = sentences(300)[:260]
    rows = [(source, ["zzz", "one one one one one", target]) for source, target in pairs[::-1]]
    job = finished_job(tmp_path / "job", [*rows, ("anderswo", ["first", "second"])])
    found, _ = learnt(tmp_path, job, seq_inter="local_update")
    assert dict(zip(found.source, found.target, strict=True)) == {**dict(pairs), "anderswo": "first"}
    assert found.notes == [f"1 sentences of `{job}` have no gold translation: the best one is taken"]


def test_held_out_sentences_teach_nothing(tmp_path: Path) -> None:
    pairs = sentences(300)  # the last 40 are the development pairs
    job = finished_job(tmp_path / "job", [(source, [target]) for source, target in pairs])
    found, splits = learnt(tmp_path, job)
    assert found.source == splits.train.source
    assert "40 pseudo-labels" in found.notes[0]


def test_a_job_that_leaves_nothing_to_choose_is_refused(tmp_path: Path) -> None:
    single = finished_job(tmp_path / "single", [(sentences(1)[0][0], ["one"])])
    with pytest.raises(DataError, match="nothing to choose") as caught:
        learnt(tmp_path, single, seq_inter="local_update")
    assert "--n-best" in str(caught.value.hint)
    foreign = finished_job(tmp_path / "foreign", [("anderswo", ["one", "two"])])
    with pytest.raises(DataError, match=r"no sentence of .* is a training pair"):
        learnt(tmp_path, foreign, seq_inter="local_update")
    assert "another text" in learnt(tmp_path, foreign)[0].notes[0]
    with pytest.raises(ConfigError, match="n_best is 1"):
        tiny_run(tmp_path, sequence={"seq_inter": "local_update"})
    said = {"translations": ["first.tsv", "second.tsv"]}  # which may hold several of a sentence
    assert tiny_run(tmp_path, teacher=said, sequence={"seq_inter": "local_update"}).sequence
    with pytest.raises(ConfigError, match=r"translations in first\.tsv are there already"):
        tiny_run(tmp_path, teacher=said, sequence={"n_best": 2})


def test_check_refuses_what_a_run_refuses(tmp_path: Path) -> None:
    long = (" ".join(["eins"] * 700), "one")
    pairs = [*sentences(80), long]
    fields = {"train": write_pairs(tmp_path, "long", pairs), "held_out": 20}
    with pytest.raises(DataError, match=r"line 81: the source has \d+ tokens, more than 128") as caught:
        check(tiny_run(tmp_path, task=fields))
    assert "--skip-bad" in str(caught.value.hint)
    assert "max_length" not in str(caught.value.hint)  # no model here takes so many
    outline = check(tiny_run(tmp_path, task=fields | {"skip_bad": True}))
    assert outline.beginning.splits.skipped == {"train": 1}
    both = {"train": write_pairs(tmp_path, "both", [*sentences(80), (long[0], " ".join(["one"] * 700))])}
    with pytest.warns(Notice, match="left out 1 bad row"):
        check(tiny_run(tmp_path, task=fields | both | {"skip_bad": True}))
    check(tiny_run(tmp_path, student={"shape": SHAPE, "init": "teacher"}))  # layers of one that is yet to be trained
    with pytest.raises(DataError, match="no vocabulary of 9000"):
        check(tiny_run(tmp_path, vocabulary={"size": 9000}))


def test_a_long_text_is_not_tokenized_again_when_the_run_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(tmp_path)
    store = FolderCache(tmp_path / "cache")
    monkeypatch.setattr(token_rows, "KEPT", 1)
    first = begin(run)
    monkeypatch.setattr(token_rows, "encoded", None)
    again = begin(run)
    assert (again.splits.train.source, again.splits.dev.source) == (first.splits.train.source, first.splits.dev.source)
    train = first.splits.train
    examples = gold_data(first.words.tokenizer, train, first.splits.dev, run, store).examples
    assert [row.tolist() for row in examples.target] == first.words.tokenizer.encode_targets(train.translations)
