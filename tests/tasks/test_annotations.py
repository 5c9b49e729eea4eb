"""What tools export is read as what was annotated: classes, tags of words, and nothing that was rejected."""

import json
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks import load_task
from distiller.tasks.annotations import with_tags
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.data import Split, TaggedSplit, TaskData
from distiller.tasks.new_texts import Form, piped_texts, read_new_texts
from distiller.tasks.readers import Layout, read_table
from distiller.tasks.table import Table

TEXTS = ["Ada met Bo Li.", "no one", "Cy, then Di"]
SPANS = [[(0, 3, "PER"), (8, 13, "PER")], [], [(0, 2, "PER"), (9, 11, "DOG")]]
WORDS = [["Ada", "met", "Bo", "Li", "."], ["no", "one"], ["Cy", ",", "then", "Di"]]
TAGS = [["B-PER", "O", "B-PER", "I-PER", "O"], ["O", "O"], ["B-PER", "O", "O", "B-DOG"]]


def studio(value: dict[str, Any], question: str = "label") -> dict[str, Any]:
    return {"from_name": question, "to_name": "text", "type": "labels", "value": value}


def forms() -> dict[str, tuple[str, str]]:
    """Exports of the same spans: name → (file content, column)."""
    rows = list(zip(TEXTS, SPANS, strict=True))
    doccano = [{"id": 1, "text": text, "label": spans} for text, spans in rows]
    relations = [
        {"text": text, "entities": [{"id": 7, "label": w, "start_offset": s, "end_offset": e} for s, e, w in spans]}
        for text, spans in rows
    ]
    prodigy = [
        {"text": text, "spans": [{"start": s, "end": e, "label": w} for s, e, w in spans], "answer": "accept"}
        for text, spans in rows
    ]
    values = [[{"start": s, "end": e, "text": t[s:e], "labels": [w]} for s, e, w in spans] for t, spans in rows]
    full = [
        {"id": 3, "data": {"text": text}, "annotations": [{"result": [studio(value) for value in one]}]}
        for text, one in zip(TEXTS, values, strict=True)
    ]
    spacy = [[text, {"entities": spans}] for text, spans in rows]

    def lines(objects: list[dict[str, Any]]) -> str:
        return "".join(json.dumps(one) + "\n" for one in objects)

    return {
        "doccano.jsonl": (lines(doccano), "label"),
        "relations.jsonl": (lines(relations), "entities"),
        "prodigy.jsonl": (lines(prodigy), "spans"),
        "least.json": (json.dumps([{"text": t, "label": v} for t, v in zip(TEXTS, values, strict=True)]), "label"),
        "full.json": (json.dumps(full), "label"),
        "spacy.json": (json.dumps(spacy), "entities"),
    }


@pytest.mark.parametrize("name", list(forms()))
def test_spans_of_every_tool_become_tags(tmp_path: Path, name: str) -> None:
    content, column = forms()[name]
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    data = load_task(Task(train=str(path), dev=str(path), label=column))
    split = data.splits["dev"]
    assert isinstance(split, TaggedSplit)
    assert [list(words) for words in split.words] == (WORDS if name != "full.json" else [WORDS[0], WORDS[2]])
    found = [[data.labels[tag] for tag in tags] for tags in split.tags or ()]
    assert found == (TAGS if name != "full.json" else [TAGS[0], TAGS[2]])  # no answer there: nobody said


@given(
    st.lists(
        st.tuples(st.text(st.sampled_from("ab .,\u00e9\n京。"), max_size=6), st.sampled_from(["", "X", "Y"])),
        min_size=1,
    )
)
def test_words_hold_the_whole_text_and_tags_are_those_of_their_spans(parts: list[tuple[str, str]]) -> None:
    text, spans, named = "", [], []
    for part, name in parts:
        if name and part.strip():
            spans.append([len(text), len(text) + len(part), name])
            named.append((name, "".join(part.split())))
        text += part
    if not spans:
        return
    with pytest.warns(UserWarning, match="inside of what") if _inside(text, spans) else nullcontext():
        table = with_tags(Table("x", {"text": [text], "label": [spans]}), text="text", label="label", bad=BadRows())
    (words,), (tags,) = table.columns["text"], table.columns["label"]
    assert "".join(words) == "".join(text.split())
    found: list[tuple[str, list[str]]] = []
    for word, tag in zip(words, tags, strict=True):
        if tag.startswith("B-"):
            found.append((tag[2:], [word]))
        elif tag.startswith("I-"):
            found[-1][1].append(word)
    assert [(name, "".join(words)) for name, words in found] == named


def _inside(text: str, spans: list[list[Any]]) -> bool:
    places = [place for start, end, _ in spans for place in (start, end)]
    around = [text[at - 1 : at + 1] for at in places if 0 < at < len(text)]
    return any(two.isalnum() and "京" not in two for two in around)


def test_letters_are_words_where_a_script_has_no_blanks_in_training_and_in_new_texts(tmp_path: Path) -> None:
    rows = [("田中さんは東京に住む。", [[0, 2, "PER"], [5, 7, "LOC"]]), ("ที่เชียงใหม่ fun", [[3, 12, "LOC"]])]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text, "label": spans}) + "\n" for text, spans in rows), "utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no span is inside of a word
        data = load_task(Task(train=str(path), dev=str(path)))
    split = data.splits["dev"]
    assert isinstance(split, TaggedSplit)
    assert split.words[0] == tuple("田中さんは東京に住む。")
    assert split.words[1] == ("ที่", "เ", "ชี", "ย", "ง", "ใ", "ห", "ม่", "fun")
    assert [[data.labels[tag] for tag in tags] for tags in split.tags or ()] == [
        ["B-PER", "I-PER", "O", "O", "O", "B-LOC", "I-LOC", "O", "O", "O", "O"],
        ["O", "B-LOC", *["I-LOC"] * 6, "O"],
    ]
    assert read_new_texts([text for text, _ in rows], Form.of(None), tagging=True).words == list(split.words)
    lines = piped_texts("田中さん。東京に。\n\n住む\n".encode(), Form.of(None), tagging=True)
    assert isinstance(lines, Table)
    assert lines.columns["text"] == ["田中さん。東京に。", "", "住む"]  # and not a word a line


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        ([[0, 3, "PER"], [2, 6, "PER"]], "overlaps another"),
        ([[9, 40, "PER"]], "is no part of the text"),
        ([[-2, 3, "PER"]], "is no part of the text"),
        ([[3, 4, "PER"]], "is no part of the text"),
        ([{"start": 1, "end": 4, "text": "Ada", "labels": ["PER"]}], "is 'da ' here"),
    ],
)
def test_a_span_that_is_none_is_located_or_left_out(spans: list[Any], words: str) -> None:
    table = Table("x.jsonl", {"text": TEXTS[:1] * 2, "label": [SPANS[0], spans]}, [1, 2])
    with pytest.raises(DataError, match="line 2: the span") as caught:
        with_tags(table, text="text", label="label", bad=BadRows())
    assert words in caught.value.message
    assert len(with_tags(table, text="text", label="label", bad=BadRows(leave_out=True))) == 1


def test_what_was_rejected_is_left_out_and_the_first_of_several_annotators_is_read(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "label": "ab"[n % 2], "answer": "reject" if n == 3 else "accept"} for n in range(20)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.warns(UserWarning, match="1 row.s. whose `answer` is `reject`"):
        data = load_task(Task(train=str(path), dev=str(path)))
    assert len(data.splits["train"]) == 19
    assert load_task(Task(train=str(path), dev=str(path), label="answer")).labels == ("accept", "reject")
    rows[4].pop("answer")  # nobody rejected it
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.warns(UserWarning, match="1 row.s. whose `answer` is `reject`"):
        assert len(load_task(Task(train=str(path), dev=str(path))).splits["train"]) == 19
    given = [{"result": [studio({"choices": [name]}, "mood"), "?"]} for name in ("good", "bad")]
    tasks = [{"data": {"text": "x"}, "annotations": [{"was_cancelled": True, "result": []}, *given]}, {"text": "y"}]
    both = tmp_path / "both.json"
    both.write_text(json.dumps(tasks), encoding="utf-8")
    with pytest.warns(UserWarning, match="1 row.s. have several annotations"):
        assert read_table(both).columns == {"text": ["x", "y"], "mood": ["good", None]}


def test_lines_of_fasttext(tmp_path: Path) -> None:
    path = tmp_path / "reviews.txt"
    path.write_text("__label__good , a lovely  film\n__label__bad dull\nno label\n__label__good\n", encoding="utf-8")
    table = read_table(path, Layout(label="mood"))
    assert table.columns == {
        "text": [", a lovely  film", "dull", "no label", ""],
        "mood": ["good", "bad", None, "good"],
    }
    path.write_text("__label__a __label__b both\n__label__a one\n", encoding="utf-8")
    assert read_table(path).columns["label"] == [["a", "b"], ["a"]]
    path.write_text("not known\n__label__a one\n", encoding="utf-8")
    assert read_table(path).columns == {"text": ["not known", "one"], "label": [None, "a"]}
    path.write_text("label\ttext\n__label__a\tone\n", encoding="utf-8")
    assert read_table(path).columns == {"label": ("__label__a",), "text": ("one",)}


def test_tables_of_pandas_by_row_and_by_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    for value in (
        {"columns": ["text", "label"], "index": [4, 9], "data": [["a", "x"], ["b", "y"]]},
        {"4": {"text": "a", "label": "x"}, "9": {"text": "b", "label": "y"}},
    ):
        path.write_text(json.dumps(value), encoding="utf-8")
        assert read_table(path).columns == {"text": ["a", "b"], "label": ["x", "y"]}


def test_rows_of_cells_have_one_for_each_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    for row in (["b"], ["b", "y", "z"], "by", 3):
        path.write_text(json.dumps({"columns": ["text", "label"], "data": [["a", "x"], row]}), encoding="utf-8")
        with pytest.raises(DataError, match="row 2: not a JSON object"):
            read_table(path)
        assert read_table(path, bad=BadRows(leave_out=True)).columns == {"text": ["a"], "label": ["x"]}


@pytest.mark.parametrize("cells", [["good", "bad"], [0, 7], [0.0, 1.0]])
def test_what_a_parquet_file_says_of_columns_that_changed_is_not_believed(tmp_path: Path, cells: list[Any]) -> None:
    label = {"names": ["worse", "better"], "_type": "ClassLabel"}
    features = {"words": [{"dtype": "string", "_type": "Value"}], "label": label, "gone": label}
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"text": ["a", "b"], "label": cells})
    path = tmp_path / "train.parquet"
    parquet.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path
    )
    with pytest.warns(UserWarning, match="`label` is read as it is"):
        found = read_table(path)
    assert found.columns == {"text": ["a", "b"], "label": cells}
    assert "label" not in found.declared


def test_a_parquet_file_says_its_classes(tmp_path: Path) -> None:
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "words": [{"dtype": "string", "_type": "Value"}],
        "label": {"names": ["worse", "better"], "_type": "ClassLabel"},
    }
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"text": [f"t{n}" for n in range(8)], "label": [1, 0, 1, 0, 1, 0, 1, -1]})
    path = tmp_path / "train.parquet"
    parquet.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path
    )
    data = load_task(Task(train=str(path), dev_fraction=0.4))
    assert data.labels == ("worse", "better")  # in the order of their ids
    assert read_table(path).columns["label"][-2:] == ["better", None]


def test_lists_of_one_name_are_classes_that_exclude_each_other(tmp_path: Path) -> None:
    def load(labels: list[list[str]], **fields: Any) -> TaskData:
        rows = [{"text": f"text {n}", "label": labels[n % len(labels)]} for n in range(12)]
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return load_task(Task(train=str(path), **fields))

    data = load([["a"], ["b"]])
    assert data.kind == load([["a"], ["b"]], kind="classification").kind == "classification"
    assert any("several need task.kind=multilabel" in note for note in data.notes)
    assert isinstance(data.splits["train"], Split)
    assert load([["a"], ["b"]], kind="multilabel").kind == load([["a"], ["a", "b"]]).kind == "multilabel"


def test_one_word_in_every_row_is_no_sentence(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("text,label\nAda,B-PER\nmet,O\nBo,B-PER\n", encoding="utf-8")
    with pytest.raises(DataError, match="one word in every row"):
        load_task(Task(train=str(path), kind="tagging"))
