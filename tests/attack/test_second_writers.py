"""Two processes at one folder: the second says who has it, or waits, and nothing is mixed or lost."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from attack.children import Child
from cli.conftest import Command
from distiller.files import alone, building
from run.tiny import Workshop

Arguments = Callable[[Workshop, Path], list[str]]
BUILDERS: dict[str, Arguments] = {
    "export": lambda shop, out: ["export", shop.tuned, "--to", "folder", "-o", str(out), "--overwrite"],
    "mlm": lambda shop, out: ["mlm", shop.file(out.parent), "-o", str(out), "--steps", "1"],
}
"""Commands that fill a folder and rename it when it is whole."""


@pytest.mark.parametrize("name", BUILDERS)
def test_a_folder_is_built_by_one_process(name: str, shop: Workshop, distiller: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def build() -> None:
        with building(out) as place:
            (place / "half").touch()
            time.sleep(60)

    first = Child(build, tmp_path / "log")
    while not list(tmp_path.glob("out.part/it/half")):
        time.sleep(0.01)
    answer = distiller(*BUILDERS[name](shop, out))
    assert answer.code == 2, answer.err
    assert f"is being written by process {first.pid} on " in answer.err
    first.kill()
    first.wait()
    assert distiller(*BUILDERS[name](shop, out)).code == 0  # what the killed one left is in nobody's way
    assert not (out / "half").exists()
    assert not list(tmp_path.glob("*.part"))


def test_two_that_join_an_experience_lose_no_trial(tmp_path: Path) -> None:
    """A second one waits for the first, and then finds what that wrote."""
    pytest.importorskip("pandas")
    from autodistiller.synthetic import experience
    from distiller.autodistiller.experience import add_experience, read_experience
    from distiller.study.trials import write_trials

    sources = [write_trials(experience(noise=0.1, seed=seed).trials, tmp_path / f"{seed}.csv") for seed in (0, 1)]
    file = tmp_path / "all" / "experience.csv"
    file.parent.mkdir()
    with alone(file.parent):
        second = Child(lambda: add_experience([sources[1]], file, learn=False), tmp_path / "log")
        time.sleep(0.5)
        write_trials(read_experience(sources[0]).trials, file)
    assert second.wait() == 0, second.said()
    counts = [len(read_experience(source).trials.frame) for source in (*sources, file)]
    assert counts[2] == counts[0] + counts[1]
