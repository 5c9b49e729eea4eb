"""One byte anywhere in an output, a cache, a job or an export is another: never a silently different result."""

import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import distiller as library
from attack.conftest import NIGHTLY, times
from distiller import labelling
from distiller.config import parse_run
from distiller.deploy.export import export_student, load_export
from distiller.deploy.finished import open_finished
from distiller.errors import DistillerError
from distiller.files import HOLDER, LOCK, digest
from distiller.inference import predict
from distiller.scoring import evaluate
from run.tiny import FAST, Cut, Workshop, cut_after, repeatable

pytestmark = pytest.mark.slow

SEED = os.environ.get("DISTILLER_ATTACK_SEED", "0")
PACE = {"epochs": 1, "log_every": 2, "threads": 1, "evaluations": 4, "average_best": 3, "checkpoint_minutes": 0}


def flip(path: Path, rng: random.Random) -> None:
    """One bit of one byte."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def files_of(folder: Path) -> list[str]:
    """Every file with something in it, but for locks and what only tells people who holds one."""
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size and path.suffix != LOCK and path.name not in (HOLDER, LOCK):
            found.append(path.relative_to(folder).as_posix())
    return found


def some(files: list[str], usual: int, rng: random.Random) -> Iterator[str]:
    """All of them in the nightly size, each four times."""
    return iter(files * 4 if NIGHTLY else rng.sample(files, min(usual, len(files))))


def outcome(action: Callable[[], Any]) -> Any:
    """What it gives, or `None` for an error of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return action()
        except DistillerError:
            return None


def result(folder: Path) -> dict[str, Any]:
    """What a run came to: its Record without what was timed, and the student's weights."""
    record = repeatable(folder / "out")
    record.pop("efficiency", None)
    return {**record, "weights": digest(folder / "out" / "student" / "model.safetensors")}


def whole(shop: Workshop, folder: Path) -> Any:
    """With a teacher, a baseline, the teacher's outputs and those for augmented texts in a cache of its own."""
    return parse_run(
        shop.run(
            folder,
            teacher={"model": shop.base, "training": FAST | {"max_steps": 3}},
            training=FAST | PACE | {"cache_teacher": "always"},
            augmentation=[{"name": "random", "options": {"ra_mode": "swap"}}],
            baseline=True,
            cache=str(folder / "cache"),
        )
    )


def translated(_: Workshop, folder: Path) -> Any:
    """With a teacher, its sentences, its layers' outputs and everything in tokens."""
    from translation.tiny import pace, tiny_run

    return tiny_run(
        folder,
        teacher={"shape": {"encoder_layers": 2, "width": 32, "ffn": 64, "heads": 2}, "training": pace(1)},
        training=pace(1) | {"cache_teacher": "always", "threads": 1},
    )


MAKERS: dict[str, Callable[[Workshop, Path], Any]] = {"encoder": whole, "translator": translated}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_byte_of_a_cache(kind: str, shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that finds everything in a cache ends as the one that filled it, whatever became of one file."""
    if kind == "translator":
        pytest.importorskip("sacrebleu")
        monkeypatch.setattr("distiller.translation.token_rows.KEPT", 1)
    rng = random.Random(f"{kind} {SEED}")
    library.distil(MAKERS[kind](shop, tmp_path))
    expected = result(tmp_path)
    files = files_of(tmp_path / "cache")
    kinds = {name.partition("/")[0] for name in files}
    needed = {
        "encoder": {"teachers", "baselines", "teacher-outputs"},
        "translator": {"translation-tokens"},
    }
    assert needed[kind] <= kinds, kinds
    shutil.copytree(tmp_path / "cache", tmp_path / "sound")
    for name in some(files, 1, rng):
        shutil.rmtree(tmp_path / "out")
        shutil.rmtree(tmp_path / "cache")
        shutil.copytree(tmp_path / "sound", tmp_path / "cache")
        flip(tmp_path / "cache" / name, rng)
        if outcome(lambda: library.distil(MAKERS[kind](shop, tmp_path))) is not None:
            assert result(tmp_path) == expected, name


@pytest.fixture(scope="module")
def finished(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    library.distil(parse_run(shop.run(folder, training=FAST | PACE)))
    return folder


def test_a_byte_of_a_finished_output(finished: Path, shop: Workshop, tmp_path: Path) -> None:
    rng = random.Random(SEED)

    def asked(folder: Path) -> Any:
        return library.load_record(folder).score, evaluate(str(folder)), predict(str(folder), Path(shop.dev))[:5]

    expected = asked(finished / "out")
    for name in some(files_of(finished / "out"), 6, rng):
        shutil.copytree(finished / "out", tmp_path / "out", dirs_exist_ok=True)
        flip(tmp_path / "out" / name, rng)
        assert outcome(lambda: asked(tmp_path / "out")) in (None, expected), name


def test_a_byte_of_an_interrupted_output(shop: Workshop, finished: Path, tmp_path: Path) -> None:
    """The weights that will be averaged lie in the checkpoint too."""
    rng = random.Random(SEED)
    expected = result(finished)

    def wish(folder: Path) -> Any:
        return parse_run(shop.run(folder, training=FAST | PACE))

    with pytest.MonkeyPatch.context() as patch:
        cut_after(patch, 4)
        with pytest.raises(Cut):
            library.distil(wish(tmp_path))
    (tmp_path / "out").rename(tmp_path / "cut")
    files = files_of(tmp_path / "cut")
    assert any("best-" in name for name in files), files
    for name in some(files, 3, rng):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        shutil.copytree(tmp_path / "cut", tmp_path / "out")
        flip(tmp_path / "out" / name, rng)
        if outcome(lambda: library.distil(wish(tmp_path), resume=True)) is not None:
            assert result(tmp_path) == expected, name


def test_a_byte_of_an_export(shop: Workshop, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    folder, made = export_student(open_finished(shop.tuned), "folder", folder=tmp_path / "sound")
    for name in some(files_of(folder), 20, rng):
        shutil.copytree(folder, tmp_path / "it", dirs_exist_ok=True)
        flip(tmp_path / "it" / name, rng)
        found = outcome(lambda: load_export(tmp_path / "it"))
        assert found is None or name == "export.json", name
        assert found is None or found.files == made.files


def test_a_byte_of_a_labelling_job(shop: Workshop, tmp_path: Path) -> None:
    """Of a finished one and of one with a shard to go: what a student would learn from is what it was, or refused."""
    rng = random.Random(SEED)
    texts = tmp_path / "new.txt"
    texts.write_text("".join(f"the film was good {n}\n" for n in range(12)), encoding="utf-8")

    def job(folder: Path, part: tuple[int, int] = (0, 1)) -> dict[str, bytes]:
        labelling.label(shop.tuned, [texts], folder, shard_size=4, part=part, resume=True)
        return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*.jsonl"))}

    expected = job(tmp_path / "finished")
    job(tmp_path / "begun", (0, 2))
    for state in ("finished", "begun"):
        for name in some(files_of(tmp_path / state), times(4, 99), rng):
            shutil.rmtree(tmp_path / "it", ignore_errors=True)
            shutil.copytree(tmp_path / state, tmp_path / "it")
            flip(tmp_path / "it" / name, rng)
            assert outcome(lambda: job(tmp_path / "it")) in (None, expected), (state, name)
