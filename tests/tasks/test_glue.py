"""The official GLUE files, where they lie beside the repository, and small copies of the layouts that do not."""

from collections import Counter
from pathlib import Path

import pytest

from distiller.config import Task
from distiller.errors import ConfigError, DataError
from distiller.tasks import TASKS, load_task
from distiller.tasks.glue import GLUE

COUNTS = {
    "cola": (8551, 1043, 1063),
    "sst2": (67349, 872, 1821),
    "mrpc": (3668, 408, 1725),
    "stsb": (5749, 1500, 1379),
    "rte": (2490, 277, 3000),
    "wnli": (635, 71, 146),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", COUNTS)
def test_official_files_have_the_official_rows(shared: Path, name: str) -> None:
    data = load_task(Task(name=name, data=str(shared / "data" / "glue")))
    assert tuple(len(data.splits[split]) for split in ("train", "dev", "test")) == COUNTS[name]
    assert data.splits["test"].labels is None
    assert (data.kind, data.metrics) == (TASKS[name].traits["kind"], TASKS[name].traits["metrics"])
    labels = set(data.splits["train"].labels or ())
    if data.kind == "classification":
        assert labels == set(range(len(data.labels)))
    else:
        assert (min(labels), max(labels)) == (0.0, 5.0)


def test_rows_are_those_that_grep_finds(shared: Path) -> None:
    glue = shared / "data" / "glue"
    mrpc = load_task(Task(name="mrpc", data=str(glue / "MRPC"))).splits["dev"]
    assert mrpc.texts[0].startswith("He said the foodservice pie business doesn 't fit")
    assert mrpc.pairs is not None
    assert mrpc.pairs[0].startswith('" The foodservice pie business does not fit')
    rte = load_task(Task(name="rte", data=str(glue / "RTE"))).splits["dev"]
    written = Counter(line.rsplit("\t", 1)[1].strip() for line in (glue / "RTE" / "dev.tsv").open(encoding="utf-8"))
    assert Counter(rte.labels or ()) == {0: written["entailment"], 1: written["not_entailment"]}
    cola = load_task(Task(name="cola", data=str(glue / "CoLA"))).splits["dev"]
    assert (cola.texts[0], (cola.labels or ())[0]) == ("The sailors rode the breeze clear of the rocks.", 1)


def test_an_absent_training_file_is_named(shared: Path) -> None:
    with pytest.raises(DataError, match=r"QNLI/train\.tsv"):
        load_task(Task(name="qnli", data=str(shared / "data" / "glue")))


def test_a_part_of_qqp_is_not_qqp(shared: Path) -> None:
    glue = shared / "data" / "glue"
    with pytest.raises(DataError, match="nor a folder `QQP`"):
        load_task(Task(name="qqp", data=str(glue)))
    with pytest.warns(UserWarning, match="not comparable with GLUE"):
        data = load_task(Task(name="qqp", data=str(glue / "QQP-partial")))
    assert len(data.splits["train"]) == 10_000


def write(folder: Path, name: str, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.filterwarnings("ignore:.*not comparable with GLUE")
def test_mnli_has_two_development_splits_and_the_usual_order_of_classes(tmp_path: Path) -> None:
    header = "index\tsentence1\tsentence2\tlabel1\tgold_label"
    for name in ("train", "dev_matched", "dev_mismatched"):
        write(
            tmp_path / "mnli",
            name,
            header,
            *(f"{i}\t{name}\tb\tx\t{gold}" for i, gold in enumerate(("neutral", "entailment", "contradiction"))),
        )
    write(tmp_path / "mnli", "test_matched", "index\tsentence1\tsentence2", "0\ta\tb")
    data = load_task(Task(name="mnli", data=str(tmp_path), dev_limit=2))
    assert data.labels == ("entailment", "neutral", "contradiction")
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 3,
        "dev": 2,
        "dev_mismatched": 2,
        "test": 1,
    }
    assert data.splits["train"].labels == (1, 0, 2)
    assert data.splits["dev"].texts == ("dev_matched",) * 2
    assert data.splits["test"].labels is None


@pytest.mark.filterwarnings("ignore:.*not comparable with GLUE")
def test_broken_rows_of_qqp_are_left_out_and_of_others_refused(tmp_path: Path) -> None:
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    rows = ("0\t1\t2\ta\tb\t1", "1\t3\t4\ta broken", "0\t1\t2\tc\td\t0")
    write(tmp_path / "QQP", "train", header, *rows)
    write(tmp_path / "QQP", "dev", header, *rows[::2])
    with pytest.warns(UserWarning, match=r"train\.tsv`: left out 1 bad row\(s\), the first: .*line 3"):
        data = load_task(Task(name="qqp", data=str(tmp_path)))
    assert data.splits["train"].labels == (1, 0)
    write(tmp_path / "SST-2", "train", "sentence\tlabel", "fine\t1", "broken")
    with pytest.raises(DataError, match=r"train\.tsv`, line 3: 1 cells, where there should be 2"):
        load_task(Task(name="sst2", data=str(tmp_path)))


def test_a_wrong_label_and_wrong_columns_are_located(tmp_path: Path) -> None:
    write(tmp_path, "train", "index\tsentence1\tsentence2\tlabel", "0\ta\tb\tentailment", "1\ta\tb\tmaybe")
    with pytest.raises(DataError, match=r"train\.tsv`, line 3: `label` is 'maybe'") as caught:
        load_task(Task(name="rte", data=str(tmp_path)))
    assert caught.value.hint == "the label set is `entailment`, `not_entailment`"
    with pytest.raises(DataError, match="has no column `sentence`"):
        load_task(Task(name="sst2", data=str(tmp_path)))


@pytest.mark.parametrize("name", GLUE)
def test_every_task_says_what_folder_it_needs(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs the folder"):
        load_task(Task(name=name))
    with pytest.raises(DataError, match="there is no folder"):
        load_task(Task(name=name, data=str(tmp_path / "none")))
    with pytest.raises(DataError, match=f"nor a folder `{GLUE[name].folder}`"):
        load_task(Task(name=name, data=str(tmp_path)))
    with pytest.raises(ConfigError, match=r"task\.text has no meaning"):
        load_task(Task(name=name, data=str(tmp_path), text="review"))
