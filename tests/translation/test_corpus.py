"""Parallel text: what is read, what is refused in words, and what is held out leaks into nothing."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.config.translation import Parallel, Translation
from distiller.errors import DataError, MissingPackageError
from distiller.translation.corpus import hold_out, read_corpus, share, usable_sentences
from distiller.translation.doubts import oddities
from distiller.translation.pairs import Pairs, read_pairs, text_fingerprint
from translation.tiny import sentences, vocabulary, write_pairs


def pairs_of(rows: list[tuple[str, str]]) -> Pairs:
    return Pairs("text", [s for s, _ in rows], [t for _, t in rows], list(range(1, len(rows) + 1)))


def corpus(folder: Path, rows: list[tuple[str, str]], **fields: Any) -> Translation:
    return Translation.model_validate(
        {"kind": "translation", "train": write_pairs(folder, "train", rows), "held_out": 2, **fields}
    )


def test_two_files_of_unequal_length_are_refused(tmp_path: Path) -> None:
    names = write_pairs(tmp_path, "x", sentences(5))
    Path(names["target"]).write_text("one\ntwo\n")
    with pytest.raises(DataError, match=r"x.de` has 5 lines and `.*x.en` has 2"):
        read_pairs(Parallel.model_validate(names))


@pytest.mark.parametrize(("side", "row"), [("source", ("  ", "one")), ("target", ("eins", ""))])
def test_an_empty_sentence_is_refused_or_counted(tmp_path: Path, side: str, row: tuple[str, str]) -> None:
    rows = [*sentences(6), row, *sentences(9)[6:]]
    with pytest.raises(DataError, match=f"line 7: the {side} is empty"):
        read_corpus(corpus(tmp_path, rows))
    with pytest.warns(UserWarning, match=r"left out 1 bad row.*line 7"):
        found = read_corpus(corpus(tmp_path, rows, skip_bad=True))
    assert found.skipped == {"train": 1}
    assert len(found.train) + len(found.dev) == 9


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    """Python's own idea of lines would misalign a corpus with one stray separator on one side."""
    (tmp_path / "a.de").write_bytes("eins\u2028zwei\x0bdrei\r\nvier\n".encode())
    (tmp_path / "a.en").write_bytes(b"one two three\nfour")
    found = read_pairs(Parallel(source=str(tmp_path / "a.de"), target=str(tmp_path / "a.en")))
    assert found.source == ["eins\u2028zwei\x0bdrei", "vier"]
    assert found.target == ["one two three", "four"]


def test_columns_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("1\tone\teins\n2\ttwo\tzwei\n")
    found = read_pairs(Parallel(source=str(tmp_path / "x.tsv"), columns=(2, 1)))
    assert (found.source, found.target) == (["eins", "zwei"], ["one", "two"])
    with pytest.raises(DataError, match="line 1 has 3 columns, column 5"):
        read_pairs(Parallel(source=str(tmp_path / "x.tsv"), columns=(0, 5)))


ROWS = [("ein Haus", "a house"), ('er sagt: "ja, gern"', 'he says: "yes, please"'), ("zwei", "two")]


def as_csv(rows: list[tuple[str, str]], first: str, second: str) -> str:
    file = io.StringIO()
    csv.writer(file).writerows([(first, second), *rows])
    return file.getvalue()


def as_objects(rows: list[tuple[str, str]]) -> str:
    return "".join(json.dumps({"id": n, "translation": {"de": s, "en": t}}) + "\n" for n, (s, t) in enumerate(rows))


@pytest.mark.parametrize(
    ("file", "text", "columns"),
    [
        ("x.csv", as_csv(ROWS, "de", "en"), None),
        ("x.csv", as_csv([(t, s) for s, t in ROWS], "target", "source"), None),
        ("x.csv", as_csv(ROWS, "de", "en"), ("de", "en")),
        ("x.csv", as_csv([(t, s) for s, t in ROWS], "en", "de"), (1, 0)),
        ("x.tsv", "en\tde\n" + "".join(f"{target}\t{source}\n" for source, target in ROWS), ("de", "en")),
        ("x.jsonl", as_objects(ROWS), ("translation.de", "translation.en")),
    ],
)
def test_tables_of_pairs_are_read_by_the_names_of_their_columns(
    file: str, text: str, columns: Any, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    found = read_pairs(Parallel(source=str(tmp_path / file), columns=columns))
    assert list(zip(found.source, found.translations, strict=True)) == ROWS


def test_the_two_sides_of_an_object_need_no_names_where_there_are_no_others(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps({"translation": {"de": "ein\nHaus", "en": "a house"}}) + "\n", encoding="utf-8")
    found = read_pairs(Parallel(source=str(file)))
    assert (found.source, found.target) == (["ein Haus"], ["a house"])
    file.write_text(as_objects(ROWS), encoding="utf-8")
    with pytest.raises(DataError, match=r"columns `id`, `translation.de`, `translation.en`, and nothing says which"):
        read_pairs(Parallel(source=str(file)))
    with pytest.raises(DataError, match="has no column `fr`"):
        read_pairs(Parallel(source=str(file), columns=("translation.de", "fr")))


def test_a_table_s_bad_rows_are_left_out_where_that_is_wished(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(as_csv([*ROWS, ("vier", "")], "de", "en") + "a,b,c\n", encoding="utf-8")
    task = Translation.model_validate({"train": {"source": str(tmp_path / "x.csv")}, "held_out": 1})
    with pytest.raises(DataError, match="line 6"):
        read_corpus(task)
    with pytest.warns(UserWarning, match="left out 2 bad row"):
        assert read_corpus(task.model_copy(update={"skip_bad": True})).skipped == {"train": 2}


@pytest.mark.parametrize("name", ["mono.csv", "mono.jsonl.gz", "mono.parquet"])
def test_lines_of_a_table_are_no_sentences(name: str, tmp_path: Path) -> None:
    file = str(tmp_path / name)
    Path(file).write_bytes(b"text\nein Haus\n")
    with pytest.raises(DataError, match="is a table"):
        usable_sentences(file, None, max_tokens=20, skip_bad=False)
    with pytest.raises(DataError, match="is a table"):
        read_pairs(Parallel(source=file, target=file))


def test_a_header_that_is_taken_for_a_pair_is_said(tmp_path: Path) -> None:
    file = tmp_path / "x.tsv"
    for head, said in (("de\ten\n", True), ("source\ttarget\n", True), ("Geh.\tGo.\n", False)):
        file.write_text(head + "".join(f"{s}\t{t}\n" for s, t in sentences(9)), encoding="utf-8")
        task = Translation.model_validate({"train": {"source": str(file)}, "held_out": 2})
        assert any("looks like a header" in one for one in oddities(read_corpus(task))) == said


def test_places_that_hold_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_pairs(Parallel(source=str(tmp_path / "none.de"), target="none.en"))
    with pytest.raises(MissingPackageError, match="is not installed"):
        read_pairs(Parallel(source="package:no-such-package/x.tsv"))
    (tmp_path / "latin.tsv").write_bytes(b"fa\xe7ade\tfront\n")
    with pytest.raises(DataError, match=r"line 1: byte 2 \(0xe7\) is not UTF-8") as caught:
        read_pairs(Parallel(source=str(tmp_path / "latin.tsv")))
    assert "task.encoding=cp1252" in str(caught.value.hint)
    assert read_pairs(Parallel(source=str(tmp_path / "latin.tsv")), "cp1252").source == ["façade"]


def test_compressed_text_is_text(tmp_path: Path) -> None:
    (tmp_path / "x.tsv.gz").write_bytes(gzip.compress(b"eins\tone\nzwei\ttwo\n"))
    assert read_pairs(Parallel(source=str(tmp_path / "x.tsv.gz"))).target == ["one", "two"]


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("tuvwxyz")), min_size=20, max_size=60),
    seed=st.integers(0, 99),
)
def test_what_is_held_out_shares_no_side_with_what_is_left(rows: list[tuple[str, str]], seed: int) -> None:
    text = pairs_of(rows)
    if len(set(text.source)) < 4:
        return
    rest, held = hold_out(text, 3, seed=seed, name="dev")
    assert len(set(held.source)) == 3
    assert not set(rest.source) & set(held.source)
    assert not set(rest.translations) & set(held.translations)
    assert set(zip(held.source, held.translations, strict=True)) <= set(rows)


def test_too_little_text_to_hold_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 distinct source sentences, 2 cannot be held out"):
        hold_out(pairs_of([("a", "x"), ("a", "y"), ("b", "z")]), 2, seed=0, name="dev")


@pytest.mark.parametrize(("sources", "count"), [(11, 2), (300, 30), (5200, 500)])
def test_without_a_number_a_tenth_and_no_more_than_500_are_held_out(sources: int, count: int) -> None:
    text = pairs_of([(f"s{row}", f"t{row}") for row in range(sources)])
    rest, held = hold_out(text, None, seed=0, name="dev")
    assert (len(rest), len(held)) == (sources - count, count)


def test_a_table_whose_first_line_is_a_pair_is_no_table(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("Ein Hund schläft.,A dog sleeps.\nEine Katze schläft.,A cat sleeps.\n", encoding="utf-8")
    with pytest.raises(DataError, match="names no columns: `Ein Hund schläft") as error:
        read_pairs(Parallel(source=str(file)))
    assert "source,target" in str(error.value.hint)
    file.write_text("source,target\n" + file.read_text(encoding="utf-8"), encoding="utf-8")  # as the hint says
    assert len(read_pairs(Parallel(source=str(file)))) == 2
    with pytest.raises(DataError, match="no column `fr`; its columns are `source`, `target`") as error:
        read_pairs(Parallel(source=str(file), columns=("source", "fr")))
    assert "task.columns" not in str(error.value.hint)


def test_shares_of_one_seed_are_nested() -> None:
    text = pairs_of(sentences(200))
    small, large = (share(text, fraction, seed=1) for fraction in (0.05, 0.5))
    assert (len(small), len(large)) == (10, 100)
    assert set(small.source) < set(large.source)
    assert share(text, 0.05, seed=2).source != small.source


def test_the_fingerprint_sees_every_change() -> None:
    text = pairs_of([("a", "b"), ("c", "d")])
    others = [[("a", "b"), ("c", "e")], [("a", "b")], [("a", "d"), ("c", "b")], [("a b", ""), ("c", "d")]]
    prints = {text_fingerprint(text), *(text_fingerprint(pairs_of(rows)) for rows in others)}
    assert len(prints) == 5


def test_over_long_sentences_are_refused_or_counted(tmp_path: Path) -> None:
    file = tmp_path / "x.de"
    file.write_text("eins zwei\n" + "haus " * 60 + "\n\nbaum\n")
    with pytest.raises(DataError, match="line 3: the source is empty"):
        usable_sentences(str(file), vocabulary(), max_tokens=20, skip_bad=False)
    with pytest.warns(UserWarning, match="left out 2 bad row"):
        found = usable_sentences(str(file), vocabulary(), max_tokens=20, skip_bad=True)
    assert found.source == ["eins zwei", "baum"]
    file.write_text("eins zwei\n" + "haus " * 60)
    with pytest.raises(DataError, match=r"line 2: the source has \d+ tokens, more than 20"):
        usable_sentences(str(file), vocabulary(), max_tokens=20, skip_bad=False)
