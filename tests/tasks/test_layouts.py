"""A table comes back cell by cell from every format, encoding, separator and compression; else one line says why."""

import bz2
import csv
import gzip
import io
import json
import lzma
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.config import Task
from distiller.errors import ConfigError, DataError
from distiller.tasks import load_task
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.readers import Layout, read_table

WRITERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
with suppress(ImportError):
    import pyarrow

    WRITERS[".zst"] = lambda data: pyarrow.compress(data, codec="zstd", asbytes=True)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252", "utf-16-le"]
TOLD = {"utf-8", "utf-8-sig", "utf-16"}
"""Encodings that a file says itself."""

ROWS = st.lists(
    st.tuples(st.text(st.sampled_from('aé",;\t|\n ß'), max_size=8), st.sampled_from(["yes", "no", "1.0"])),
    min_size=1,
    max_size=6,
)


def cells(path: Path, layout: Layout | None = None) -> list[tuple[Any, ...]]:
    table = read_table(path, layout)
    return list(zip(table.columns["text"], table.columns["label"], strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layouts")


@given(
    rows=ROWS,
    encoding=st.sampled_from(ENCODINGS),
    separator=st.sampled_from(",;\t|"),
    compressed=st.sampled_from(list(WRITERS)),
    headless=st.booleans(),
    ending=st.sampled_from(["csv", "tsv", "txt"]),
    mac=st.booleans(),
)
@settings(deadline=None, max_examples=150)
@pytest.mark.filterwarnings("ignore:.*quotes join")
def test_every_layout_of_a_table_is_read_back(
    folder: Path,
    rows: list[tuple[str, str]],
    encoding: str,
    separator: str,
    compressed: str,
    headless: bool,
    ending: str,
    mac: bool,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n" if mac else "\r\n")
    writer.writerows(rows if headless else [("text", "label"), *rows])
    path = folder / f"table.{ending}{compressed}"
    path.write_bytes(WRITERS[compressed](text.getvalue().encode(encoding)))
    layout = Layout(
        encoding=None if encoding in TOLD else encoding,
        separator=separator if headless or ending == "txt" else None,
        columns=["text", "label"] if headless else None,
    )
    assert cells(path, layout) == rows


@given(rows=ROWS, compressed=st.sampled_from(list(WRITERS)), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
@settings(deadline=None, max_examples=60)
def test_every_form_of_objects_is_read_back(
    folder: Path, rows: list[tuple[str, str]], compressed: str, encoding: str
) -> None:
    objects = [{"text": text, "label": label} for text, label in rows]
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects)
    columns = {name: [one[name] for one in objects] for name in ("text", "label")}
    forms = {
        "rows.jsonl": lines,
        "rows.ndjson": lines,
        "list.json": json.dumps(objects),
        "list.jsonl": json.dumps(objects),
        "under.json": json.dumps({"version": 2, "data": objects}, indent=1),
        "columns.json": json.dumps(columns),
        "pandas.json": json.dumps({name: dict(enumerate(column)) for name, column in columns.items()}),
    }
    if len(rows) > 1:
        forms["lines.json"] = lines
    for name, text in forms.items():
        path = folder / (name + compressed)
        path.write_bytes(WRITERS[compressed](text.encode(encoding)))
        assert cells(path) == rows, name


def test_a_compressed_parquet_file(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    plain = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": ["x", "y"]}), plain)
    packed = tmp_path / "rows.parquet.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert cells(packed) == cells(plain) == [("a", "x"), ("b", "y")]


@given(texts=st.lists(st.text(st.sampled_from('ab",; '), min_size=1, max_size=9), min_size=1, max_size=5))
@settings(deadline=None, max_examples=60)
def test_a_file_of_one_column_needs_no_quotes(folder: Path, texts: list[str]) -> None:
    texts = [f"x{text}x" for text in texts]
    path = folder / "texts.csv"
    path.write_text("\n".join(["text", *texts]) + "\n", encoding="utf-8")
    assert list(read_table(path).columns["text"]) == texts
    lines = folder / "texts.txt"
    lines.write_text("\n".join(texts) + "\n", encoding="utf-8")
    assert list(read_table(lines).columns["text"]) == texts
    assert list(read_table(lines, Layout(text="review")).columns["review"]) == texts


def test_columns_without_a_name_and_cells_behind_the_last_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "spam.csv"
    path.write_text(',label,text,,\n0,ham,"hi, you",,\n1,spam,win,more,\n2,ham,ok\n3,ham,fine,,,,\n', encoding="utf-8")
    table = read_table(path)
    assert table.columns == {"label": ("ham", "spam", "ham", "ham"), "text": ("hi, you", "win", "ok", "fine")}
    path.write_text("text,label,text\na,b,c\n", encoding="utf-8")
    assert read_table(path).column("label") == ("b",)
    with pytest.raises(DataError, match="two columns are called `text`"):
        read_table(path).column("text")


def test_a_spreadsheet_may_say_its_separator(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text("sep=;\r\ntext;label\r\na, b;1\r\nc\r\n", encoding="utf-8", newline="")
    with pytest.raises(DataError, match="line 4: 1 cells, where there should be 2"):
        read_table(path)


def test_named_columns_of_a_file_that_has_a_header_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "news.csv"
    path.write_text('label,text\n3,"Oil, gas"\n', encoding="utf-8")
    assert cells(path, Layout(columns=["label", "text"])) == [("Oil, gas", "3")]
    path.write_text('"3","Oil","and, gas"\n', encoding="utf-8")
    assert cells(path, Layout(columns=["label", "title", "text"])) == [("and, gas", "3")]
    with pytest.raises(DataError, match="line 1: 3 cells, where there should be 2") as error:
        read_table(path, Layout(columns=["label", "text"]))
    assert "task.columns names every column" in (error.value.hint or "")


@pytest.mark.parametrize(
    ("content", "words", "hint"),
    [
        ("text,label\ncafé,1\n".encode("latin-1"), "line 2: byte 14 (0xe9) is not UTF-8", "task.encoding=cp1252"),
        ("text,label\nab,1\n".encode("utf-16-be"), "every other byte is 0", "task.encoding=utf-16-be"),
        (b"\x1f\x8b and no more", "cannot be decompressed", "again"),
        (lzma.compress(b"text\n" * 99)[:-20], "cannot be decompressed", "again"),
        (b"PK\x03\x04 a workbook", "a zip archive or a spreadsheet", ".csv"),
    ],
)
def test_bytes_that_are_no_text_are_said_in_one_line(tmp_path: Path, content: bytes, words: str, hint: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_table(path)
    assert words in error.value.message
    assert "\n" not in error.value.message
    assert hint in (error.value.hint or "")


def test_an_encoding_that_is_wrong_or_unknown(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("text\ncafé\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"task\.encoding is `latin-11`"):
        read_table(path, Layout(encoding="latin-11"))
    with pytest.raises(DataError, match=r"line 2: byte 8 \(0xe9\) is not `ascii`, as task\.encoding says"):
        read_table(path, Layout(encoding="ascii"))
    assert Task(separator="tab").separator == Task(separator="\\t").separator == "\t"


def test_broken_rows_are_left_out_one_by_one(tmp_path: Path) -> None:
    """An open quote takes one line with it, not the rest of the file."""
    path = tmp_path / "rows.csv"
    path.write_text('text,label\na,1\n"open,1\nb,1\nc,2,3\n"d" e,1\nf,2\n', encoding="utf-8")
    bad = BadRows(leave_out=True)
    table = read_table(path, bad=bad)
    assert (table.columns["text"], list(table.lines or ())) == (("a", "b", "f"), [2, 4, 7])
    assert sorted(error.message.partition(":")[0].rpartition(" ")[2] for error in bad.errors) == ["3", "5", "6"]
    lines = tmp_path / "rows.jsonl"
    lines.write_text('{"text": "a"}\n{"text": \n[3]\n{"text": "b"}\n', encoding="utf-8")
    bad = BadRows(leave_out=True)
    assert read_table(lines, bad=bad).columns["text"] == ["a", "b"]
    assert len(bad.errors) == 2


TABLE = [("a film", "good"), ('a "short" one, dull', "bad"), ("it ends\\nhere", "good")]


@pytest.mark.parametrize(
    ("name", "write"),
    {
        "quotes with a backslash before them": ("t.csv", lambda rows: "text,label\n" + "".join(
            '"' + text.replace("\\", "\\\\").replace('"', '\\"') + f'",{label}\n' for text, label in rows
        )),
        "remarks above the header": ("t.csv", lambda rows: "# by a program\n#of 2024\ntext;label\n" + "".join(
            f"{json.dumps(text)[1:-1]};{label}\n" for text, label in rows[::2]
        )),
        "objects on several lines": ("t.jsonl", lambda rows: "\n".join(json.dumps(row, indent=1) for row in rows)),
        "objects with commas between": ("t.ndjson", lambda rows: ",\n".join(map(json.dumps, rows))),
        "objects on one line": ("t.jsonl", lambda rows: "".join(map(json.dumps, rows))),
        "objects on several lines of a .json": ("t.json", lambda rows: "\n".join(
            json.dumps(row, indent=1) for row in rows
        )),
    }.items(),
)  # fmt: skip
def test_what_programs_write_beside_the_rules(tmp_path: Path, name: str, write: tuple[str, Any]) -> None:
    file, writer = write
    objects = file.startswith("t.") and not file.endswith(".csv")
    rows: Any = [{"text": text, "label": label} for text, label in TABLE] if objects else TABLE
    (tmp_path / file).write_text(writer(rows), encoding="utf-8")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        table = read_table(tmp_path / file)
    wanted = TABLE[::2] if "remarks" in name else TABLE
    if "remarks" in name:
        wanted = [(text.replace("\\", "\\\\"), label) for text, label in wanted]
        assert table.place(0).endswith("line 4")
    assert list(zip(table.column("text"), table.column("label"), strict=True)) == wanted
    assert len(said) == (0 if objects else 1)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("#id,text\n1,a\n", ["#id", "text"]),
        ("# a, b\ntext,label\na,b\n", ["# a", "b"]),
        ("#tag\nsome text\n", ["#tag"]),
    ],
)
def test_a_header_may_begin_with_a_hash(tmp_path: Path, text: str, columns: list[str]) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert list(read_table(tmp_path / "t.csv").columns) == columns


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".txt"])
@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
        ("\n<!DOCTYPE html>\n<html>not found</html>", "download the file itself"),
    ],
)
def test_what_is_no_data_is_named(tmp_path: Path, content: str, hint: str, ending: str) -> None:
    (tmp_path / f"t{ending}").write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / f"t{ending}")
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("order", [["text", "label"], ["label", "text"]])
def test_of_two_columns_without_a_header_the_hint_names_both(tmp_path: Path, order: list[str]) -> None:
    rows = [{"text": f"a film of {n} long hours", "label": "ab"[n % 2]} for n in range(20)]
    (tmp_path / "t.tsv").write_text("\n".join("\t".join(row[name] for name in order) for row in rows), "utf-8")
    with pytest.raises(DataError, match="no column `label`") as caught:
        load_task(Task(train=str(tmp_path / "t.tsv")))
    named = str(caught.value.hint).partition("task.columns=[")[2].partition("]")[0].split(",")
    assert len(load_task(Task(train=str(tmp_path / "t.tsv"), columns=named)).labels) == 2
