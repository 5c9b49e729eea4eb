"""The tutorial and the page of tasks do what they say: their commands are run, on files that stand on them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cli.conftest import Command, distiller  # noqa: F401
from run.tiny import Workshop
from run.tiny import workshop as make_workshop
from test_code_blocks import folder  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
GUIDES = ROOT / "docs" / "guides"
COMMANDS = re.compile(r"^```console\n(.*?)^```", re.M | re.S)
QUICK = ["training.max_steps=2", "teacher.training.max_steps=2", "training.threads=1"]


def commands(text: str) -> list[list[str]]:
    lines = [line for block in COMMANDS.findall(text) for line in block.splitlines()]
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if line.startswith("$ ")]


@pytest.mark.slow
def test_the_tutorial_runs_as_it_stands(folder: Path, distiller: Command) -> None:  # noqa: F811
    pytest.importorskip("onnxruntime", reason="the tutorial exports to ONNX: the extra `onnx` is not installed")
    listed = commands((GUIDES / "tutorial.md").read_text(encoding="utf-8"))
    assert [words[1] for words in listed if words[0] == "distiller"] == [
        "check", "run", "show", "predict", "export", "bench", "report",
    ]  # fmt: skip
    for words in listed:
        if words[0] == "python":
            done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert done.stdout.split("\t")[0] in ("good", "bad")
            continue
        quick = [*QUICK, "task.max_length=16"] if words[1] == "run" else []
        answer = distiller(*words[1:], *quick)
        assert answer.code == 0, (words, answer.err)
    for made in ("record.json", "report.html", "bench.json", "exports/onnx-int8/use.py"):
        assert (folder / "outputs" / "reviews" / made).is_file()


SECTIONS = re.findall(
    r"^## ([^\n]+)\n\n```\w+\n(.*?)^```\n\n```console\n\$ distiller (run [^\n]+)",
    (GUIDES / "by-task.md").read_text(encoding="utf-8"),
    re.M | re.S,
)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return make_workshop(tmp_path_factory.mktemp("workshop"))


@pytest.mark.slow
@pytest.mark.parametrize(("title", "content", "command"), SECTIONS, ids=[title for title, *_ in SECTIONS])
def test_every_kind_of_task_leads_from_its_file_to_an_export(
    title: str,
    content: str,
    command: str,
    workshop: Workshop,
    distiller: Command,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISTILLER_CACHE", str(tmp_path / "cache"))
    words = [word.replace("TEACHER", workshop.base) for word in shlex.split(command)]
    (tmp_path / words[1]).write_text(content, encoding="utf-8")
    windows = ["task.stride=4"] if "context" in content else []
    answer = distiller(*words, *QUICK, "task.max_length=32", *windows, "baseline=false")
    assert answer.code == 0, answer.err
    output = Path("outputs") / Path(words[1]).stem
    answer = distiller("export", output, "--to", "folder")
    assert answer.code == 0, answer.err
    assert (output / "exports" / "folder" / "use.py").is_file()


def test_every_kind_of_task_has_a_section() -> None:
    assert len(SECTIONS) == 6


def test_the_cluster_files_are_what_they_seem() -> None:
    place = ROOT / "examples" / "cluster"
    job = yaml.safe_load((place / "kubernetes.yaml").read_text(encoding="utf-8"))
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["command"][:2] == ["distiller", "run"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    services = yaml.safe_load((place / "compose.yaml").read_text(encoding="utf-8"))
    assert services["services"]["studies"]["secrets"] == list(services["secrets"])
    scripts = sorted(place.glob("*.sbatch"))
    assert len(scripts) == 2
    for script in scripts:
        done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    page = (GUIDES / "cluster.md").read_text(encoding="utf-8")
    assert all(path.name in page for path in place.iterdir())


def test_every_licence_that_is_pulled_in_is_known() -> None:
    script = [sys.executable, str(ROOT / ".ci" / "licences")]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    by_name = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert by_name["torch"].split()[-1] == by_name["transformers"].split()[-1] == "core"
    assert "Apache" in by_name["transformers"]
