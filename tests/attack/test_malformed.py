"""Garbled runs, data, models and command lines: one line and a hint, no traceback, and never a finished run."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from attack.conftest import times
from cli.conftest import Answer, Command
from distiller.config import parse_run
from run.tiny import Workshop

SEED = int(os.environ.get("DISTILLER_ATTACK_SEED", "0"))
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    3,
    1.5,
    1e-30,
    1e30,
    float("inf"),
    float("-inf"),
    float("nan"),
    2**32,
    10**30,
    "",
    " ",
    "x",
    "nowhere.csv",
    "~",
    "/",
    "/dev/null",
    "..",
    "a\0b",
    "\ud800",
    "=1+1",
    "[bold]x[/bold]",
    "ß" * 300,
    [],
    [None],
    [[]],
    [-1],
    ["x", "x"],
    {},
    {"x": 1},
    {"name": "x"},
    {"name": "kl", "options": {"temperature": -1}},
    {1: 2},
]
"""What stands where something else should."""
LINES = [
    "seeds: [0\n",
    "seeds: 0: 1\n",
    "a: &a [*a]\n",
    "a: &a {b: *a}\n",
    "\t- x\n",
    "%YAML 9.9\n---\n",
    "--- !!python/object:os.system {}\n",
    "training: !!int x\n",
    "seeds: [" + "9" * 5000 + "]\n",
    "seeds: [0x" + "f" * 6000 + "]\n",
    "x: " + "[" * 3000 + "\n",
    "x: " + "{a: " * 3000 + "\n",
    "created: 2020-13-45\n",
    'output: "\\0"\n',
    'output: "\\ud800"\n',
    "? [a]\n: 1\n",
    "training: {epochs: 1}\ntraining: {epochs: 2}\n",
    "seeds: [0, 0]\n",
    "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
    "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
    "e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
]
"""YAML that is none, or that is made to do harm."""


def complain_or_work(answer: Answer, what: object) -> None:
    """A command worked, or says in one line what is wrong and what to do."""
    shown = f"{what!r:.300}\n{answer.err[-2000:]}"
    assert "Traceback" not in answer.err, shown
    assert "Aborted" not in answer.err, shown
    assert answer.code in (0, 1, 2), shown
    if answer.code and "Usage:" not in answer.err + answer.out:
        lines = [line for line in answer.err.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1, shown
        assert len(errors[0]) < 600, shown
        assert lines[-1].startswith("hint: "), shown


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in plain data."""
    if path:
        yield path
    if isinstance(data, dict):
        for key, inner in data.items():
            yield from places(inner, (*path, key))
    elif isinstance(data, list):
        for number, inner in enumerate(data):
            yield from places(inner, (*path, number))


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = list(data) if isinstance(data, list) else dict(data)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


@pytest.mark.slow
def test_malformed_runs(shop: Workshop, distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field of a run in full, each with values of other kinds; and texts that are no YAML."""
    monkeypatch.chdir(tmp_path)
    fields = {"stages": [{"name": "one", "objective": {"intermediate": [{"loss": "mi_alpha"}]}}]}
    full = parse_run(shop.run(tmp_path, **fields)).model_dump(mode="json")
    rng = random.Random(SEED)
    pairs = [(path, value) for path in places(full) for value in VALUES]
    for path, value in rng.sample(pairs, times(250, len(pairs))):
        text = yaml.safe_dump(changed(full, path, value), allow_unicode=True).encode("utf-8", "surrogatepass")
        (tmp_path / "run.yaml").write_bytes(text)
        complain_or_work(distiller("check", "run.yaml"), (path, value))
    for line in LINES:
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(shop.run(tmp_path)) + line, encoding="utf-8")
        answer = distiller("check", "run.yaml")
        complain_or_work(answer, line)
        assert answer.code, line
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_malformed_overrides(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    rng = random.Random(SEED + 1)
    file = shop.file(tmp_path)
    names = [
        "training.epochs",
        "seeds",
        "task.train",
        "teacher.model",
        "student.config.hidden_size",
        "output",
        "x",
        "",
        "objective.intermediate.0.loss",
        "objective.intermediate.99999999999999999999.loss",
        "stages.0.name",
        "training",
        "student.config.num_attention_heads",
        "student.pick",
        "task.labels",
        "=",
        "a.b.c.d.e",
    ]
    values = [
        "",
        "x",
        "-1",
        "1e999",
        "9" * 5000,
        "0x" + "f" * 5000,
        "[",
        "{a: 1, a: 2}",
        "!!python/name:os.system",
        "\x01",
        "\udcff",
        "*a",
        "null",
        "~",
        "[[[]]]",
        "1_0",
        "0o7",
        ".inf",
        "2020-13-45",
        "'",
    ]
    for _ in range(times(110, 340)):
        override = f"{rng.choice(names)}={rng.choice(values)}"
        complain_or_work(distiller("check", file, override), override)


def test_malformed_command_lines(distiller: Command, shop: Workshop, tmp_path: Path) -> None:
    rng = random.Random(SEED + 2)
    words = [
        "run",
        "check",
        "predict",
        "evaluate",
        "show",
        "study",
        "status",
        "resume",
        "export",
        "importance",
        "advise",
        "pseudo-label",
        "components",
        "recipes",
        "init",
        "--json",
        "-o",
        "--resume",
        "--overwrite",
        "--nonsense",
        "-x",
        "",
        " ",
        "nowhere",
        "nowhere.yaml",
        "/dev/null",
        str(tmp_path),
        shop.reviews,
        shop.tuned,
        "\udcff",
        "=",
        "a=b",
        "postgresql://bob:hunter2@127.0.0.1:1/x",
        "x.db",
        "9" * 300,
        "*",
        "[red]",
    ]
    for _ in range(times(40, 400)):
        line = [rng.choice(words[:15]), *rng.choices(words, k=rng.randint(0, 3))]
        if line[0] in ("study", "run", "advise") and line[1:2] == ["run"]:
            continue
        answer = distiller(*line)
        complain_or_work(answer, line)
        assert "hunter2" not in answer.err + answer.out, line


def garbled(content: bytes, rng: random.Random) -> bytes:
    """`content` with one of the accidents that happen to files."""
    at, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    noise = bytes(rng.randrange(256) for _ in range(rng.randint(1, 30)))
    return rng.choice(
        [
            content[:at],
            content[:at] + noise + content[at:],
            content[:at] + content[end:],
            content[:at] + noise + content[at + len(noise) :],
            content.replace(b",", b";"),
            content.replace(b"\n", b"\r"),
            content.replace(b'"', b"'"),
            b"\xff\xfe" + content.decode().encode("utf-16-le"),
            b"\xef\xbb\xbf" + content,
            content[:at] + b"\0" + content[at:],
            content[:at] + b'"' + content[at:],
            content + content[:at],
            b"\n" * rng.randint(1, 3) + content,
            noise,
            b"",
        ]
    )


def samples(shop: Workshop) -> dict[str, bytes]:
    rows = [{"text": "good film", "label": "good"}, {"text": "bad film", "label": "bad"}] * 4
    answer = {"text": ["good"], "answer_start": [4]}
    question = {"id": "1", "question": "what?", "answers": [{"text": "good", "answer_start": 4}]}
    squad = {
        "version": "1.1",
        "data": [{"title": "x", "paragraphs": [{"context": "the good film", "qas": [question]}]}],
    }
    return {
        "rows.csv": Path(shop.reviews).read_bytes()[:600],
        "rows.tsv": b"text\tlabel\n" + b"good film\tgood\nbad film\tbad\n" * 6,
        "rows.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode(),
        "rows.json": json.dumps(rows).encode(),
        "rows.conll": b"the O\nfilm B-x\n\ngood O\nwas I-x\n\n" * 4,
        "squad.json": json.dumps(squad | {"answers": answer}).encode(),
    }


def test_malformed_data(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    rng = random.Random(SEED + 3)
    file = shop.file(tmp_path, task={"train": "x", "max_length": 16, "dev_fraction": 0.5})
    for _ in range(times(8, 60)):
        for name, content in samples(shop).items():
            (tmp_path / name).write_bytes(garbled(content, rng))
            complain_or_work(distiller("check", file, f"task.train={tmp_path / name}"), (name, content))


def test_malformed_models(shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    """The configuration of a teacher with values of other kinds, and its weights through an index of other files."""
    rng = random.Random(SEED + 4)
    shutil.copytree(shop.tuned, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    file = shop.file(tmp_path, teacher={"model": str(tmp_path / "model")})
    pairs = [
        (path, value) for path in places(config) for value in VALUES if not isinstance(value, dict) or 1 not in value
    ]
    for path, value in rng.sample(pairs, times(40, len(pairs))):
        text = json.dumps(changed(config, path, value))
        (tmp_path / "model" / "config.json").write_text(text, encoding="utf-8")
        complain_or_work(distiller("check", file), (path, value))


@pytest.mark.parametrize("part", ["weights.bin", "../model.safetensors", "/etc/passwd", "gone.safetensors", 3, None])
def test_an_index_of_other_files(part: object, shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    shutil.copytree(shop.tuned, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "part.safetensors")
    index = {"metadata": {}, "weight_map": {"bert.embeddings.word_embeddings.weight": part}}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    answer = distiller("run", shop.file(tmp_path, teacher={"model": str(tmp_path / "model")}), "-q")
    complain_or_work(answer, part)
    assert answer.code == 2
    assert "model.safetensors.index.json" in answer.err or "lacks its weights" in answer.err
