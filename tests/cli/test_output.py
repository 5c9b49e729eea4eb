"""What all commands promise about what they print: help, tables, JSON, completion, and how to go on after Ctrl-C."""

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from cli.conftest import Command
from distiller.cli import app, how_to_go_on
from distiller.cli.console import print_table, print_words
from distiller.cli.show import print_record
from distiller.config import parse_run
from distiller.record import Comparison, EfficiencyRow, Record, Spread
from study.fakes import record

GROUP = typer.main.get_command(app)

NO_TABLE = {
    "init": "writes a file",
    "check": "prints the run as YAML, which is data",
    "predict": "prints a table of tab-separated values, which is data, and has --json for lines of JSON",
    "report": "writes a page and prints where",
    "label": "writes shards and prints a line",
    "pseudo-label": "writes shards and prints a line",
    "study report": "writes a page and prints where",
    "study export": "writes a table and prints where",
    "study import": "writes a table and prints where",
    "study init": "writes a file",
    "ui": "serves a page",
}


def leaves(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield " ".join(names), command
        return
    for name, below in command.commands.items():
        yield from leaves(below, (*names, name))


COMMANDS = {name: command for name, command in leaves(GROUP) if not command.hidden}


@pytest.mark.parametrize("name", ["", "study", *COMMANDS])
def test_help_fits_a_pipe_and_holds_the_examples_as_they_are_typed(name: str, distiller: Command) -> None:
    answer = distiller(*name.split(), "--help")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert all(line == line.rstrip() for line in lines)
    assert all(len(line) <= 80 for line in lines)
    command = COMMANDS.get(name)
    if command is None:
        return
    written = inspect.getdoc(command.callback) or ""
    examples = joined(written.partition("\nExample")[2].splitlines()[1:])
    assert examples or name == "recipes", "every command shows how it is used"
    shown = joined(lines)
    for example in examples:
        assert example in shown


def joined(lines: list[str]) -> list[str]:
    """Command lines as a shell reads them: one that ends in a backslash goes on."""
    whole = "\n".join(lines).replace("\\\n", "")
    return [" ".join(line.split()) for line in whole.splitlines() if line.strip()]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    for option in COMMANDS[name].params:
        if option.name not in ("install_completion", "show_completion"):
            assert option.help, option.name


@pytest.mark.parametrize("name", COMMANDS)
def test_what_prints_a_table_prints_json_too(name: str) -> None:
    options = [option.opts[0] for option in COMMANDS[name].params]
    assert ("--json" in options) or name in NO_TABLE
    if name in NO_TABLE:
        assert "print_table" not in inspect.getsource(COMMANDS[name].callback)


def test_the_list_of_commands_without_a_table_is_true() -> None:
    assert set(NO_TABLE) <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupted_command_says_how_to_go_on(name: str) -> None:
    said = how_to_go_on(GROUP, [*name.split(), "some file.yaml", "--overwrite"])
    if any("--resume" in option.opts for option in COMMANDS[name].params):
        assert said == f"continue with: distiller {name} 'some file.yaml' --resume"
    elif name == "study resume":
        assert said.startswith("continue with: distiller study resume 'some file.yaml'")
    else:
        assert said == "the same command starts again"


@pytest.mark.parametrize("name", COMMANDS)
def test_completion_knows_every_command(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    typed = f"distiller {name[:-1]}"
    monkeypatch.setenv("_DISTILLER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    monkeypatch.setattr(sys, "argv", ["distiller"])
    with pytest.raises(SystemExit):
        app(prog_name="distiller")
    assert name.split()[-1] in capfd.readouterr().out.split()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("init mi-", {"mi-alpha", "mi-alpha-emd", "mi-reviews.csv"}),
        ("run mi-", {"mi-alpha", "mi-alpha-emd", "mi-reviews.csv"}),
        ("check study-", {"study-mine.yaml"}),
        ("study run study-s", {"study-small"}),
        ("study init study-s", {"study-small"}),
        ("run outp", set[str]()),
    ],
)
def test_completion_knows_the_recipes_and_the_files(
    typed: str,
    expected: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "outputs").mkdir()  # is left to the shell
    for name in ("mi-reviews.csv", "study-mine.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_DISTILLER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"distiller {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    monkeypatch.setattr(sys, "argv", ["distiller"])
    with pytest.raises(SystemExit):
        app(prog_name="distiller")
    assert set(capfd.readouterr().out.split()) == expected


words = st.text(st.sampled_from("abcdefgh.5–± "), min_size=0, max_size=40)


@given(st.data(), st.integers(1, 9), st.integers(30, 160))
def test_a_table_fits_whatever_is_in_it(data: st.DataObject, columns: int, width: int) -> None:
    names = data.draw(st.lists(words, min_size=columns, max_size=columns))
    rows = data.draw(st.lists(st.lists(words, min_size=columns, max_size=columns), max_size=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        shown = printed(lambda: print_table(names, rows, title="t"))
    assert all(len(line) <= width and line == line.rstrip() for line in shown.splitlines())
    for letter in "abcdefgh.5–±":  # nothing is cut off; what is repeated is the first column
        wanted = "".join([*names, *(cell for row in rows for cell in row)]).count(letter)
        assert shown.count(letter) >= wanted


def test_numbers_and_ordinary_words_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rows = [["teacher", "22,713,216", "+13.5 ± 2.1", "fine-tuned"], ["student", "4,385,920", "–", "distilled"]]
    shown = printed(lambda: print_table(["model", "parameters", "difference", "how"], rows))
    for cell in (cell for row in rows for cell in row):
        assert any(cell in line for line in shown.splitlines()), cell


def test_a_table_in_a_pipe_has_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(["a", "b"], [["x " * 30, "y " * 60]])
    assert 70 < max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_a_path_is_not_broken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    path = "/a-long-folder/and-another-one/student-2-layers"
    print_words(f"it took 12 s and is written to {path}")
    assert path in capsys.readouterr().out.splitlines()


def printed(call: Any) -> str:
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as text:
        call()
    return text.getvalue()


def bert_sized(seeds: int) -> Record:
    """A Record with as wide numbers as an ordinary run has: a BERT and three of its layers, two metrics."""
    shown = record(parse_run({"task": {"train": "train.csv"}, "teacher": {"model": "big"}, "baseline": True}), 0.5)
    scores = {"accuracy": 0.8234, "f1_macro": 0.8211}
    spread = {name: Spread(mean=score, std=0.0123, values=[score] * seeds) for name, score in scores.items()}
    update: dict[str, Any] = {
        "scores": scores, "spread": spread if seeds > 1 else {}, "steps": [1175] * seeds, "megabytes": 437.9,
        "parameters": 109_482_240,
    }  # fmt: skip
    models = {name: getattr(shown, name).model_copy(update=update) for name in ("teacher", "baseline", "student")}
    apart = Comparison(difference=-0.0181, error=0.0119, teacher_lead=0.1071, teacher_lead_error=0.0124)
    cost = shown.cost.model_copy(update={"milliseconds_per_example": {"teacher": 127.03, "student": 23.11}})
    return shown.model_copy(update={**models, "seeds": shown.seeds * seeds, "comparison": apart, "cost": cost})


@pytest.mark.parametrize("seeds", [1, 3])
def test_what_a_run_came_to_is_one_table_in_a_pipe(
    seeds: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_record(bert_sized(seeds))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    (rule,) = [number for number, line in enumerate(lines) if line and set(line) <= {"─"}]  # of the one table
    head, table = " ".join(lines[:rule]), [line.split() for line in lines[rule + 1 : rule + 4]]
    for name in ("accuracy", "f1_macro", "ratio", "size", "ms", "steps"):
        assert name in head
    assert [row[0] for row in table] == ["teacher", "fine-tuned", "distilled"]
    assert [row[-1] for row in table] == ["1,175"] * 3
    monkeypatch.setenv("COLUMNS", "120")
    print_record(bert_sized(seeds))
    assert "109,482,240" in capsys.readouterr().out


def test_every_line_of_sizes_and_speeds_says_which_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    forms = [("ctranslate2", "int8", False), ("ctranslate2", "int8", True), ("transformers", "float32", False)]
    rows = [
        EfficiencyRow(
            model=model,
            engine=engine,
            compute=compute,
            shortlist=shortlist,
            bleu=None if engine == "transformers" else 26.7,
            parameters=3_130_040,
            compression=1.0,
            megabytes=12.9,
            sentences_per_second=1287.1,
            latency_p50=145.6,
            latency_p95=165.4,
        )
        for model, (engine, compute, shortlist) in product(("teacher", "student"), forms)
    ]
    print_record(bert_sized(1).model_copy(update={"efficiency": rows}))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = [line for line in lines if "3.1 M" in line]
    assert len(shown) == 6
    for line, row in zip(shown, rows, strict=True):
        assert line.startswith(f"{row.model}, {row.engine}")
        assert ("26.7" in line) == (row.bleu is not None)


@pytest.mark.parametrize(("wished", "shown"), [(None, False), ("warning", True)])
def test_advice_of_libraries_is_shown_on_request_alone(wished: str | None, shown: bool) -> None:
    """Tokenizers warn of texts beyond the model's limit, models of how they pad."""
    program = """
import sys
from distiller.cli import main

sys.argv = ["distiller", "--version"]
try:
    main()
finally:
    from transformers.utils import logging

    logging.get_logger("transformers.models").warning("Token indices sequence length is longer")
"""
    known = {name: value for name, value in os.environ.items() if name != "TRANSFORMERS_VERBOSITY"}
    wish = {} if wished is None else {"TRANSFORMERS_VERBOSITY": wished}
    done = subprocess.run([sys.executable, "-c", program], env=known | wish, capture_output=True, text=True)
    assert done.returncode == 0
    assert ("Token indices" in done.stderr) == shown
