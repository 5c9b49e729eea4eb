"""Every Python block of the README and of the guides runs as it stands, one after the other as on its page."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from transformers import BertForSequenceClassification

from run.tiny import BAD, FILLER, GOOD, SPECIAL, judge, reviews, save, write

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def reader(words: list[str]) -> BertForSequenceClassification:
    """The judge of the tests of runs, with room for 128 tokens."""
    model = judge(words, ["bad", "good"])
    known = model.bert.embeddings.position_embeddings.weight.data
    longer = BertForSequenceClassification(
        type(model.config)(**{**model.config.to_dict(), "max_position_embeddings": 128})
    )
    weights = model.state_dict()
    weights["bert.embeddings.position_embeddings.weight"] = torch.cat([known, known, known, known])[:128]
    longer.load_state_dict(weights)
    return longer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages name: models, `reviews.csv`, `dev.csv`, `run.yaml`, and the output of the first tutorial."""
    words = [*SPECIAL, *FILLER, *GOOD, *BAD]
    model = reader(words)
    for place in ("bert-base-uncased", "sentence-transformers/all-MiniLM-L6-v2", "outputs/run/student"):
        save(tmp_path / place, model, words)
    for name, seed in (("reviews.csv", 0), ("dev.csv", 1)):
        rows = reviews(60, seed=seed)
        write(tmp_path / name, [{"review": row["text"], "sentiment": row["label"]} for row in rows])
    run = {
        "task": {"train": "reviews.csv", "text": "review", "label": "sentiment"},
        "teacher": {"model": "bert-base-uncased"},
        "student": {"layers": 1},
        "training": {"batch_size": 32, "threads": 1, "epochs": 1},
        "baseline": False,
        "output": "outputs/guide",
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    (tmp_path / "outputs" / "run" / "run.yaml").write_text(yaml.safe_dump(run))
    monkeypatch.setenv("DISTILLER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page: Path, folder: Path) -> None:
    names: dict[str, object] = {"__name__": "block"}
    for text in blocks(page):
        exec(compile(text, str(page), "exec"), names)


@pytest.mark.slow
def test_the_cells_of_the_notebook_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On tiny files in place of those that its first cell writes; what is stored was shown by the same cells."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    from execute import execute

    file = ROOT / "examples" / "distil_a_classifier.ipynb"
    stored, fresh = json.loads(file.read_text(encoding="utf-8")), execute(file, without=["data"])
    for before, after in zip(stored["cells"], fresh["cells"], strict=True):
        if before["cell_type"] == "code":
            assert before["execution_count"], "python examples/execute.py examples/distil_a_classifier.ipynb"
            kinds = [[one["output_type"] for one in cell["outputs"]] for cell in (before, after)]
            assert kinds[0] == kinds[1]
    assert file.stat().st_size < 30_000
