"""Promises about the repository as a whole: what an import loads, what a base install needs, what files may hold."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from distiller.config import parse_run
from distiller.study.config import parse_study

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = {
    "autogluon", "ctranslate2", "datasets", "matplotlib", "mlflow", "nncf", "onnx", "onnxruntime", "openvino", "optuna",
    "pandas", "plotly", "pyarrow", "ray", "sacrebleu", "sentencepiece", "seqeval", "tensorboard", "trackio", "wandb",
}  # fmt: skip
HEAVY = OPTIONAL | {"torch", "transformers", "sklearn", "scipy"}

LOADED = "; import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
HELP = """
import contextlib, io, sys
from distiller.cli import main
sys.argv = ["distiller", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
    main()
assert "Usage" in shown.getvalue(), shown.getvalue()
"""
# Makes packages look as if they were not installed, also to code that asks `importlib.util.find_spec` first.
WITHOUT = """
import importlib, pkgutil, sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        hidden = fullname.partition(".")[0] in sys.argv[2].split(",")
        return None if hidden else super().find_spec(fullname, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
for package in sys.argv[1].split(","):
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), package + "."):
        importlib.import_module(found.name)
"""


def python(program: str, *arguments: str) -> str:
    """What a fresh interpreter prints; the test fails with its error text if it fails."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program", ["import distiller", HELP + "pass"], ids=["import", "help"])
def test_start_loads_nothing_heavy(program: str) -> None:
    assert not HEAVY & set(python(program + LOADED).split())


def test_a_base_install_imports_everything() -> None:
    floors = ["tasks", "augment", "models", "objectives", "training", "translation", "run"]
    floors += ["study", "analysis", "autodistiller", "report", "cli"]
    python(WITHOUT, ",".join(f"distiller.{floor}" for floor in floors), ",".join(sorted(OPTIONAL)))


def test_the_hiding_finder_hides() -> None:
    """So that the test above cannot pass for the wrong reason."""
    with pytest.raises(AssertionError, match="No module named 'yaml'"):
        python(WITHOUT, "distiller.config", "yaml")


def committed() -> list[str]:
    """Names of all files under version control."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout: no list of committed files")
    return done.stdout.strip("\0").split("\0")


OF_ONE_MACHINE = {
    "a path of one machine": re.compile(r"(?<![\w.~-])/(?:home|Users|root|work|opt|mnt)/\w"),
    "a Windows path of one user": re.compile(r"[A-Z]:\\Users\\"),
    "a private host": re.compile(r"\b[\w-]+\.(?:internal|corp|lan|intranet|localdomain)\b(?!\()"),
    "a private address": re.compile(r"\b(?:10\.\d+|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+\b"),
    "an address without a public name": re.compile(r"https?://(?!localhost|127\.0\.0\.1)[\w-]+(?:[:/]|$)", re.M),
    "a package index": re.compile(r"--(?:extra-)?index-url|--find-links|trusted-host[ =]"),
}


def test_machine_patterns_find_what_they_are_for() -> None:
    for line in ("cd /home/me", "in /root/x", "http://mirror/simple", "pypi.internal/simple", "at 10.1.2.3"):
        assert any(pattern.search(line) for pattern in OF_ONE_MACHINE.values()), line
    for line in ("https://arxiv.org/abs/1503.02531", "../shared/data", "torch==2.13.0", "version 2.10.0.1"):
        assert not any(pattern.search(line) for pattern in OF_ONE_MACHINE.values()), line


def test_no_committed_file_is_about_one_machine() -> None:
    found = []
    for name in committed():
        path = ROOT / name
        if path == Path(__file__) or not path.is_file():  # these patterns; a file deleted but not yet committed
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {what}: {hit[0]!r}" for what, rule in OF_ONE_MACHINE.items() if (hit := rule.search(text))]
    assert not found, "\n".join(found)


def test_nothing_generated_or_binary_is_committed() -> None:
    unwanted = re.compile(
        r"(^|/)(uv\.lock|\.venv|__pycache__|outputs|runs|site)(/|$)|\.(pyc|whl|safetensors|bin|pt|pkl)$"
    )
    assert not [name for name in committed() if unwanted.search(name)]


def test_generated_docs_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")  # its parts lie beside it
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for path, text in generate.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale; `make format` writes it anew"


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"- ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(
        page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")
    )


def yaml_blocks() -> list[Any]:
    """Each fenced YAML block of the docs, with where it stands."""
    fence = re.compile(r"^```yaml\n(.*?)^```", re.M | re.S)
    return [
        pytest.param(
            match[1], id=f"{page.relative_to(ROOT / 'docs')}:{page.read_text()[: match.start()].count(chr(10)) + 1}"
        )
        for page in sorted((ROOT / "docs").rglob("*.md"))
        for match in fence.finditer(page.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("block", yaml_blocks())
def test_yaml_in_the_docs_is_a_run_or_a_part_of_one(block: str) -> None:
    rest = {"task": {"name": "sst2", "data": "glue/SST-2"}, "teacher": {"model": "teacher"}}
    found = yaml.safe_load(block)
    if "space" in found:
        parse_study(found)
    elif "task" in found:
        parse_run(found)
    else:
        parse_run({**rest, **found})


def test_contributing_names_every_floor_in_the_order_that_is_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    checked = [set(layer.split(" | ")) for layer in reversed(contract["layers"])]
    rows = re.findall(r"^\| \d+ \| (.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    told = [{name.removesuffix("/").removesuffix(".py") for name in re.findall(r"`([^`]+)`", row)} for row in rows]
    assert told == checked
    package = ROOT / "src" / "distiller"
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there - {"__init__", "__main__", "recipes"} == set.union(*checked)
