"""New texts for a model: files written otherwise than those of its run, without labels, with bad rows."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from distiller.config import Run, parse_run
from distiller.errors import ConfigError, DataError, Notice
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.new_texts import Form, NewTexts, piped_texts, read_new_questions, read_new_texts
from distiller.tasks.questions import question_split

LINES = "the film, was good\na bleak plot\n"
TEXTS = ["the film, was good", "a bleak plot"]
WORDS = "the\nfilm\n\nwas\n"
SENTENCES = [("the", "film"), ("was",)]


def run(**task: Any) -> Run:
    return parse_run({"task": {"train": "learnt.csv", **task}})


def read(given: Any, made: Run | None = None, *words: str, skip_bad: bool = False, tagging: bool = False) -> NewTexts:
    return read_new_texts(given, Form.of(made, overrides=words, skip_bad=skip_bad), tagging=tagging)


def texts(found: NewTexts) -> list[str]:
    return list(found.table.column(found.text))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("new.csv", '"the film, was good"\na bleak plot\n'),  # the run's form without its labels
        ("new.csv", 'no;"the film, was good"\nyes;a bleak plot\n'),  # the run's form
        ("new.csv", 'id,text\n1,"the film, was good"\n2,a bleak plot\n'),  # a header, and another separator
        ("new.tsv", "text\tid\nthe film, was good\t1\na bleak plot\t2\n"),
        ("new.txt", LINES),
        ("new.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)),
        ("new.json", json.dumps({"rows": [{"text": text} for text in TEXTS]})),
    ],
)
def test_files_need_not_be_written_as_those_of_the_run(tmp_path: Path, name: str, content: str) -> None:
    made = run(columns=["label", "text"], separator=";", encoding="cp1252")
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert texts(read(path, made)) == TEXTS
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert texts(read(packed, made)) == TEXTS


def test_one_column_of_another_name_has_the_texts_unless_a_name_was_given(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text('review\n"the film, was good"\na bleak plot\n', encoding="utf-8")
    assert texts(read(path, run())) == TEXTS
    with pytest.raises(DataError, match="no column `sentence`"):
        read(path, run(), "task.text=sentence")
    with pytest.raises(DataError, match="no column `sentence`"):
        read_new_texts(path, Form.of(run(), text="sentence"))
    path.write_text("a bleak plot\nanother one\n", encoding="utf-8")  # no header: its first text must not be lost
    with pytest.raises(DataError, match="no column `text`"):
        read(path, run())


@pytest.mark.parametrize(
    ("pair", "header", "taken"),
    [
        (None, "ID,Text,score", "Text"),
        (None, "id,review,score", "review"),
        (None, "title,review,score", None),
        (None, "sentence1,sentence2,score", None),
        (None, "7,the film,2", None),
        ("text_pair", "Premise,Hypothesis,score", "Premise"),
        ("text_pair", "id,review,score", None),
    ],
)
def test_new_texts_are_read_by_their_usual_names(
    tmp_path: Path, pair: str | None, header: str, taken: str | None
) -> None:
    path = tmp_path / "new.csv"
    first, second = (f"{{n}} {name}" if name[1:] != "d" else "{n}" for name in header.lower().split(",")[:2])
    rows = "".join(f"{first},{second} of old,{{n}}.5\n".format(n=n) for n in range(5))
    path.write_text(f"{header}\n{rows}", encoding="utf-8")
    if taken is None:
        with pytest.raises(DataError, match="no column `text`") as caught:
            read(path, run(text_pair=pair))
        assert "task.label" not in str(caught.value.hint)
        return
    with pytest.warns(Notice, match=f"columns are taken to be task.text={taken}"):
        found = read(path, run(text_pair=pair))
    assert (found.text, len(found.table)) == (taken, 5)


def test_the_encoding_of_the_run_is_for_files_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    for encoding in ("utf-8", "cp1252"):
        path.write_text("café", encoding=encoding)
        assert texts(read(path, run(encoding="cp1252"))) == ["café"]
    assert texts(read(path, None, "task.encoding=cp1252")) == ["café"]
    with pytest.raises(DataError, match="is not UTF-8") as told:
        read(path)
    assert "task.encoding=" in (told.value.hint or "")


def test_lines_keep_their_places_whatever_is_in_them(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    path.write_bytes("one\x0btwo\u2028three\r\n\nlast\r\n\n".encode())
    found = read(path)
    with pytest.warns(UserWarning, match="line 2: `text` is blank"):
        found.table.texts(found.text)
    assert texts(found) == ["one\x0btwo\u2028three", "", "last"]
    path.write_bytes(b"one\rtwo\r")
    assert texts(read(path)) == ["one", "two"]
    path.write_text("label\ttext\nno\tone\n", encoding="utf-8")
    assert texts(read(path)) == ["one"]


def test_rows_that_cannot_be_used_are_refused_or_left_out_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"text": "one"}\nnot json\n{"text": null}\n{"text": "two"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 2: not JSON") as told:
        read(path)
    assert "--skip-bad" in (told.value.hint or "")
    for words, skip_bad in (((), True), (("task.skip_bad=true",), False)):
        with pytest.warns(UserWarning, match="left out 2 bad row"):
            found = read(path, None, *words, skip_bad=skip_bad)
        assert texts(found) == ["one", "two"]
        assert [line.split(": ")[0][-6:] for line in found.left_out] == ["line 2", "line 3"]


@pytest.mark.parametrize("name", ["new.conll", "new.txt", "new.conllu"])
def test_a_tagger_reads_words_without_tags(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(WORDS, encoding="utf-8")
    made = run(train="learnt.conll", columns=["text", "lemma", "label"], kind="tagging")
    for one in (None, made):
        found = read(path, one, tagging=True)
        assert (found.words, texts(found)) == (
            SENTENCES,
            [list(words) for words in SENTENCES],
        ) or found.words == SENTENCES
    assert read(piped_texts(WORDS.encode(), Form.of(None), tagging=True), tagging=True).words == SENTENCES


def test_a_tagger_reads_the_form_it_learnt_and_lists_as_pandas_writes_them(tmp_path: Path) -> None:
    tagged = tmp_path / "new.txt"
    tagged.write_text("the O\nfilm B\n\nwas O\n", encoding="utf-8")
    assert read(tagged, run(train="learnt.txt", kind="tagging"), tagging=True).words == SENTENCES
    assert read(tagged, run(train="learnt.csv"), tagging=True).words == [("the", "O"), ("film", "B"), (), ("was", "O")]
    table = tmp_path / "new.csv"
    table.write_text("text,id\n\"['the', 'film']\",1\n['was'],2\n", encoding="utf-8")
    assert read(table, tagging=True).words == SENTENCES
    lists = tmp_path / "new.jsonl"
    lists.write_text('{"text": ["the", "film"]}\n{"text": []}\n{"text": ["was"]}\n', encoding="utf-8")
    with pytest.warns(UserWarning, match="line 2: `text` is an empty list"):
        assert read(lists, tagging=True, skip_bad=True).words == SENTENCES


def test_standard_input_is_lines_and_says_what_it_is_not() -> None:
    form = Form.of(None)
    for data in (LINES.encode(), gzip.compress(LINES.encode()), LINES.encode("utf-16")):
        assert texts(read(piped_texts(data, form))) == TEXTS
    for data, words in ((b"", "has no text"), (b'{"text": "a"}', "JSON objects"), (b"\xff", "is not UTF-8")):
        with pytest.raises(DataError, match=words):
            piped_texts(data, form)
    assert texts(read(piped_texts(b"caf\xe9", Form.of(None, overrides=["task.encoding=latin-1"])))) == ["café"]


@pytest.mark.parametrize("word", ["task.kind=tagging", "task.train=x.csv", "training.epochs=3"])
def test_what_says_nothing_about_reading_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="says nothing about how texts are read"):
        Form.of(None, overrides=[word])


def test_what_a_file_cannot_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"text": "one"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="separator has no meaning"):
        read(path, None, "task.separator=,")
    assert texts(read(path, run(separator=";"))) == ["one"]  # what the run said of its own file is not asked for here


def test_questions_of_a_table_need_no_ids(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("question,context\nwho?,a cat sat\nwhere?,a cat sat\n", encoding="utf-8")
    table, _ = read_new_questions(path, Form.of(None))
    assert list(table.column("id")) == ["1", "2"]


def test_questions_that_nothing_answers_are_asked_too(tmp_path: Path) -> None:
    asked = [{"id": str(n), "question": "Who?", "is_impossible": bool(n), "answers": []} for n in range(2)]
    path = tmp_path / "v2.json"
    path.write_text(json.dumps({"version": "v2.0", "data": [{"paragraphs": [{"context": "She.", "qas": asked}]}]}))
    table, _ = read_new_questions(path, Form.of(None))
    assert question_split("predict", table, BadRows(), labelled=False).question_ids == ("0", "1")


def test_of_texts_without_a_header_the_hint_says_how_they_are_named(tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("a good film\nbad story\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_new_texts(str(file), Form.of(None))
    assert "task.columns=[…]" in str(caught.value.hint)
    found = read_new_texts(str(file), Form.of(None, overrides=["task.columns=[text]"]))
    assert [*found.table.column("text")] == ["a good film", "bad story"]
