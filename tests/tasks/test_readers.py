"""Files written by someone else's writer come back cell by cell; what cannot be read is said in one line."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks import load_task
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.readers import Layout, read_plain_tsv, read_table

CELL = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=12),
    st.text(st.sampled_from('a"\t,\n \u2028é😀'), max_size=8),
)
ROWS = st.lists(st.tuples(st.sampled_from(["0", "1"]), CELL), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def refused(path: Path, content: bytes | str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.filterwarnings("ignore:.*quotes join")
@pytest.mark.parametrize(("ending", "dialect"), [("csv", "excel"), ("tsv", "excel-tab")])
@given(rows=ROWS, bom=st.booleans())
@settings(deadline=None, max_examples=150)
def test_what_the_csv_module_writes_is_read_back(
    folder: Path, ending: str, dialect: str, rows: list[tuple[str, str]], bom: bool
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, dialect=dialect)
    writer.writerows([("label", "text"), *rows])
    path = folder / f"round.{ending}"
    path.write_bytes(text.getvalue().encode("utf-8-sig" if bom else "utf-8"))
    table = read_table(path)
    assert list(zip(table.columns["label"], table.columns["text"], strict=True)) == rows


@given(rows=ROWS, ascii=st.booleans())
@settings(deadline=None, max_examples=100)
def test_what_the_json_module_writes_is_read_back(folder: Path, rows: list[tuple[str, str]], ascii: bool) -> None:
    objects = [{"label": int(label), "text": text} for label, text in rows]
    lines, whole = folder / "round.jsonl", folder / "round.json"
    lines.write_text("".join(json.dumps(o, ensure_ascii=ascii) + "\n" for o in objects), encoding="utf-8", newline="")
    whole.write_text(json.dumps(objects, ensure_ascii=ascii), encoding="utf-8", newline="")
    for path in (lines, whole):
        table = read_table(path)
        assert [
            {"label": label, "text": text}
            for label, text in zip(table.columns["label"], table.columns["text"], strict=True)
        ] == objects


def test_parquet_is_read_and_has_rows_instead_of_lines(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"text": ["ä", None], "label": [1, 0]}), path)
    table = read_table(path)
    assert table.columns == {"text": ["ä", None], "label": [1, 0]}
    with pytest.raises(DataError, match=r"rows\.parquet`, row 2: `text` is missing"):
        table.texts("text")


def test_quotes_of_a_tsv_that_quotes_nothing_are_text(tmp_path: Path) -> None:
    path = tmp_path / "plain.tsv"
    path.write_text('text\tlabel\n" so he said\t0\n"good" film\t1\n', encoding="utf-8")
    assert read_table(path).columns["text"] == ('" so he said', '"good" film')


def test_quotes_that_join_lines_of_a_tsv_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "joined.tsv"
    path.write_text('text\tlabel\n"one\t0\ntwo"\t1\n', encoding="utf-8")
    with pytest.warns(UserWarning, match="quotes join 1 line"):
        assert read_table(path).columns["text"] == ("one\t0\ntwo",)


def test_a_cell_may_be_longer_than_the_csv_module_allows(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    before = csv.field_size_limit()
    path.write_text(f"text,label\n{'x' * 200_000},1\n", encoding="utf-8")
    assert len(read_table(path).columns["text"][0]) == 200_000
    assert csv.field_size_limit() == before


def test_lines_are_those_of_an_editor(tmp_path: Path) -> None:
    path = tmp_path / "lines.csv"
    path.write_text('text,label\n"two\nlines",a\n\nlast,\n', encoding="utf-8")
    table = read_table(path)
    assert list(table.lines or ()) == [2, 5]
    with pytest.raises(DataError, match="line 5: `label` is empty"):
        table.classes("label")


def test_bytes_that_are_not_utf8_are_located(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    body = b"text,label\nfine,0\n" + "café,1\n".encode("latin-1")
    at = body.index(b"\xe9")
    assert f"line 3: byte {at} (0xe9)" in refused(path, body)
    assert f"line 3: byte {at + 3} (0xe9)" in refused(path, b"\xef\xbb\xbf" + body)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json"])
def test_an_empty_file_is_refused(tmp_path: Path, ending: str) -> None:
    assert "is empty" in refused(tmp_path / f"none.{ending}", "[]" if ending == "json" else "")
    assert "nothing in it" in refused(tmp_path / "blank.csv", "\n\n")
    assert "only a header" in refused(tmp_path / "header.tsv", "text\tlabel\n")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ragged.csv", "text,label\na,1\nb,c,1\n", "line 3: 3 cells, where there should be 2"),
        ("ragged.tsv", "text\tlabel\na\t1\nb\n", "line 3: 1 cells, where there should be 2"),
        ("open.csv", 'text,label\n"a,1\nb,1\n', "line 2: unexpected end of data"),
        ("cut.jsonl", '{"text": "a"}\n{"text": \n', "line 2: not JSON"),
        ("list.jsonl", '{"text": "a"}\n["b"]\n', "line 2: not a JSON object but ['b']"),
        ("object.json", '{"text": "a"}', "not a list of objects"),
        ("list.json", '[{"text": "a"}, 3]', "row 2: not a JSON object but 3"),
        ("text.parquet", "PAR1 not really", "cannot be read as Parquet"),
        ("text.docx", "text", "an ending that is not read"),
    ],
)
def test_what_cannot_be_read_is_located(tmp_path: Path, name: str, content: str, words: str) -> None:
    message = refused(tmp_path / name, content)
    assert words in message
    assert name in message


@pytest.mark.parametrize("name", ["reviews.csv.zip", "reviews.tar", "book.xlsx"])
def test_what_is_packed_is_to_be_unpacked(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DataError, match="an ending that is not read") as caught:
        read_table(tmp_path / name)
    assert (caught.value.hint or "").startswith("unpack it, or save it as .csv")


def test_an_absent_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text\na\n", encoding="utf-8")
    with pytest.raises(DataError, match="there is no file") as caught:
        read_table(tmp_path / "trian.csv")
    assert caught.value.hint == "did you mean `train.csv`?"
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_table(tmp_path / "folder.csv")


def test_plain_tsv_keeps_quotes_and_skips_broken_rows_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "plain.tsv"
    path.write_text('q\tlabel\r\n"a" b\t1\r\nbroken\r\nc\t0\r\n', encoding="utf-8", newline="")
    with pytest.raises(DataError, match="line 3: 1 cells"):
        read_plain_tsv(path)
    with pytest.warns(UserWarning, match=r"left out 1 bad row\(s\), the first: .*line 3"):
        table = read_plain_tsv(path, skip_ragged=True)
    assert table.columns == {"q": ('"a" b', "c"), "label": ("1", "0")}
    assert list(table.lines or ()) == [2, 4]


def test_half_a_surrogate_pair_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "half.jsonl"
    path.write_text('{"text": "fine"}\n{"text": "é\\ud83d"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 2: `text` holds half of a surrogate pair at character 1"):
        read_table(path).texts("text")


def test_blank_texts_are_warned_of_and_numbers_are_not_texts(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text('{"text": " ", "label": 5}\n', encoding="utf-8")
    with pytest.warns(UserWarning, match="line 1: `text` is blank"):
        assert read_table(path).texts("text") == (" ",)
    with pytest.raises(DataError, match="line 1: `label` is not text but 5"):
        read_table(path).texts("label")


def test_rows_of_cells_in_json_have_names_in_their_first_row_or_in_the_layout(tmp_path: Path) -> None:
    cells = [["a film", "good"], ["a bore", "bad"]]
    named = Layout(columns=["text", "label"], optional="label")
    for name, value, layout in (
        ("values.json", cells, named),
        ("header.json", [["text", "label"], *cells], Layout()),
        ("header.json", [["text", "label"], *cells], named),
    ):
        (tmp_path / name).write_text(json.dumps(value), encoding="utf-8")
        table = read_table(tmp_path / name, layout)
        assert table.columns == {"text": ["a film", "a bore"], "label": ["good", "bad"]}
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in cells), encoding="utf-8")
    assert read_table(tmp_path / "lines.jsonl", named).columns == table.columns
    (tmp_path / "texts.json").write_text(json.dumps([row[:1] for row in cells]), encoding="utf-8")
    assert read_table(tmp_path / "texts.json", named).columns == {"text": ["a film", "a bore"]}
    bad = BadRows(leave_out=True)
    (tmp_path / "ragged.json").write_text(json.dumps([*cells, ["a", "b", "c"]]), encoding="utf-8")
    assert len(read_table(tmp_path / "ragged.json", named, bad)) == 2
    assert "row 3" in bad.errors[0].message
    with pytest.raises(DataError) as error:
        read_table(tmp_path / "values.json")
    assert "task.columns" in str(error.value.hint)


def test_cells_of_objects_are_named_with_a_dot(tmp_path: Path) -> None:
    rows = [{"data": {"text": f"words {n}"}, "mark": {"by": {"label": "ab"[n % 2]}}} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"data": None}])), encoding="utf-8")
    task = Task(train=str(tmp_path / "rows.jsonl"), text="data.text", label="mark.by.label", skip_bad=True)
    with pytest.warns(UserWarning, match="line 9: `data.text` is missing"):
        data = load_task(task)
    assert data.labels == ("a", "b")
    assert {text for split in data.splits.values() for text in split.texts} == {f"words {n}" for n in range(8)}
    with pytest.raises(DataError, match="no column `label`") as caught:
        load_task(Task(train=task.train, text="data.text"))
    assert "mark.by.label" in str(caught.value.hint)


def test_rows_of_nothing_below_the_others_are_left_out(tmp_path: Path) -> None:
    lines = ["text,label", *(f"words {n},{'ab'[n % 2]}" for n in range(8)), ",", " ,", ",a"]
    (tmp_path / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.warns(UserWarning, match=r"left out 3 bad row\(s\), the first: .*line 10: `text` is blank"):
        data = load_task(Task(train=str(tmp_path / "rows.csv"), skip_bad=True))
    assert ({name: len(split) for name, split in data.splits.items()}, data.skipped) == (
        {"train": 7, "dev": 1},
        {"train": 3},
    )


def test_flags_without_a_label_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,spam,news,never\na b,1,0,0\nb c,0,1,0\nc d,0,0,0\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column `label`") as caught:
        load_task(Task(train=str(tmp_path / "rows.csv")))
    assert "task.labels=[spam, news, never]" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["t.feather", "t.arrow", "t.arrow.gz"])
def test_files_of_arrow(tmp_path: Path, name: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import ipc

    table = pyarrow.table({"text": ["a b", "c d"], "label": pyarrow.array(["x", "y"]).dictionary_encode()})
    sink = pyarrow.BufferOutputStream()
    begin = ipc.new_file if name == "t.feather" else ipc.new_stream
    with begin(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    found = read_table(tmp_path / name)
    assert (list(found.column("text")), list(found.column("label"))) == (["a b", "c d"], ["x", "y"])
    (tmp_path / "damaged.arrow").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="cannot be read as Arrow"):
        read_table(tmp_path / "damaged.arrow")
