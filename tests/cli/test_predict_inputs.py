"""What `distiller predict` reads and writes beside tables: lines, one text, JSON, the columns of the input."""

import io
import json
from pathlib import Path

import pytest

from cli.conftest import Command
from run.tiny import Workshop


def test_lines_a_text_and_standard_input_are_labelled_alike(
    shop: Workshop, distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new.txt").write_text("the film was good\nan awful plot\n", encoding="utf-8")
    lines = distiller("predict", shop.tuned, tmp_path / "new.txt", "--json")
    assert lines.code == 0, lines.err
    told = [json.loads(line) for line in lines.out.splitlines()]
    assert [row["label"] for row in told] == ["good", "bad"]
    assert told[0]["p(good)"] + told[0]["p(bad)"] == pytest.approx(1)
    one = distiller("predict", shop.tuned, "an awful plot", "--json")
    assert json.loads(one.out) == pytest.approx(told[1], abs=1e-5)
    monkeypatch.setattr("sys.stdin", io.StringIO("the film was good\nan awful plot\n"))
    assert distiller("predict", shop.tuned, "-", "--json").out == lines.out
    long = distiller("predict", shop.tuned, "an awful plot " + "with music " * 40)  # too long for the name of a file
    assert (long.code, long.out.splitlines()[1][:3]) == (0, "bad")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    empty = distiller("predict", shop.tuned, "-")
    assert (empty.code, "has no text" in empty.err) == (2, True)


def test_columns_of_the_input_are_kept(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id,text,label\n7,the film was good,?\n9,an awful plot,?\n", encoding="utf-8")
    rows = [
        line.split("\t") for line in distiller("predict", shop.tuned, tmp_path / "new.csv", "--keep").out.splitlines()
    ]
    assert rows[0] == ["id", "text", "input_label", "label", "p(bad)", "p(good)"]
    assert [row[:4] for row in rows[1:]] == [
        ["7", "the film was good", "?", "good"],
        ["9", "an awful plot", "?", "bad"],
    ]


def test_a_word_that_is_no_file_is_not_taken_for_a_text(shop: Workshop, distiller: Command) -> None:
    answer = distiller("predict", shop.tuned, "absent.csv")
    assert answer.code == 2
    assert "absent.csv" in answer.err


def test_rows_left_out_are_listed_beside_what_is_written(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(
        "text;id\nthe film was good;7\nan; awful; plot\nan awful plot;9\n", encoding="cp1252"
    )
    (tmp_path / "bad.csv").write_bytes("text;id\nun café;7\nx;y;z\n".encode("cp1252"))
    refused = distiller("predict", shop.tuned, tmp_path / "new.csv")
    assert (refused.code, "line 3: 3 cells" in refused.err, "--skip-bad" in refused.err) == (2, True, True)
    told = distiller("predict", shop.tuned, tmp_path / "new.csv", "--skip-bad", "--keep", "-o", tmp_path / "said.tsv")
    assert (told.code, "left out 1 bad row(s)" in told.err) == (0, True)
    assert [line.split("\t")[1] for line in (tmp_path / "said.tsv").read_text().splitlines()] == ["id", "7", "9"]
    assert "line 3" in (tmp_path / "said.tsv.left_out.txt").read_text()
    labelled = distiller(
        "label", shop.tuned, tmp_path / "bad.csv", "task.encoding=cp1252", "--skip-bad", "-q", "-o", tmp_path / "job"
    )
    assert labelled.code == 0, labelled.err
    assert json.loads((tmp_path / "job" / "part-000000.jsonl").read_text())["text"] == "un café"
    assert "line 3" in (tmp_path / "job" / "left_out.txt").read_text()


@pytest.mark.parametrize("given", ["the film was good", "-", "new.txt", "one.csv"])
def test_single_texts_are_refused_where_pairs_are_read(
    given: str, shop: Workshop, distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("new.txt").write_text("the film was good\nan awful plot\n", encoding="utf-8")
    Path("one.csv").write_text("text\nthe film was good\n", encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("the film was good\n"))
    answer = distiller("predict", shop.tuned, given, "--text-pair", "other")
    assert (answer.code, answer.out) == (2, "")
    assert "holds single texts, and the model reads pairs" in answer.err
    assert "columns `text` and `other`" in " ".join(answer.err.split())
